"""The window's own process dies."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.faults.cases.case import LIVE, Skipped, case
from tests.faults.program import Run, must, running


@contextlib.contextmanager
def _display() -> Iterator[str]:
    """The name of a display without a screen. Raises `Skipped` where none can be made."""
    if shutil.which("Xvfb") is None:
        raise Skipped("needs Xvfb")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=(writing,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as number:
            yield f":{number.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


def _window_of(run: Run) -> int | None:
    """The window's process."""
    for number in Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{number}/cmdline").read_bytes():
                return int(number)
    return None


def _window_ends(name: str, must_be: str, says: str, code: int) -> None:
    @case("window", f"the window's process gets {name}", must_be, "the window's process gets SIGSEGV or SIGKILL")
    def _(folder: Path) -> None:
        with _display() as display:
            # Long enough to die in, also on a busy machine.
            long = ("--loop", "--duration", "15", "--view", "window")
            with running(folder, *LIVE, *long, environment={"DISPLAY": display}) as run:
                run.wait_for_rows()
                if "without a window" in run.said:
                    raise Skipped(f"no window opens here: {run.last_line}")
                window = _window_of(run)
                must(window is not None, "there is no window")
                assert window is not None
                os.kill(window, getattr(signal, name))
                if says:
                    run.wait_for_line(says)
                run.end(code, "report: ")
                must(run.saved_frames() == run.report()["results"] > 0, "results are missing")
                must(run.recorded_frames() > 0, "frames are missing")


for _name in ("SIGSEGV", "SIGKILL"):
    _window_ends(_name, "said; goes on to the end; both files whole; exit 0", "going on without a window", 0)
