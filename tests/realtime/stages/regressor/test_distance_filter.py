"""The distance is steady at rest, follows who walks, and stays near the prediction whatever the network says of the speed."""

from __future__ import annotations

import numpy as np
import pytest

from common.arrays import DoubleArray, FloatArray
from realtime.stages.regressor.distance_filter import DistanceFilter


def wandering(count: int, fps: float, seed: int) -> DoubleArray:
    """Errors (count,) of a log distance as the network makes them: 2 %, half of them new after a third of a second."""
    rng, keep = np.random.default_rng(seed), float(np.exp(-1 / fps / 0.5))
    errors = [rng.normal(0, 0.02)]
    for _ in range(count - 1):
        errors.append(keep * errors[-1] + rng.normal(0, 0.02 * np.sqrt(1 - keep**2)))
    return np.array(errors)


def follow(
    speed: float,
    predicted: float | None,
    fps: float = 30.0,
    noise: bool = False,
    start_m: float = 4.0,
    seed: int = 0,
    seconds: float = 3.0,
) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """True, predicted and filtered distance, m, of somebody who comes nearer with ``speed`` m/s after a second, while the
    network predicts a speed of ``predicted`` m/s."""
    times = np.arange(round(seconds * fps)) / fps
    truth = start_m - speed * np.clip(times - 1, 0, None)
    seen = truth * np.exp(wandering(len(times), fps, seed)) if noise else truth
    smooth, shown = DistanceFilter(), []
    for time_s, distance in zip(times, seen, strict=True):
        velocity: FloatArray | None = None
        if predicted is not None:
            velocity = np.array([0, 0, -predicted if time_s > 1 else 0], np.float32)
        shown.append(smooth(np.array([0, 0, distance], np.float32), velocity, 1 / fps))
    return truth, seen, np.array(shown)


def _noise_over_half_a_second(speed: float, fps: float) -> tuple[float, float]:
    """Mean change of the error in half a second, before and after smoothing, m, of people whose speed is predicted."""
    half, changes = round(fps / 2), []
    for seed in range(20):
        truth, seen, shown = follow(speed, speed, fps, noise=True, seed=seed)
        errors = seen - truth, shown - truth
        changes.append([np.abs(off[half:] - off[:-half])[half:].mean() for off in errors])
    before, after = np.mean(changes, 0)
    return float(before), float(after)


@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
@pytest.mark.parametrize("speed", [0.0, 1.2], ids=["standing", "walking"])
def test_a_third_of_the_noise_along_the_line_of_sight_is_smoothed_away(speed: float, fps: float) -> None:
    before, after = _noise_over_half_a_second(speed, fps)
    assert after < 0.65 * before


@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
def test_a_walker_whose_speed_is_predicted_is_followed(fps: float) -> None:
    truth, _, shown = follow(1.2, 1.2, fps)
    assert np.abs(shown - truth).max() < 0.025


@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
@pytest.mark.parametrize(
    ("speed", "predicted"),
    [(0.0, 1.2), (0.0, -1.2), (1.2, 0.0), (1.2, None), (-2.5, 0.0), (2.5, -0.5)],
    ids=["treadmill", "treadmill backwards", "unknown walk", "older network", "run", "wrong way"],
)
def test_whatever_the_network_says_of_the_speed_the_body_stays_where_it_is_seen(
    speed: float, predicted: float | None, fps: float
) -> None:
    truth, _, shown = follow(speed, predicted, fps, start_m=8.0 if speed > 2 else 4.0)
    assert np.abs(np.log(shown / truth)).max() < 0.06
    assert np.abs(np.log(shown / truth))[-5:].max() < 0.045


def test_a_treadmill_does_not_carry_its_walker_off() -> None:
    """The speed is wrong for a minute: the distance settles, and does not go on and on."""
    _, _, shown = follow(0.0, 1.2, seconds=60.0)
    late = shown[300:]
    assert np.ptp(late) < 0.02
    assert abs(late[-1] - 4.0) < 0.15


def test_a_first_prediction_that_is_wrong_is_soon_forgotten() -> None:
    smooth = DistanceFilter()
    shown = [smooth(np.array([0, 0, 5.0 if n < 2 else 4.0], np.float32), None, 1 / 30) for n in range(30)]
    assert abs(shown[10] - 4.0) < 0.15
    assert abs(shown[-1] - 4.0) < 0.1


def test_a_gap_and_no_time_at_all_leave_it_finite() -> None:
    smooth = DistanceFilter()
    for dt_s in (1 / 30, 0.0, 1.9, 1 / 30):
        distance = smooth(np.array([0.3, 0.1, 3.0], np.float32), np.array([0.5, 0, 1], np.float32), dt_s)
        assert 2.7 < distance < 3.3
