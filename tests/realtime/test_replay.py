"""Motion files on their video again, and alone on the floor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from body.model import load_body
from common.arrays import ImageArray
from common.errors import UserError
from formats.motion import Motion, save_motion
from realtime.options import Options
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
    painted = np.abs(frames[3].astype(int) - empty).max(-1) > 40
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
