"""Write locks/*.txt anew from pyproject.toml and constraints.txt: ``make locks``, which brings uv along.

A lock names every package that is installed, direct or not, with its version and the hashes of its files, for Python 3.10 and
newer on Linux, macOS and Windows, x86-64 and aarch64; environment markers say where each belongs. Left out are torch and what
only torch needs: its file for a CPU does not come from the same index as its file for a GPU.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from common.command_line import run_command
from common.errors import UserError
from common.files import write_text_atomically

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "locks"
OLDEST_PYTHON = "3.10"
_LEFT_OUT = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)==")
_HEAD = """\
# Every file that `make {command}` installs, by its hash. Made by `make locks`; do not edit.
"""


def compiled(extras: tuple[str, ...]) -> str:
    """What uv makes of pyproject.toml with these extras. Raises UserError."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise UserError("uv is not installed: run make locks")
    command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate", "--no-header"]
    command += ["--python-version", OLDEST_PYTHON, "--constraint", "constraints.txt"]
    command += [word for extra in extras for word in ("--extra", extra)]
    done = subprocess.run(
        [*command, "pyproject.toml", "locks/build.in"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserError(f"uv finds no set of packages: {done.stderr.strip()}")
    return done.stdout


def without_torch(lock: str) -> str:
    """The entries of ``lock`` but for torch and what only torch needs."""
    entries = re.split(r"\n(?=\S)", lock.strip())
    return "\n".join(entry for entry in entries if not _LEFT_OUT.match(entry)) + "\n"


def main() -> None:
    """Write both files of locks anew with uv."""
    for name, command, extras in (("app", "demo", ()), ("dev", "test", ("dev",))):
        content = _HEAD.format(command=command) + without_torch(compiled(extras))
        write_text_atomically(LOCKS / f"{name}.txt", content)
        print(f"locks/{name}.txt: {content.count('==')} packages")


if __name__ == "__main__":
    run_command(main, examples="Example: make locks, which runs python -m tools.lock")
