"""Install what ``make demo`` or ``make test`` needs: ``python tools/install.py app`` or ``dev``. Needs nothing but pip.

Every downloaded package must have a hash that ``locks/NAME.txt`` lists, so that it cannot be replaced on the way. If the index
lacks one of the files (a mirror, a new Python), the versions of constraints.txt are installed without hashes, and a line says
so. A file with another hash ends the installation; ``make demo HASHES=no`` is for those who trust their index. torch is
installed by version, because the right file depends on the GPU.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = {"app": ".", "dev": ".[dev]"}
UNLOCKED = {"app": (), "dev": ("torch",)}
"""Packages that are not in the lock: see `tools.lock`."""
_OTHER_FILE = "DO NOT MATCH THE HASHES"


def pip(*arguments: str, quietly: bool = False) -> tuple[int, str]:
    """Run ``pip install``. Returns its exit code and what it printed on stderr, which is passed on unless ``quietly``."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
    if not quietly:
        sys.stderr.write(done.stderr)
    return done.returncode, done.stderr


def by_hash(name: str) -> tuple[bool, str]:
    """Install exactly the files of a lock, then what is not in it, then this project. Returns whether that worked, and why
    not."""
    code, printed = pip("--no-deps", "--require-hashes", "--requirement", f"locks/{name}.txt", quietly=True)
    if code:
        return False, printed
    for package in UNLOCKED[name]:
        code, printed = pip("--constraint", "constraints.txt", package)
        if code:
            return False, printed
    code, printed = pip("--no-deps", "--no-build-isolation", "--editable", ".")
    return code == 0, printed


def by_version(name: str) -> int:
    """Install the versions of constraints.txt. Returns pip's exit code."""
    return pip("--constraint", "constraints.txt", "--editable", EXTRAS[name])[0]


def main() -> int:
    """Install."""
    parser = argparse.ArgumentParser(
        description="Install what the program, or its tests, need.", epilog="Example: python tools/install.py dev"
    )
    parser.add_argument("name", choices=sorted(EXTRAS), help="app: the program; dev: also its tests")
    name = parser.parse_args().name
    if os.environ.get("HASHES", "yes") == "no":
        return by_version(name)
    worked, why = by_hash(name)
    if worked:
        return 0
    last = (why.strip().splitlines() or ["pip failed"])[-1].removeprefix("ERROR: ")
    if _OTHER_FILE in why:
        print(
            f"error: a package is not the one that locks/{name}.txt names; nothing of it was installed. "
            f"If you trust your index: make HASHES=no\n{why.strip()}",
            file=sys.stderr,
        )
        return 2
    print(f"locks/{name}.txt cannot be followed here ({last}): installing by version", file=sys.stderr)
    return by_version(name)


if __name__ == "__main__":
    sys.exit(main())
