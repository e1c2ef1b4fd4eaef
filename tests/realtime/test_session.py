"""What a session refuses before anything flows, and what it leaves when it is interrupted."""

from __future__ import annotations

import math
import shutil
import time
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from common.errors import UserError
from formats.motion import body_of, load_motion
from realtime import networks
from realtime import session as sessions
from realtime.intrinsics import camera_for
from realtime.options import DEFAULT_FOCAL, Options
from realtime.records import Result
from realtime.session import Session
from tests.conftest import Remarks
from tests.realtime.sound import sound_of, times_of, with_sound_of, write_tone_video

CLIP = Path(__file__).parents[2] / "assets" / "synthetic_walk.mp4"


def test_a_camera_is_known_by_its_field_of_view_or_its_focal_length() -> None:
    known = camera_for((640, 480), None, 700.0)
    assert (known.fx, known.fy, known.cx, known.cy) == (700.0, 700.0, 319.5, 239.5)
    assert camera_for((640, 480), 90.0, None).fx == pytest.approx(320.0)
    assert camera_for((480, 640), None, None).fx == pytest.approx(DEFAULT_FOCAL * 640)


@pytest.mark.parametrize(
    ("fov", "focal", "says"),
    [
        (4.0, None, "--fov 4"),
        (171.0, None, "--fov 171"),
        (math.nan, None, "--fov nan"),
        (None, 0.0, "--focal 0"),
        (None, -700.0, "--focal -700"),
        (None, math.nan, "--focal nan"),
        (None, math.inf, "--focal inf"),
        (None, 1e9, "--focal 1e\\+09"),
        (60.0, 700.0, "one of them"),
    ],
)
def test_impossible_cameras_are_refused(fov: float | None, focal: float | None, says: str) -> None:
    with pytest.raises(UserError, match=says):
        camera_for((640, 480), fov, focal)


@pytest.mark.parametrize(
    ("options", "ending"),
    [
        (Options(source=str(CLIP), record=Path("walk.avi")), ".mp4"),
        (Options(source=str(CLIP), save=(Path("walk.mp4"),)), ".npz"),
        (Options(source=str(CLIP), report=Path("walk")), ".json"),
    ],
)
def test_an_output_is_called_what_it_holds(options: Options, ending: str) -> None:
    with pytest.raises(UserError, match=rf"ends? in \{ending}"):
        Session(options).run()


@pytest.mark.parametrize("live", [False, True])
def test_the_source_is_never_recorded_over(tmp_path: Path, live: bool) -> None:
    video, link = tmp_path / "clip.mp4", tmp_path / "link.mp4"
    shutil.copy(CLIP, video)
    link.symlink_to(video)
    with pytest.raises(UserError, match="write over the source"):
        Session(Options(source=str(video), view="none", record=link, live=live)).run()
    assert video.read_bytes() == CLIP.read_bytes()


def test_nothing_that_is_read_is_written_over_and_no_output_by_another(tmp_path: Path) -> None:
    video, link, npz = tmp_path / "a clip.mp4", tmp_path / "link.npz", tmp_path / "walk.npz"
    shutil.copy(CLIP, video)
    link.symlink_to(npz)
    for source in (video.as_uri(), f"file:{video}", f"file://localhost{video}"):
        with pytest.raises(UserError, match="write over the source"):
            Session(Options(source=source, view="none", record=video)).run()
    with pytest.raises(UserError, match="write over the file of --body"):
        Session(Options(source=str(video), view="none", save=(npz,), body=npz)).run()
    with pytest.raises(UserError, match="are one file"):
        Session(Options(source=str(video), view="none", save=(npz, link))).run()
    assert video.read_bytes() == CLIP.read_bytes()
    assert not npz.exists()


def test_ctrl_c_leaves_the_motion_and_the_report(tmp_path: Path) -> None:
    def progress(done: int, total: int | None, rate: float, latency: float) -> None:
        if rate > 0:  # two meshes are there
            raise KeyboardInterrupt

    motion, report = tmp_path / "walk.npz", tmp_path / "walk.json"
    options = Options(source=str(CLIP), view="none", live=True, save=(motion,), report=report)
    session = Session(options, progress=progress)
    assert session.report is None
    with pytest.raises(KeyboardInterrupt):
        session.run()
    assert session.report is not None
    assert session.report.meshes >= 2
    assert report.exists()
    assert len(load_motion(motion).frame) >= 2


