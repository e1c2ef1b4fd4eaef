"""Programs whose standard error cannot be written go on, and end as they would have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.lenient_stderr import lenient_stderr

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from pathlib import Path
from rich.console import Console
from common.command_line import run_command
from common.errors import UserError
def work(fails: bool = False) -> None:
    for _ in range(5000):
        Console(stderr=True).print("a line")
    Path("done").touch()
    if fails:
        raise UserError("it was to fail")
run_command(work)
"""


def _run(folder: Path, stderr: int, *arguments: str) -> int:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, stderr=stderr, timeout=60, check=False)
    assert (folder / "done").exists(), "it did not go on"
    return done.returncode


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_behind_standard_error(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        assert _run(tmp_path, full.fileno()) == 0
        assert _run(tmp_path, full.fileno(), "--fails") == 2


def test_a_reader_of_standard_error_who_has_gone(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert _run(tmp_path, writer) == 0
        assert _run(tmp_path, writer, "--fails") == 2
    finally:
        os.close(writer)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_help_onto_a_full_disk_ends_in_one_line() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, str(ROOT / "run_camera.py"), "--help"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: [Errno 28] No space left on device"]


def test_it_is_as_before_after_the_block(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stderr
    with lenient_stderr():
        print("to be seen", file=sys.stderr)
    assert sys.stderr is before
    assert capsys.readouterr().err == "to be seen\n"
