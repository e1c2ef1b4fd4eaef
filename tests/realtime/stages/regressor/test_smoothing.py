"""The filters: still input stays, noise shrinks, fast motion does not lag, and the true dt is what counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from common.arrays import AnyArray, DoubleArray
from realtime.stages.regressor.smoothing import PositionFilter, RotationFilter


def angle_between(a: AnyArray, b: AnyArray) -> DoubleArray:
    return np.asarray(np.rad2deg((Rotation.from_matrix(a).inv() * Rotation.from_matrix(b)).magnitude()))


@given(st.integers(0, 2**32 - 1), st.floats(1 / 120, 0.2))
@settings(max_examples=30, deadline=None)
def test_a_still_pose_stays_as_it_is(seed: int, dt: float) -> None:
    pose = Rotation.random(24, random_state=np.random.default_rng(seed)).as_matrix().astype(np.float32)
    smooth = RotationFilter(24)
    for _ in range(5):
        out = smooth(pose, dt)
    assert angle_between(out, pose).max() < 0.1


def test_a_still_person_does_not_shake() -> None:
    """Half a degree an axis is a little more than what the network says of people who stand still."""
    rng = np.random.default_rng(0)
    smooth = RotationFilter(24)
    raw = np.deg2rad(rng.normal(0, 0.5, (200, 24, 3)))
    steady = np.array(
        [
            Rotation.from_matrix(smooth(Rotation.from_rotvec(noise).as_matrix().astype(np.float32), 1 / 30)).as_rotvec()
            for noise in raw
        ]
    )

    def shake(turns: AnyArray) -> float:
        return float(np.linalg.norm(np.diff(turns[30:], 2, axis=0), axis=-1).mean())

    assert shake(steady) < 0.25 * shake(raw)
    assert np.abs(steady[30:]).mean() < 0.75 * np.abs(raw[30:]).mean()


def swing(speed: float, fps: float, seconds: float, stop_s: float | None = None) -> tuple[DoubleArray, DoubleArray]:
    """True and filtered angle, rad, of a joint that turns with ``speed`` rad/s from rest at 0 s, and stops at ``stop_s``."""
    smooth = RotationFilter(1)
    times = np.arange(-round(0.5 * fps), round(seconds * fps)) / fps
    truth = speed * np.clip(times, 0, stop_s)
    shown = []
    for angle in truth:
        out = smooth(Rotation.from_rotvec([[0, angle, 0]]).as_matrix().astype(np.float32), 1 / fps)
        behind = (Rotation.from_matrix(out).inv() * Rotation.from_rotvec([[0, angle, 0]])).as_rotvec()[0, 1]
        shown.append(angle - behind)
    return truth[times >= 0], np.array(shown)[times >= 0]


@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
@pytest.mark.parametrize(("speed", "lag_ms"), [(2.0, 25.0), (10.0, 6.0)])
def test_a_limb_in_motion_is_hardly_late_at_any_frame_rate(speed: float, fps: float, lag_ms: float) -> None:
    truth, shown = swing(speed, fps, 1.0)
    assert abs(truth[-1] - shown[-1]) / speed * 1000 < lag_ms


def test_a_limb_that_starts_to_move_is_late_by_less_than_a_frame() -> None:
    truth, shown = swing(10.0, 30.0, 0.5)
    late_ms = (truth - shown) / 10.0 * 1000
    assert late_ms.max() < 33
    assert late_ms[4:].max() < 12, "and hardly any more after a tenth of a second"


def test_a_limb_that_stops_does_not_swing_through() -> None:
    truth, shown = swing(10.0, 30.0, 1.0, stop_s=0.5)
    assert np.rad2deg(shown - truth).max() < 10
    assert abs(np.rad2deg(shown - truth)[-8:]).max() < 5


def test_a_walk_across_the_frame_lags_less_than_1_cm() -> None:
    smooth = PositionFilter()
    for frame in range(90):
        truth = np.array([-1.5 + frame / 30, 0.2, 3.0], np.float32)  # 1 m/s
        out = smooth(truth, 1 / 30)
    assert np.abs(out - truth).max() < 0.01


def test_jitter_in_distance_shrinks_most() -> None:
    rng = np.random.default_rng(1)
    smooth = PositionFilter()
    out = np.array([smooth(np.array([0, 0, 3 * np.exp(rng.normal(0, 0.01))], np.float32), 1 / 30) for _ in range(300)])
    assert out[50:, 2].std() < 0.5 * 3 * 0.01
