"""Ask the package index for known vulnerabilities of the packages in locks/app.txt: ``make audit``.

Runs pip-audit (PyPA) in an environment of its own. It needs the network: where the index does not answer, a line says so and
the exit code is 0. Known vulnerabilities are printed; with ``--strict`` the exit code is then 1.
"""

from __future__ import annotations

import subprocess
import venv
from pathlib import Path
from typing import Annotated

import typer

from common.command_line import run_command

ROOT = Path(__file__).resolve().parents[1]
PIP_AUDIT = "pip-audit==2.10.1"
_LIMIT_S = 60
_NOT_LOOKED_UP = "could not be audited"


def prepare(folder: Path) -> Path | None:
    """The Python that has pip-audit, in ``folder``; None where it cannot be fetched."""
    python = folder / "bin" / "python"
    if not (folder / "bin" / "pip-audit").exists():
        venv.create(folder, with_pip=True)
        command: list[Path | str] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--retries",
            "1",
            PIP_AUDIT,
        ]
        if run_tool(command).returncode:
            return None
    return python


def run_tool(command: list[Path | str]) -> subprocess.CompletedProcess[str]:
    """Run a program for a limited time; code 124 where that is over."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", "no answer in time")


def main(
    strict: Annotated[bool, typer.Option("--strict", help="exit code 1 where one is known")] = False,
    environment: Annotated[Path, typer.Option(help="where pip-audit is kept")] = ROOT / ".venv" / "audit",
) -> int:
    """Look for known vulnerabilities of the packages that the program needs."""
    python = prepare(environment)
    if python is None:
        print("audit: the package index does not answer; nothing was looked up")
        return 0
    options = ["--requirement", "locks/app.txt", "--disable-pip", "--require-hashes", "--progress-spinner", "off"]
    done = run_tool([python, "-m", "pip_audit", *options])
    unknown = done.stdout.count(_NOT_LOOKED_UP)
    if unknown:
        print(f"audit: the package index knows nothing of {unknown} packages (a mirror?); they were not looked up")
    if done.returncode == 0 and not unknown:
        print(f"audit: {(done.stderr.strip().splitlines() or ['no known vulnerabilities'])[-1]}")
        return 0
    if done.returncode == 0:
        return 0
    if done.returncode == 1 and done.stdout.startswith("Name"):
        print(f"audit: known vulnerabilities:\n{done.stdout.rstrip()}")
        return int(strict)
    print(f"audit: not looked up ({(done.stderr.strip().splitlines() or ['no reason given'])[-1]})")
    return 0


if __name__ == "__main__":
    run_command(main, examples="Example: python -m tools.audit --strict")
