"""A session in which something goes wrong: what is finished, counted and said. `make faults` does the same to the program."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest

from common.errors import UserError
from formats.motion import load_motion
from realtime.options import Options
from realtime.outputs.motion_writer import MotionWriter
from realtime.outputs.upright_hint import UprightHint
from realtime.outputs.video import VideoRecorder
from realtime.queues import Closed
from realtime.records import Frame, Result
from realtime.session import Session
from realtime.views import loop
from tests.conftest import Remarks
from tests.faults.engines import Fault, opener
from tests.realtime.fakes import CAMERA, FakeRegressor, keypoints_of

CLIP = Path(__file__).parents[2] / "assets" / "synthetic_walk.mp4"


def session_with(fault: Fault, tmp_path: Path, **more: object) -> Session:
    outputs: dict[str, object] = {"save": (tmp_path / "out.npz",), "report": tmp_path / "out.json"}
    options: dict[str, object] = {
        "source": str(CLIP),
        "view": "none",
        "frames": 40,
        "quality": "live",
        **outputs,
        **more,
    }
    return Session(Options(**options), opener=opener(fault))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["nan", "huge"])
@pytest.mark.parametrize("model", ["motion", "lightning"])
def test_an_answer_that_cannot_be_ends_nobody(tmp_path: Path, remarks: Remarks, kind: str, model: str) -> None:
    report = session_with(Fault(model, kind, 20, 21), tmp_path).run()
    assert report.bad_answers == 2
    assert sum("impossible numbers" in line for line in remarks) == 1
    motion = load_motion(tmp_path / "out.npz")
    seen = motion.person >= 0
    assert np.isfinite(motion.transl[seen]).all()
    assert 36 <= seen.sum() <= 40  # keypoints that cannot be are looked for again in the same frame
    assert seen[-10:].all(), "found again"
    assert json.loads((tmp_path / "out.json").read_text())["bad_answers"] == 2


@pytest.mark.parametrize("look_ahead", [0, 8])
@pytest.mark.parametrize("model", ["motion", "lightning"])
def test_a_network_that_fails_leaves_what_there_was(tmp_path: Path, model: str, look_ahead: int) -> None:
    with pytest.raises(UserError, match="the network fails"):
        session_with(Fault(model, "raise", 20), tmp_path, look_ahead=look_ahead).run()
    assert len(load_motion(tmp_path / "out.npz").frame) >= 18
    assert json.loads((tmp_path / "out.json").read_text())["saved"] >= 18


@pytest.mark.parametrize(
    ("model", "stage"), [("motion", "regressor"), ("lightning", "keypoints"), ("multipose", "detector")]
)
def test_a_stage_that_hangs_is_named_and_left(
    tmp_path: Path, remarks: Remarks, monkeypatch: pytest.MonkeyPatch, model: str, stage: str
) -> None:
    monkeypatch.setattr(loop, "SILENT_S", 0.5)
    # The detector searches the first frame in nine parts and around the person found; with more people wanted than there are
    # it runs again every half second: its twelfth call is in frame 32.
    fault = Fault(model, "hang", 12 if stage == "detector" else 20)
    session = session_with(fault, tmp_path, record=tmp_path / "out.mp4", persons=3 if stage == "detector" else 1)

    def stop() -> None:
        fault.reached.wait()  # a slow machine may be silent for half a second before
        while not any(line.startswith(f"{stage} has not answered") for line in remarks):
            time.sleep(0.05)
        session.interrupt()
        while not any("finishing: waiting for" in line for line in remarks):
            time.sleep(0.05)
        session.interrupt()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        session.run()
    assert session.has_hung
    assert len(load_motion(tmp_path / "out.npz").frame) >= 18
    with av.open(str(tmp_path / "out.mp4")) as recorded:
        assert sum(1 for _ in recorded.decode(video=0)) >= 18
    assert (tmp_path / "out.json").exists()
    fault.release.set()


def test_a_live_run_saves_every_result_however_slow_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = MotionWriter.write

    def slow(self: MotionWriter, result: Result) -> None:
        time.sleep(0.1)
        write(self, result)

    monkeypatch.setattr(MotionWriter, "write", slow)
    session = session_with(Fault("", "none", 0), tmp_path, live=True, record=tmp_path / "out.mp4", frames=20)
    report = session.run()
    assert report.saved == report.results == len(np.unique(load_motion(tmp_path / "out.npz").frame)) > 0
    assert report.recorded is not None
    assert 0 < report.recorded <= report.results


def test_outputs_of_a_live_run_begin_at_the_same_moment(tmp_path: Path) -> None:
    video = tmp_path / "out.mp4"
    session_with(Fault("", "none", 0), tmp_path, live=True, record=video, frames=15).run()
    with av.open(str(video)) as recorded:
        times = [frame.time for frame in recorded.decode(video=0)]
    saved = np.unique(load_motion(tmp_path / "out.npz").time_s)
    assert all(np.abs(saved - time_s).min() < 1e-3 for time_s in times)


def test_a_recording_that_fails_ends_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remarks: Remarks
) -> None:
    def full(self: VideoRecorder, image: object, time_s: float) -> None:
        raise UserError("recording stopped: the disk is full")

    monkeypatch.setattr(VideoRecorder, "write", full)
    session = session_with(Fault("", "none", 0), tmp_path, record=tmp_path / "out.mp4")
    with pytest.raises(UserError, match="the disk is full"):
        session.run()
    assert session.report is not None
    assert (session.report.saved, session.report.recorded, session.report.results) == (40, 0, 40)
    assert sum("the disk is full" in line for line in remarks) == 1


def lying(sequence: int, up: tuple[float, float]) -> Result:
    frame = Frame(sequence, 0, sequence / 30, np.zeros((4, 4, 3), np.uint8))
    keypoints = keypoints_of(frame)
    keypoints.points[5:7] = np.array([100, 100]) + 50 * np.array(up)
    keypoints.points[11:13] = 100
    return Result(frame, CAMERA, (FakeRegressor()(keypoints, CAMERA, frame.time_s),), 0)


@pytest.mark.parametrize(
    ("up", "chosen", "says"),
    [
        ((0.0, -1.0), 0, None),
        ((-1.0, 0.1), 0, "--rotate 90"),
        ((0.1, 1.0), 0, "--rotate 180"),
        ((1.0, 0.0), 0, "--rotate 270"),
        ((0.1, 1.0), 90, "--rotate 270"),
        ((0.7, -0.7), 0, None),
    ],
)
def test_a_camera_on_its_side_is_noticed(
    up: tuple[float, float], chosen: int, says: str | None, remarks: Remarks
) -> None:
    hint = UprightHint(chosen)
    with pytest.raises(Closed):  # it has seen enough
        for sequence in range(400):
            hint.see(lying(sequence, up))
    assert sequence < 399
    assert [line.endswith(says) for line in remarks if says] == ([True] if says else [])
    assert bool(remarks) == bool(says)
