"""Networks and stages that fail, give impossible numbers, hang or are slow."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import NamedTuple

from tests.faults.cases.case import FILE, FRAMES, LIVE, case
from tests.faults.program import must, running


class _Stage(NamedTuple):
    """A stage, the fault's ``model`` (see `tests.faults.driver`), and the run in which it goes wrong, after ten frames."""

    name: str
    model: str
    at: int = 15
    options: tuple[str, ...] = ()


_STAGES = (
    _Stage("keypoints", "lightning"),
    _Stage("regressor", "motion"),
    _Stage("flow", "flow"),
    # It searches the first frame in nine parts, and goes on as more people are wanted than there are.
    _Stage("detector", "multipose", 11, ("--persons", "3")),
)
_CAPTURE = _Stage("capture", "capture")
_LOOK_AHEAD = _Stage("keypoints with look-ahead", "lightning", options=("--look-ahead", "8"))
_ANY = "keypoints, regressor, flow or detector"


def _stage_raises(stage: _Stage, kind: str) -> None:
    code, what = (2, "fails") if kind == "raise" else (1, "has a bug")

    @case("stages", f"{stage.name} {what}", f"both files with what was done; one line; exit {code}",
          f"{_ANY}, capture or keypoints with look-ahead {what}")  # fmt: skip
    def _(folder: Path) -> None:
        fault: dict[str, object] = {"model": stage.model, "kind": kind, "at": stage.at}
        with running(folder, *FILE, *FRAMES, *stage.options, fault=fault) as run:
            run.end(code, "as it was told")
            must(run.saved_frames() >= 10, "frames are missing")
            must(run.recorded_frames() >= 10, "frames are missing")
            run.report()


def _network_lies(stage: _Stage, kind: str) -> None:
    @case("stages", f"{stage.name} answers {'NaN' if kind == 'nan' else '1e30'} up to three times",
          "all frames saved, finite, the person found again; counted and said once; exit 0",
          "keypoints, regressor or detector answers NaN or 1e30 up to three times")  # fmt: skip
    def _(folder: Path) -> None:
        fault: dict[str, object] = {"model": stage.model, "kind": kind, "at": stage.at, "until": stage.at + 2}
        with running(folder, *FILE, *FRAMES, *stage.options, fault=fault) as run:
            run.end(0, "report: ")
            must(run.saved_frames() == run.recorded_frames() == 40, "frames are missing")
            must(0 < run.report()["bad_answers"] <= 3, "bad answers are not counted")
            must(run.report()["meshes"] >= 33, "the person was not found again")
            must(run.said.count("impossible numbers") == 1, "it was not said once")


def _stage_hangs(stage: _Stage) -> None:
    @case("stages", f"{stage.name} never answers; Ctrl-C twice", "named after 5 s; both files with what was done; exit 130",
          f"{_ANY} never answers; Ctrl-C twice")  # fmt: skip
    def _(folder: Path) -> None:
        with running(
            folder, *FILE, *stage.options, fault={"model": stage.model, "kind": "hang", "at": stage.at}
        ) as run:
            run.wait_for_line("has not answered for 5 s")
            run.send(signal.SIGINT)
            run.wait_for_line("finishing: waiting for")
            run.send(signal.SIGINT)
            run.end(130)
            must(f"{stage.name} has not answered" in run.said, "another stage was named")
            must(run.saved_frames() >= 10, "frames are missing")
            must(run.recorded_frames() >= 10, "frames are missing")
            run.report()


def _stage_is_slow(stage: _Stage) -> None:
    @case("stages", f"{stage.name} takes 0.3 to 0.5 s each time, live", "every result saved, said as N of M; exit 0",
          f"{_ANY} takes 0.3 to 0.5 s each time, live")  # fmt: skip
    def _(folder: Path) -> None:
        fault: dict[str, object] = {"model": stage.model, "kind": "slow", "at": 5, "until": 12}
        with running(folder, *LIVE, *stage.options, fault=fault) as run:
            run.end(0, "report: ")
            report = run.report()
            must(run.saved_frames() == report["saved"] == report["results"], "results are missing")
            must(run.recorded_frames() >= report["recorded"] > 0, "frames are missing")


for _stage in (*_STAGES, _CAPTURE, _LOOK_AHEAD):
    for _kind in ("raise", "crash"):
        _stage_raises(_stage, _kind)
for _stage in _STAGES:
    if _stage.name != "flow":  # computed, not a network's answer
        for _kind in ("nan", "huge"):
            _network_lies(_stage, _kind)
    _stage_hangs(_stage)
    _stage_is_slow(_stage)