def test_people_of_a_known_height_are_saved_with_it(tmp_path: Path, remarks: Remarks) -> None:
    shaped = {}
    for height_cm in (165.0, 240.0):
        path = tmp_path / "walk.npz"
        options = Options(source=str(CLIP), view="none", quality="live", frames=4, save=(path,), height=height_cm)
        Session(options).run()
        motion = load_motion(path)
        body = body_of(motion)
        betas = motion.betas[motion.person >= 0]
        assert len(betas)
        shaped[height_cm] = np.ptp((body.v_template + body.shapedirs @ betas[-1])[:, 1])
    assert shaped[165.0] == pytest.approx(1.65, abs=1e-3)
    assert shaped[240.0] < 1.9
    assert [line for line in remarks.warnings if "--height 240: this body is 152 to 187 cm tall" in line]


class Keyboard:
    """A window without a screen. ``keys``: what to press next, and which files of the working folder to wait for before.

    Keys that wait for a file are pressed two frames after it is seen, so that a recording that has begun holds a frame.
    """

    keys: tuple[tuple[str, str], ...] = ()

    def __init__(self, *arguments: object, wire: object) -> None:
        self.closed = self.crashed = False
        self._left = list(self.keys)
        self._pressed: list[str] = []
        self._seen = 0

    def show_state(self, state: str) -> None:
        assert state

    def show(self, result: Result, *arguments: object, flow: bool, again: bool) -> bool:
        if self._left and result.people:
            wanted, keys = self._left[0]
            self._seen += wanted != "" and any(Path().glob(wanted))
            if wanted == "" or self._seen > 2:
                self._left.pop(0)
                self._seen = 0
                self._pressed += keys.split()
        return True

    def events(self) -> list[str]:
        pressed, self._pressed = self._pressed, []
        return pressed

    def close(self) -> None:
        self.closed = True


