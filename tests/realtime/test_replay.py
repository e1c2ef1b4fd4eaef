"""Motion files on their video again, and alone on the floor."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
import pytest

from body.model import load_body
from common.arrays import ImageArray
from common.errors import UserError
from formats.motion import Motion, save_motion
from formats.save import save_as
from realtime.options import Options
from realtime.outputs.video import VideoRecorder
from realtime.records import Result
from realtime.replay import SIZE_ALONE, MotionReplay, replay_motion
from tests.formats.motions import example, two_people
from tests.realtime.clips import number, write_video

FOCAL = 60.0
WIDTH, HEIGHT = 128, 96


@pytest.fixture(scope="module")
def motion() -> Motion:
    """Somebody in frames 0..5 and 9..11 of a small video, seen by a camera that fits it."""
    made = example(load_body(), {0: np.array([0, 1, 2, 3, 4, 5, 9, 10, 11])})
    matrix = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])
    return replace(made, camera_matrix=matrix, time_s=made.time_s - 2.0)


@pytest.fixture
def saved(motion: Motion, tmp_path: Path) -> Path:
    save_motion(tmp_path / "walk.npz", motion.arrays())
    return tmp_path / "walk.npz"


def images(path: Path) -> list[ImageArray]:
    with av.open(str(path)) as video:
        return [frame.to_ndarray(format="bgr24") for frame in video.decode(video=0)]


def times(path: Path) -> list[float]:
    with av.open(str(path)) as video:
        return [float(frame.time or 0) for frame in video.decode(video=0)]


def test_bodies_are_painted_on_the_frames_they_were_seen_in(saved: Path, motion: Motion, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mp4", 12, size=(WIDTH, HEIGHT))
    out = tmp_path / "out.mp4"
    done = replay_motion(saved, Options(source=str(clip)), record=out)
    assert (done.frames, done.matched, done.recorded) == (12, 12, 12)
    before, after = images(clip), images(out)
    joints = motion.joints_m[motion.person == 0].reshape(-1, 3)
    pixels = joints[:, :2] / joints[:, 2:] * FOCAL + [(WIDTH - 1) / 2, (HEIGHT - 1) / 2]
    spine = pixels.reshape(-1, 24, 2)[:, 3].round().astype(int)
    seen = np.unique(motion.frame[motion.person == 0]).tolist()
    for index, (plain, painted) in enumerate(zip(before, after, strict=True)):
        assert number(painted[:, :WIDTH]) == index, "the video's frames keep their order"
        changed = np.abs(plain.astype(int) - painted[:HEIGHT, :WIDTH]).max(-1)
        if index in seen:
            x, y = spine[seen.index(index)]
            assert changed[y, x] > 30
        else:
            assert np.percentile(changed, 99) < 30, "nobody was seen in this frame"


class FakeWindow:
    """Notes the video frame's index, the state and the number of flow fields of all that is shown, and presses ``keys`` once an
    entry of them has been shown."""

    closed = False
    keys: ClassVar[dict[tuple[int, str], list[str]]] = {}
    told: ClassVar[list[tuple[int, str]]] = []
    flows: ClassVar[list[int]] = []

    def __init__(self, *about: object, **more: object) -> None:
        self.pressed: list[str] = []

    def __enter__(self) -> FakeWindow:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def events(self) -> list[str]:
        pressed, self.pressed = self.pressed, []
        return pressed

    @classmethod
    def quit_after(cls, shown: int, count: int) -> None:
        """Press q at the next end, once ``count`` images have been ``shown``."""
        if shown >= count:
            cls.keys[11, END] = ["q"]

    def show(self, result: Result, state: str = "", flow: bool = False, again: bool = False) -> bool:
        image, state = result.frame.image, re.sub(r"REC \d+:\d\d", "REC", state)
        self.told.append((number(image) if image.shape[:2] == (HEIGHT, WIDTH) else result.frame.sequence, state))
        self.flows.append(len(result.flows) if flow else -1)
        self.pressed = self.keys.pop(self.told[-1], []) if len(self.told) < 40 else ["q"]
        return True


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> type[FakeWindow]:
    monkeypatch.setattr("realtime.replay.MeshWindow", FakeWindow)
    FakeWindow.keys, FakeWindow.told, FakeWindow.flows = {}, [], []
    return FakeWindow


PLAYING = ["space", "left, right", "r", "s", "h", "q"]
PAUSED, END = "paused: space goes on", "the end: left goes back, q closes"


def test_its_window_says_when_it_is_paused_and_at_the_end(
    saved: Path, tmp_path: Path, window: type[FakeWindow]
) -> None:
    clip = write_video(tmp_path / "clip.mp4", 6, size=(WIDTH, HEIGHT))
    window.keys = {(3, ""): ["space"], (3, PAUSED): ["space"], (5, END): ["space", "q"]}
    replay_motion(saved, Options(source=str(clip)), window=True)
    paused = [(3, ""), (3, PAUSED), (3, "")]
    assert window.told == [(0, ""), (1, ""), (2, ""), *paused, (4, ""), (5, ""), (5, END)]


def test_arrows_seek_in_its_film_also_while_it_is_paused_and_after_its_end(
    saved: Path, tmp_path: Path, window: type[FakeWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.views.commands.WIND_S", 2.9 / 30)
    clip = write_video(tmp_path / "clip.mp4", 12, size=(WIDTH, HEIGHT))
    window.keys = {(1, ""): ["space"], (1, PAUSED): ["right"], (5, PAUSED): ["space"], (11, END): ["left"]}
    window.keys[10, ""] = ["f"]  # of the first time only
    replayed = replay_motion(saved, Options(source=str(clip)), window=True, shown=lambda n: window.quit_after(n, 12))
    first = [(0, ""), (1, ""), (1, PAUSED), (5, PAUSED), (5, "")]  # frame 2 was waiting
    assert window.told[: len(first)] == first
    again = window.told[window.told.index((11, END)) + 1 :]
    assert [index for index, _ in again] == [9, 10, 11, 11]
    assert replayed.frames == 3 + 7 + 3  # frame 2 was read
    assert window.flows[-4:] == [0, 1, 1, 1], "there is no flow over a jump"


def test_arrows_seek_among_bodies_alone(
    saved: Path, tmp_path: Path, window: type[FakeWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers and times go on after a jump."""
    monkeypatch.setattr("realtime.views.commands.WIND_S", 2.9 / 30)
    window.keys = {(1, ""): ["right"], (7, ""): ["left"], (12, END): ["q"]}
    replayed = replay_motion(saved, window=True, record=tmp_path / "x.mp4")
    assert [index for index, state in window.told if state != END] == [0, 1, 3, 4, 5, 6, 7, 9, 10, 11, 12]
    assert replayed.recorded == replayed.frames
    assert np.all(np.diff(times(tmp_path / "x.mp4")) > 0.03)


