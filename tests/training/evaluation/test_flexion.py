"""How flexion is followed: every figure is put in and must come out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from training.evaluation.flexion import hip_flexion, knee_flexion, score_flexion

NAMES = (
    "left_shoulder", "right_shoulder", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
)  # fmt: skip
TIMES = np.arange(600) / 60


def person(hip: float, knee: float) -> np.ndarray:
    """(1, 8, 3) metres, y up, facing +z: thighs lifted by ``hip`` degrees, knees bent by ``knee``."""
    points = []
    for side in (1, -1):
        start = np.array([0.1 * side, 1.0, 0.0])
        thigh = Rotation.from_euler("x", -hip, degrees=True).apply([0, -0.4, 0])
        shank = Rotation.from_euler("x", knee - hip, degrees=True).apply([0, -0.4, 0])
        points.append([[0.2 * side, 1.5, 0.0], start, start + thigh, start + thigh + shank])
    return np.array(points).transpose(1, 0, 2).reshape(1, 8, 3)


@given(st.floats(-40, 110), st.floats(0, 150), st.integers(0, 100))
def test_angles_do_not_depend_on_where_the_person_stands_and_looks(hip: float, knee: float, seed: int) -> None:
    turn = Rotation.random(rng=seed)
    points = turn.apply(person(hip, knee).reshape(-1, 3)).reshape(1, 8, 3) * 1.3 + [4.0, 5.0, 6.0]
    np.testing.assert_allclose(knee_flexion(points, NAMES), np.full((1, 2), knee), atol=1e-5)
    np.testing.assert_allclose(hip_flexion(points, NAMES), np.full((1, 2), hip), atol=1e-6)


def squats(times: np.ndarray) -> np.ndarray:
    """Degrees (T, 2): 5 to 85 and back in 2.5 s; the right knee bends less deep."""
    wave = 40 - 40 * np.cos(2 * np.pi * times / 2.5)
    return np.stack([5 + wave, 5 + 0.8 * wave], -1)


@pytest.mark.parametrize(("gain", "bias", "lag"), [(1.0, 0.0, 0.0), (0.6, 12.0, 0.05), (1.1, -3.0, -0.02)])
def test_gain_bias_and_lag_come_out(gain: float, bias: float, lag: float) -> None:
    found = score_flexion(gain * squats(TIMES - lag) + bias, squats(TIMES), TIMES)
    assert found.gain == pytest.approx(gain, abs=0.01)
    assert found.lag_ms == pytest.approx(1000 * lag, abs=2.1)
    if lag == 0:
        assert found.bending == pytest.approx(found.straightening, abs=0.1)
        assert found.rmse == pytest.approx(0, abs=1e-9)
    else:
        # Who is late is too small while the angle grows.
        assert np.sign(found.straightening - found.bending) == np.sign(lag)


def test_standing_legs_and_hysteresis() -> None:
    truth = squats(TIMES)
    rising = np.gradient(truth, axis=0) > 0
    found = score_flexion(truth + np.where(rising, -7.0, 13.0), truth, TIMES)
    assert found.bending == pytest.approx(-7, abs=0.5)
    assert found.straightening == pytest.approx(13, abs=0.5)
    bent = score_flexion(np.maximum(truth, 30), truth, TIMES)
    assert bent.truly_standing < 10
    assert bent.standing == pytest.approx(30)


def test_unknown_frames_are_left_out_and_nothing_gives_nothing() -> None:
    truth = squats(TIMES)
    estimate = truth + 4
    estimate[100:130] = np.nan
    truth[300:310] = np.nan
    found = score_flexion(estimate, truth, TIMES)
    assert found.rmse == pytest.approx(4)
    assert found.gain == pytest.approx(1, abs=0.01)
    none = score_flexion(np.full((600, 2), np.nan), truth, TIMES)
    assert np.isnan([none.rmse, none.gain, none.lag_ms, none.bending]).all()
