"""The vertical from the network's predictions, against posterior means that are integrated numerically."""

from __future__ import annotations

import math

import numpy as np
import pytest

from common.arrays import DoubleArray
from realtime.stages.world.vertical import Vertical, pitch_and_roll, up_of

_NOISE_DEG = 4.5  # of the roll that one person's keypoints show
_SIGMA = math.radians(7.0)


def _normal(x: DoubleArray, sigma: float) -> DoubleArray:
    return np.asarray(np.exp(-((x / sigma) ** 2) / 2) / sigma)


def _predicted(roll_deg: float) -> float:
    """What a network predicts that was trained on cameras of which 88 % are level and 12 % are rolled by any angle."""
    rolls = np.linspace(-90, 90, 3601)
    cameras = 0.88 * _normal(rolls, 3.4) + 0.12 * _normal(rolls, 23.0)
    weights = cameras * _normal(rolls - roll_deg, _NOISE_DEG)
    return float((weights * rolls).sum() / weights.sum())


def _solved(roll_deg: float, seconds: float = 30.0) -> tuple[float, float]:
    """The roll, degrees, and the deviation of the vertical, radians, after predictions of ``roll_deg`` for one person."""
    vertical = Vertical()
    up = up_of(math.radians(6.0), math.radians(roll_deg)).astype(np.float32)
    for _ in range(round(10 * seconds)):
        vertical.add_prediction(0, up, _SIGMA, 0.1, np.eye(3))
    vertical.solve()
    return math.degrees(pitch_and_roll(vertical.up)[1]), vertical.sigma


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("true", [0, 4, 8, 12, 16, 20, 25])
def test_a_roll_that_the_network_underestimates_is_found(true: float, sign: int) -> None:
    found, _ = _solved(_predicted(sign * true))
    assert abs(sign * found - true) <= max(2.5, 0.3 * true)


def test_a_larger_prediction_is_never_a_smaller_roll_and_is_less_certain() -> None:
    found = [_solved(float(roll), 1.0) for roll in range(0, 40, 2)]
    rolls, sigmas = np.array(found).T
    assert (np.diff(rolls) > 0).all()
    assert (np.diff(sigmas) > 0).all()