def test_r_records_what_its_window_shows(
    saved: Path, tmp_path: Path, window: type[FakeWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = write_video(tmp_path / "clip.mp4", 12, size=(WIDTH, HEIGHT))
    window.keys = {(3, ""): ["r"], (8, "REC"): ["r", "s"], (11, END): ["q"]}
    replay_motion(saved, Options(source=str(clip)), window=True)
    (made,) = tmp_path.glob("motionmesh-*.mp4")
    assert [number(image[:HEIGHT, :WIDTH]) for image in images(made)] == [4, 5, 6, 7, 8]
    assert len(list(tmp_path.glob("motionmesh-*.png"))) == 1


def test_a_window_that_is_closed_before_anybody_comes_is_no_error(
    motion: Motion, tmp_path: Path, window: type[FakeWindow]
) -> None:
    late = replace(motion, frame=motion.frame + 5, time_s=motion.time_s + 5 / 30)
    save_motion(tmp_path / "late.npz", late.arrays())
    clip = write_video(tmp_path / "clip.mp4", 12, size=(WIDTH, HEIGHT))
    window.keys = {(1, ""): ["q"]}
    assert replay_motion(tmp_path / "late.npz", Options(source=str(clip)), window=True).matched == 0


@pytest.mark.parametrize(("alone", "wanted"), [(False, ["v", "m", "k", "f", "1-9", "0", *PLAYING]), (True, PLAYING)])
def test_its_window_lists_only_keys_that_do_something(
    alone: bool, wanted: list[str], saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []

    def opened(*about: object, keys: tuple[str, ...], **more: object) -> None:
        listed.extend(line.partition("\t")[0] for line in keys)
        raise UserError("no window: use --view none")

    monkeypatch.setattr("realtime.replay.MeshWindow", opened)
    clip = write_video(tmp_path / "clip.mp4", 6, size=(WIDTH, HEIGHT))
    with pytest.raises(UserError, match=r"^no window: use --view none with --record OUT\.mp4$"):
        replay_motion(saved, None if alone else Options(source=str(clip)), window=True)
    assert listed == wanted


def test_a_recording_keeps_the_videos_times(saved: Path, tmp_path: Path) -> None:
    shown_at = [0, 33, 67, 100, 133, 167, 200, 233, 267, 300, 333, 367]
    clip = write_video(tmp_path / "clip.mp4", 12, size=(WIDTH, HEIGHT), times_ms=shown_at)
    replay_motion(saved, Options(source=str(clip)), record=tmp_path / "out.mp4")
    np.testing.assert_allclose(times(tmp_path / "out.mp4"), np.array(shown_at) / 1000, atol=2e-3)


def test_frames_are_found_by_index_and_where_some_were_dropped_by_time(motion: Motion) -> None:
    replay = MotionReplay(motion)
    assert replay.place_of(9, 9 / 30) == replay.frames.tolist().index(9)
    # The seventh frame of a recording that lacks three shows the source's tenth.
    assert replay.place_of(6, 9 / 30 + 0.004) == replay.frames.tolist().index(9)
    assert replay.place_of(6, 20.0) is None


def test_bodies_alone_stand_upright_in_the_middle(saved: Path, tmp_path: Path) -> None:
    done = replay_motion(saved, record=tmp_path / "out.mp4")
    assert (done.frames, done.recorded) == (12, 12)
    empty, *_ = (frames := images(tmp_path / "out.mp4"))[6:9]
    assert frames[0].shape == (SIZE_ALONE[1], SIZE_ALONE[0], 3)
    painted = np.abs(frames[3].astype(int) - empty).max(-1) > 50  # more than the floor's lines, which pan
    painted[:, SIZE_ALONE[0] * 3 // 4 :] = False  # a map is in the corner
    rows, columns = np.nonzero(painted)
    assert np.ptp(rows) > np.ptp(columns) * 0.8
    assert abs(np.median(columns) - SIZE_ALONE[0] / 2) < SIZE_ALONE[0] * 0.1
    assert np.ptp(rows) > SIZE_ALONE[1] / 3


def test_a_motion_without_a_world_is_put_on_a_floor_of_its_own() -> None:
    floor = MotionReplay(two_people(load_body(), world=False)).floor().world_from_camera
    np.testing.assert_allclose(floor[:3, :3], np.diag([1, -1, -1]))
    assert floor[1, 3] > 0


def test_a_video_of_another_time_shape_or_without_a_camera_is_refused(
    saved: Path, motion: Motion, tmp_path: Path
) -> None:
    tall = write_video(tmp_path / "tall.mp4", 3, size=(96, 128))
    with pytest.raises(UserError, match="128x96"):
        replay_motion(saved, Options(source=str(tall)), record=tmp_path / "out.mp4")
    clip = write_video(tmp_path / "clip.mp4", 3, size=(WIDTH, HEIGHT))
    late = tmp_path / "late.npz"
    save_motion(late, replace(motion, time_s=motion.time_s + 60).arrays())
    with pytest.raises(UserError, match="fits no frame"):
        replay_motion(late, Options(source=str(clip)), record=tmp_path / "out.mp4")
    blind = tmp_path / "blind.npz"
    save_motion(blind, replace(motion, camera_matrix=np.full((3, 3), np.nan)).arrays())
    with pytest.raises(UserError, match="without --source"):
        replay_motion(blind, Options(source=str(clip)), record=tmp_path / "out.mp4")
    with pytest.raises(UserError, match="live"):
        replay_motion(saved, Options(source="0"), record=tmp_path / "out.mp4")


def test_a_smaller_video_gets_a_smaller_body(saved: Path, motion: Motion, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "small.mp4", 12, size=(WIDTH // 2, HEIGHT // 2))
    out = tmp_path / "out.mp4"
    replay_motion(saved, Options(source=str(clip)), record=out)
    before, after = images(clip)[0], images(out)[0]
    joints = motion.joints_m[0]
    x, y = (joints[3, :2] / joints[3, 2] * FOCAL / 2 + [WIDTH / 4, HEIGHT / 4]).astype(int)
    assert np.abs(before[y, x].astype(int) - after[y, x]).max() > 30


def test_the_grid_finds_the_flow_again(motion: Motion, tmp_path: Path) -> None:
    # Keypoints around a square that moves to the right over a still ground.
    clip, out = tmp_path / "moving.mp4", tmp_path / "out.mp4"
    ground = np.random.default_rng(5).integers(90, 160, (HEIGHT, WIDTH), np.uint8)
    with VideoRecorder(clip) as video:
        for index in range(6):
            image = np.repeat(ground[..., None], 3, 2)
            image[30:70, 40 + 3 * index : 70 + 3 * index] = (np.indices((40, 30)).sum(0) % 16 * 16)[..., None]
            video.write(image, index / 30)
    points = np.array([[44 + 3 * (i % 8), 32 + 4 * (i // 2)] for i in range(17)], np.float32)
    count = len(motion.frame)
    seen = replace(
        motion,
        keypoints_px=np.tile(points, (count, 1, 1)),
        keypoint_confidence=np.ones((count, 17), np.float32),
    )
    save_motion(tmp_path / "seen.npz", seen.arrays())
    replay_motion(tmp_path / "seen.npz", Options(source=str(clip)), record=out, layout="grid")
    frames = images(out)
    assert frames[0].shape == (2 * HEIGHT, 2 * WIDTH, 3)
    blue, green, red = (frames[4][30:70, WIDTH + 55 : WIDTH + 75, channel].mean() for channel in range(3))
    assert red > max(blue, green) + 15
    with pytest.raises(UserError, match="--source"):
        replay_motion(tmp_path / "seen.npz", record=out, layout="side")


@pytest.mark.parametrize("ending", [".jsonl", ".bvh", ".amass.npz"])
def test_other_formats_are_shown_alone(ending: str, tmp_path: Path) -> None:
    """Upright on the floor, and like the motion that they were made of."""
    whole = example(load_body(), {0: np.arange(4)})
    save_motion(tmp_path / "walk.npz", whole.arrays())
    other = save_as(whole, tmp_path / f"walk{ending}").paths[0]
    done = replay_motion(other, record=tmp_path / "other.mp4")
    assert (done.frames, done.matched) == (4, 4)
    replay_motion(tmp_path / "walk.npz", record=tmp_path / "own.mp4")
    own, shown = images(tmp_path / "own.mp4")[2], images(tmp_path / "other.mp4")[2]

    def body(image: ImageArray) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        view = image[:, : SIZE_ALONE[0] * 3 // 4].max(-1) > 130  # a map is in the corner
        assert view.mean() > 0.005
        return view

    one, two = body(own), body(shown)
    assert (one & two).sum() / (one | two).sum() > 0.9


def test_neither_the_video_nor_the_motion_is_written_over(saved: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", 3)
    before = video.read_bytes(), saved.read_bytes()
    for record in (video, saved):
        with pytest.raises(UserError, match="would write over"):
            replay_motion(saved, Options(source=video.as_uri()), record=record)
    assert (video.read_bytes(), saved.read_bytes()) == before