def watch(keys: tuple[tuple[str, str], ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a session while these keys are pressed."""
    monkeypatch.setattr(sessions, "MeshWindow", Keyboard)
    monkeypatch.setattr(Keyboard, "keys", keys)
    Session(Options(source=str(CLIP), view="window", quality="live", persons=1)).run()


def test_keys_save_and_record_what_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remarks: Remarks) -> None:
    monkeypatch.chdir(tmp_path)
    watch((("", "space space s"), ("*.png", "r"), ("*.mp4", "r q")), monkeypatch)
    assert len(list(tmp_path.glob("motionmesh-*.png"))) == 1
    (path,) = tmp_path.glob("motionmesh-*.mp4")
    assert f"recording to {path.name}" in remarks
    assert "recording finished" in remarks
    with av.open(str(path)) as recorded:
        assert sum(1 for _ in recorded.decode(video=0)) > 0


def test_recording_while_paused_says_that_there_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remarks: Remarks
) -> None:
    monkeypatch.chdir(tmp_path)
    paused: list[float] = []
    real_pause = sessions.Pipeline.pause

    def pause(pipeline: sessions.Pipeline, wanted: bool) -> None:
        real_pause(pipeline, wanted)
        if wanted:
            time.sleep(0.5)  # what was on its way is on the screen
            paused.append(time.monotonic())

    monkeypatch.setattr(sessions.Pipeline, "pause", pause)
    watch((("", "space r r q"),), monkeypatch)
    assert paused
    assert "nothing was recorded: no frame came meanwhile" in remarks
    assert "recording finished" not in remarks
    assert not list(tmp_path.glob("*.mp4"))


class Dying(Keyboard):
    """A window whose process dies after it has sent its last keys."""

    def events(self) -> list[str]:
        pressed = super().events()
        self.closed = self.crashed = not self._left
        return [*pressed, "q"] if self.crashed else pressed


@pytest.mark.parametrize("keys", ["", "space"])
def test_a_window_that_dies_ends_nothing_not_even_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remarks: Remarks, keys: str
) -> None:
    monkeypatch.setattr(sessions, "MeshWindow", Dying)
    monkeypatch.setattr(Dying, "keys", (("", keys),))
    Session(Options(source=str(CLIP), view="window", frames=30, save=(tmp_path / "m.npz",))).run()
    assert len(load_motion(tmp_path / "m.npz").frame) == 30
    assert sum("going on without a window" in line for line in remarks) == 1


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody can write: /proc")
def test_a_key_that_cannot_be_obeyed_ends_nothing(monkeypatch: pytest.MonkeyPatch, remarks: Remarks) -> None:
    monkeypatch.chdir("/proc")
    watch((("", "s r q"),), monkeypatch)
    assert sum(line.startswith("cannot write") for line in remarks) == 2


def test_engines_are_ready_before_the_source_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Building engines takes minutes the first time; no camera streams and no window stays black meanwhile."""
    order: list[str] = []
    plain_engine, plain_source = networks.open_engine, sessions.open_source_of

    def engine(model: str, *arguments: Any, **keywords: Any) -> Any:
        opened = plain_engine(model, *arguments, **keywords)
        warm_up = opened.warm_up
        monkeypatch.setattr(opened, "warm_up", lambda: (order.append(f"warm {model}"), warm_up()))
        order.append(f"open {model}")
        return opened

    def source(*arguments: Any) -> Any:
        order.append("source")
        return plain_source(*arguments)

    monkeypatch.setattr(networks, "open_engine", engine)
    monkeypatch.setattr(sessions, "open_source_of", source)
    Session(Options(source=str(CLIP), view="none", engine="onnxruntime", frames=2)).run()
    assert order[-1] == "source"
    models = [line.split()[1] for line in order if line.startswith("open")]
    assert len(models) == 3
    assert order[:-1] == [line for model in models for line in (f"open {model}", f"warm {model}")]
    order.clear()
    with pytest.raises(UserError, match=r"there is no file nowhere\.mp4"):
        Session(Options(source="nowhere.mp4", view="none", engine="onnxruntime")).run()
    assert not order, "found out before anything is opened"


def test_a_somersault_is_followed_or_found_again_within_a_third_of_a_second(tmp_path: Path) -> None:
    """A person who turns once round in 0.8 s, as a gymnast does: the frames of a walk, turned about her middle."""
    with av.open(str(CLIP)) as clip:
        frames = [frame.to_ndarray(format="bgr24") for frame in islice(clip.decode(video=0), 60)]
    begin, end = 18, 42
    folder = tmp_path / "frames"
    folder.mkdir()
    height, width = frames[0].shape[:2]
    for number, frame in enumerate(frames):
        angle = 360 * min(max((number - begin) / (end - begin), 0), 1)
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
        turned = cv2.warpAffine(frame, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        cv2.imwrite(str(folder / f"{number:03d}.png"), turned)
    Session(Options(source=str(folder), view="none", fps=30, save=(tmp_path / "m.npz",))).run()
    motion = load_motion(tmp_path / "m.npz")
    seen = np.array([np.any(motion.person[motion.frame == number] >= 0) for number in range(60)])
    assert seen[:begin].all()
    assert seen[end + 9 :].all()
    heads = motion.joints_px[(motion.frame >= end + 9) & (motion.person >= 0), 15]
    hips = motion.joints_px[(motion.frame >= end + 9) & (motion.person >= 0), 0]
    assert (heads[:, 1] < hips[:, 1]).all(), "upright again"


def test_video_sound_and_motion_begin_at_one_zero(tmp_path: Path) -> None:
    """Also where the source's frames begin later than its sound, with a look-ahead, and when it ends early."""
    tone = write_tone_video(tmp_path / "tone.mp4", 90)
    clip = with_sound_of(CLIP, tone, tmp_path / "clip.mkv", later_s=0.5)
    recorded, saved = tmp_path / "out.mp4", tmp_path / "out.npz"
    Session(
        Options(
            source=str(clip), view="none", record=recorded, save=(saved,), frames=20, look_ahead=4, keypoints="fast"
        )
    ).run()
    zero_s, times_s = times_of(clip)[0], times_of(recorded)
    assert zero_s >= 0.5
    np.testing.assert_allclose(times_s, np.array(times_of(clip)[:20]) - zero_s, atol=1e-4)
    motion = load_motion(saved)
    np.testing.assert_allclose(np.unique(motion.time_s), times_s, atol=1e-4)
    found, source = sound_of(recorded), {data: time_s for time_s, data in sound_of(clip)}
    assert 25 < len(found) < 35
    np.testing.assert_allclose([time_s for time_s, _ in found], [source[data] - zero_s for _, data in found], atol=2e-3)
    assert found[0][0] <= 0.0
    assert found[-1][0] < times_s[-1] + 1 / 30
