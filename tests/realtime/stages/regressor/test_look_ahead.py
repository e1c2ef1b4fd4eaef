"""Steadying by later frames: nothing trails, nothing is flattened, noise falls, and every frame comes out once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from body.lbs import NumpyBody
from body.model import load_body
from body.skeleton import Skeleton
from common.arrays import DoubleArray
from common.camera import Camera
from formats.motion import Motion, load_motion
from realtime.options import Options
from realtime.records import Keypoints, PosePrediction
from realtime.session import Session
from realtime.stages.regressor.look_ahead import LookAhead, averages_shaking, fit_weights
from tools.motion_quality import keypoint_distances, limb_lag_ms

CLIP = Path(__file__).resolve().parents[4] / "assets" / "synthetic_walk.mp4"
CAMERA = Camera(550.0, 550.0, 319.5, 239.5)
SKELETON = Skeleton(load_body("body_1722"))
FACING = Rotation.from_rotvec([np.pi, 0, 0])

offsets = st.lists(st.floats(-0.29, 0.29), min_size=4, max_size=16).map(lambda found: np.array([0.0, *found]))


@given(offsets, st.floats(-3, 3), st.floats(-30, 30))
@settings(deadline=None)
def test_what_moves_evenly_is_left_as_it_is_at_any_times(times: DoubleArray, value: float, speed: float) -> None:
    for bend in (0.05, np.inf):
        # The slope's tiny prior stands for up to 1e-6 of speed over the window; next to nothing to see it by, for more.
        if np.ptp(times) > 0.1:
            line = value + speed * times
            assert fit_weights(times, 0.3, bend) @ line == pytest.approx(value, abs=2e-3)
    assert fit_weights(times, 0.3).sum() == pytest.approx(1)


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_without_a_prior_it_is_a_weighted_parabola(seed: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.append(0.0, rng.uniform(-0.25, 0.25, 12))
    values = rng.normal(size=13)
    near = (1 - np.abs(times / 0.3) ** 3) ** 3
    expected = np.polyfit(times, values, 2, w=np.sqrt(near))[-1]
    assert fit_weights(times, 0.3, 0.0) @ values == pytest.approx(expected, abs=1e-3)


def prediction(frame: int, time_s: float, turn: Rotation, person: int = 0, **fields: Any) -> PosePrediction:
    """A person in the middle of the frame, 3 m away, all of whose joints but the first are turned by ``turn``."""
    rotations = np.tile(turn.as_matrix(), (24, 1, 1)).astype(np.float32)
    rotations[0] = FACING.as_matrix()
    pelvis = np.array([0.1, 0.2, 3.0], np.float32)
    _, coco = SKELETON(rotations, np.zeros(10))
    points = (coco + pelvis)[:, :2] / (coco + pelvis)[:, 2:] * 550 + np.float32([319.5, 239.5])
    keypoints = Keypoints(frame, person, points, np.full(17, 0.9, np.float32))
    values = {"rotations": rotations, "betas": np.zeros(10, np.float32), "pelvis": pelvis, "points": points}
    return PosePrediction(keypoints, time_s, **{**values, **fields})


def steadied(predictions: list[PosePrediction], frames: int = 8) -> list[PosePrediction]:
    ahead: LookAhead[int] = LookAhead(frames, SKELETON, CAMERA)
    out = [found for one in predictions if (found := ahead.push(one.keypoints.sequence, one.time_s, [one]))]
    out += ahead.flush()
    assert [number for number, _ in out] == [one.keypoints.sequence for one in predictions]
    return [people[0] for _, people in out]


def angles(predictions: list[PosePrediction], joint: int = 18) -> DoubleArray:
    """(N,) turn about x, rad."""
    return np.array([Rotation.from_matrix(one.rotations[joint]).as_rotvec()[0] for one in predictions])


def times_of(fps: float, seconds: float, dropped: float = 0.0) -> DoubleArray:
    times = np.arange(round(fps * seconds)) / fps
    return times[np.random.default_rng(2).uniform(size=len(times)) >= dropped]


@pytest.mark.parametrize("dropped", [0.0, 0.3])
@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
def test_a_waving_arm_is_neither_late_nor_flattened(fps: float, dropped: float) -> None:
    times = times_of(fps, 3.0, dropped)
    truth = 0.8 * np.sin(2 * np.pi * 1.5 * times)  # up to 7.5 rad/s
    turns = [
        prediction(i, t, Rotation.from_rotvec([a, 0, 0])) for i, (t, a) in enumerate(zip(times, truth, strict=True))
    ]
    shown = angles(steadied(turns))
    inner = (times > 0.4) & (times < 2.6)
    speed = 0.8 * 2 * np.pi * 1.5 * np.cos(2 * np.pi * 1.5 * times)
    late_s = ((truth - shown) * speed)[inner].sum() / (speed**2)[inner].sum()
    assert abs(late_s) < 0.001
    assert np.ptp(shown[inner]) > 0.9 * np.ptp(truth[inner])


def test_noise_falls_to_less_than_a_half_and_its_shaking_to_a_tenth() -> None:
    rng = np.random.default_rng(0)
    raw = [prediction(i, i / 30, Rotation.from_rotvec([a, 0, 0])) for i, a in enumerate(rng.normal(0, 0.02, 120))]
    before, after = angles(raw)[10:-10], angles(steadied(raw))[10:-10]
    assert after.std() < 0.5 * before.std()
    assert np.abs(np.diff(after, 2)).mean() < 0.1 * np.abs(np.diff(before, 2)).mean()


@pytest.mark.parametrize("speed", [3.0, 12.0, 40.0])
def test_a_joint_that_spins_evenly_keeps_its_place_however_fast(speed: float) -> None:
    raw = [prediction(i, i / 30, Rotation.from_rotvec([speed * i / 30, 0, 0])) for i in range(40)]
    for before, after in list(zip(raw, steadied(raw), strict=True))[9:-9]:
        turned = Rotation.from_matrix(before.rotations[5]).inv() * Rotation.from_matrix(after.rotations[5])
        assert turned.magnitude() < 1e-3
        np.testing.assert_allclose(np.linalg.det(after.rotations), 1, atol=1e-5)


def test_a_pelvis_keeps_its_course_and_loses_its_shaking() -> None:
    """Walks to the right at 1 m/s; every second frame is 3 % too near, as single frames are."""
    walk = []
    for i in range(60):
        pelvis = np.array([i / 30 - 1, 0.2, 3.0], np.float32) * np.float32(1 - 0.03 * (i % 2))
        _, coco = SKELETON(prediction(i, 0, Rotation.identity()).rotations, np.zeros(10))
        points = (coco + pelvis)[:, :2] / (coco + pelvis)[:, 2:] * 550 + np.float32([319.5, 239.5])
        walk.append(prediction(i, i / 30, Rotation.identity(), points=points, pelvis=pelvis))
    pelvis = np.stack([one.pelvis for one in steadied(walk)])[10:-10]
    np.testing.assert_allclose(pelvis[:, 0] / pelvis[:, 2], (np.arange(10, 50) / 30 - 1) / 3, atol=0.003)
    assert pelvis[:, 2].mean() == pytest.approx(2.955, abs=0.01)
    assert np.abs(np.diff(pelvis[:, 2])).max() < 0.01


def test_shape_is_what_is_known_of_it_by_the_last_frame_that_was_waited_for() -> None:
    raw = [prediction(i, i / 30, Rotation.identity(), betas=np.full(10, i, np.float32)) for i in range(12)]
    assert [int(one.betas[0]) for one in steadied(raw, 4)] == [4, 5, 6, 7, 8, 9, 10, 11, 11, 11, 11, 11]


def test_people_who_come_and_go_are_steadied_by_themselves() -> None:
    ahead: LookAhead[int] = LookAhead(3, SKELETON, CAMERA)
    seen = {0: range(20), 1: (*range(4, 7), *range(11, 20)), 2: (9,)}
    out: dict[int, tuple[PosePrediction, ...]] = {}
    for frame in range(20):
        turn = {0: 0.0, 1: 0.5, 2: 1.0}
        people = [
            prediction(frame, frame / 30, Rotation.from_rotvec([turn[p], 0, 0]), p) for p in seen if frame in seen[p]
        ]
        if found := ahead.push(frame, frame / 30, people):
            out[found[0]] = found[1]
    out.update(ahead.flush())
    assert sorted(out) == list(range(20))
    for frame, people in out.items():
        assert {one.keypoints.person for one in people} == {p for p in seen if frame in seen[p]}
        for one in people:
            assert one.keypoints.sequence == frame
            assert angles([one]) == pytest.approx(0.5 * one.keypoints.person, abs=1e-4)


@given(st.integers(1, 6), st.integers(0, 30))
@settings(max_examples=20, deadline=None)
def test_every_frame_comes_out_once_in_order_after_its_wait(frames: int, count: int) -> None:
    ahead: LookAhead[int] = LookAhead(frames, SKELETON, CAMERA)
    out = []
    for index in range(count):
        found = ahead.push(index, index / 30, [])
        assert (found is None) == (index < frames)
        if found is not None:
            assert found == (index - frames, ())
            out.append(found[0])
    out += [index for index, _ in ahead.flush()]
    assert out == list(range(count))


def test_no_look_ahead_is_none() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        LookAhead(0, SKELETON, CAMERA)


def test_a_recording_is_steadier_and_lies_no_worse_on_the_person(tmp_path: Path) -> None:
    def run(frames: int, foot_lock: bool = False) -> Motion:
        path = tmp_path / f"{frames}.npz"
        options = Options(source=str(CLIP), view="none", save=(path,), look_ahead=frames, no_foot_lock=not foot_lock)
        report = Session(options).run()
        assert report.look_ahead_frames == frames
        assert (report.look_ahead_ms > 0) == (frames > 0)
        assert report.latency_ms.p50 >= report.look_ahead_ms
        return load_motion(path)

    def shake(motion: Motion) -> float:
        return float(np.linalg.norm(np.diff(motion.joints_m.astype(np.float64), 2, axis=0), axis=-1).mean())

    live, later = run(0), run(8)
    np.testing.assert_array_equal(later.frame, live.frame)
    np.testing.assert_array_equal(later.keypoints_px, live.keypoints_px)
    assert shake(later) < 0.6 * shake(live)
    steady = shake(run(8, foot_lock=True))
    assert steady < 0.8 * shake(run(0, foot_lock=True)), "with feet that stand, too"
    assert steady < 2 * shake(later), "feet that stand do not make the body shake"
    body = NumpyBody(load_body())
    assert keypoint_distances(later, body).mean() < 1.02 * keypoint_distances(live, body).mean()
    assert not limb_lag_ms(later) > limb_lag_ms(live) + 1  # NaN where no limb moves far enough to lag


@pytest.mark.parametrize(
    ("frames", "fps", "enough"), [(8, 30, True), (0, 30, False), (2, 30, False), (2, 6, False), (8, 6, False)]
)
def test_shaking_averages_out_over_enough_frames_that_are_near(frames: int, fps: float, enough: bool) -> None:
    assert averages_shaking(frames, fps) is enough
