"""Ctrl-C at many moments, and the other signals that end or stop a program."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.faults.cases.case import LIVE, case
from tests.faults.program import must, running

_MOMENTS = [place * 0.25 for place in range(20)]


def _interrupted(after_s: float) -> None:
    @case(
        "signals",
        f"Ctrl-C {after_s:.2f} s after the program's first line",
        "one line, no traceback; files whole if begun; exit 130",
        f"Ctrl-C at {len(_MOMENTS)} moments, {_MOMENTS[0]:.0f} to {_MOMENTS[-1]:.2f} s after the program's first line",
    )
    def _(folder: Path) -> None:
        with running(folder, *LIVE) as run:
            run.wait_for_first_line()
            time.sleep(after_s)
            run.send(signal.SIGINT)
            run.end(130 if run.process.poll() is None or run.process.returncode else 0)
            must("stopped" in run.said or run.process.returncode == 0, "nothing was said")
            for name, look in (("out.npz", run.saved_frames), ("out.mp4", run.recorded_frames)):
                must(not (folder / name).exists() or look() > 0, f"{name} is empty")
            must(not any(folder.glob("*.part")), "a journal is left")


for _moment in _MOMENTS:
    _interrupted(_moment)


def _ended_by(name: str, row: str = "") -> None:
    @case("signals", f"{name} while recording", "both files and the report whole; exit 130", row)
    def _(folder: Path) -> None:
        with running(folder, *LIVE) as run:
            run.wait_for_rows()
            run.send(getattr(signal, name))
            run.end(130, "report: " if name != "SIGHUP" else "")
            must(run.saved_frames() > 0 and run.recorded_frames() > 0, "frames are missing")
            run.report()


for _name in ("SIGINT", "SIGTERM", "SIGHUP"):
    _ended_by(_name)
for _name in ("SIGQUIT", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGPWR"):
    _ended_by(_name, "SIGQUIT, SIGXCPU, SIGUSR1, SIGUSR2, SIGALRM or SIGPWR while recording")


@case("signals", "the terminal closes on a run under nohup", "goes on; both files whole; exit 0")
def _(folder: Path) -> None:
    with running(folder, *LIVE, prefix=("nohup",)) as run:
        run.wait_for_rows()
        run.send(signal.SIGHUP)
        run.end(0, "report: ")
        must(run.saved_frames() == run.report()["results"] > 0, "frames are missing")


@case("signals", "SIGKILL while recording", "all but the last second to rescue; the video plays")
def _(folder: Path) -> None:
    with running(folder, *LIVE) as run:
        run.wait_for_rows()
        time.sleep(2)
        run.send(signal.SIGKILL)
        run.end(-signal.SIGKILL)
        run.rescue()
        must(run.saved_frames() > 0, "frames are missing")


@case("signals", "SIGSTOP for 3 s, then SIGCONT", "goes on; both files whole; exit 0")
def _(folder: Path) -> None:
    with running(folder, *LIVE) as run:
        run.wait_for_rows()
        run.send(signal.SIGSTOP)
        time.sleep(3)
        run.send(signal.SIGCONT)
        run.end(0, "report: ")
        must(run.saved_frames() == run.report()["results"] > 0, "frames are missing")


@case("signals", "Ctrl-C ten times in a second", "files whole; exit 130")
def _(folder: Path) -> None:
    with running(folder, *LIVE) as run:
        run.wait_for_rows()
        for _ in range(10):
            run.send(signal.SIGINT)
            time.sleep(0.1)
        run.end(130)
        must(run.saved_frames() > 0, "frames are missing")
