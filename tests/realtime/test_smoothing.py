"""The filters: still input stays, noise shrinks, fast motion does not lag, and the true dt is what counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from realtime.smoothing import PositionFilter, RotationFilter


def angle_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.rad2deg((Rotation.from_matrix(a).inv() * Rotation.from_matrix(b)).magnitude())


@given(st.integers(0, 2**32 - 1), st.floats(1 / 120, 0.2))
@settings(max_examples=30, deadline=None)
def test_a_still_pose_stays_as_it_is(seed: int, dt: float) -> None:
    pose = Rotation.random(24, random_state=np.random.default_rng(seed)).as_matrix().astype(np.float32)
    smooth = RotationFilter(24)
    for _ in range(5):
        out = smooth(pose, dt)
    assert angle_between(out, pose).max() < 0.1


def test_jitter_of_a_still_person_shrinks_to_less_than_half() -> None:
    rng = np.random.default_rng(0)
    base = Rotation.random(24, random_state=rng)
    smooth = RotationFilter(24)
    raw, out = [], []
    for _ in range(200):
        noisy = (base * Rotation.from_rotvec(np.deg2rad(rng.normal(0, 2, (24, 3))))).as_matrix().astype(np.float32)
        raw.append(angle_between(noisy, base.as_matrix()).mean())
        out.append(angle_between(smooth(noisy, 1 / 30), base.as_matrix()).mean())
    assert np.mean(out[30:]) < 0.55 * np.mean(raw[30:])


@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
def test_fast_motion_lags_less_than_60_ms_at_any_frame_rate(fps: float) -> None:
    """An arm swung at 360° a second: the filter may follow by at most 60 ms of motion."""
    smooth = RotationFilter(1)
    speed = 2 * np.pi
    for frame in range(int(fps)):
        angle = speed * frame / fps
        out = smooth(Rotation.from_rotvec([[0, angle, 0]]).as_matrix().astype(np.float32), 1 / fps)
    behind = angle_between(out, Rotation.from_rotvec([[0, angle, 0]]).as_matrix())[0]
    assert behind / 360 < 0.060


def test_a_walk_across_the_picture_lags_less_than_4_cm() -> None:
    smooth = PositionFilter()
    for frame in range(90):
        truth = np.array([-1.5 + frame / 30, 0.2, 3.0], np.float32)  # 1 m/s
        out = smooth(truth, 1 / 30)
    assert np.abs(out - truth).max() < 0.04


def test_jitter_in_distance_shrinks_most() -> None:
    rng = np.random.default_rng(1)
    smooth = PositionFilter()
    out = np.array([smooth(np.array([0, 0, 3 * np.exp(rng.normal(0, 0.03))], np.float32), 1 / 30) for _ in range(300)])
    assert out[50:, 2].std() < 0.5 * 3 * 0.03
