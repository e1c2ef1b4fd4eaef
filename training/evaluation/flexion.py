"""How well the flexion of knees and hips is followed: amplitude, lag, and difference between bending and straightening.

Measured on joint positions alone, so that skeletons with other bones and rest poses compare. A man who stands with knees bent
by 8 degrees and is estimated with 40 has a small error in millimetres and looks wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import AnyFloatArray, DoubleArray

LEGS: Final = tuple(f"{side}_{joint}" for joint in ("hip", "knee", "ankle") for side in ("left", "right"))
_SHOULDERS: Final = ("left_shoulder", "right_shoulder")

LONGEST_LAG_S: Final = 0.4
LAG_STEP_S: Final = 0.002
RATE_DEG_S: Final = 30.0
"""Slower changes of the true angle are neither bending nor straightening."""
RATE_OVER_S: Final = 0.1
"""Time over which the rate is measured."""
STANDING_DEG: Final = 15.0
"""Flexion below which a leg counts as standing, degrees."""


@dataclass(frozen=True, slots=True)
class FlexionScores:
    """How a flexion follows the true one, both sides together; NaN where a figure cannot be had."""

    rmse: float
    """Root mean square error, degrees."""
    gain: float
    """Slope of the predicted over the true angle, at the lag that fits best: 1 where a squat is as deep as it was."""
    lag_ms: float
    """Delay of the predicted angle that fits the true one best, ms; negative is earlier."""
    bending: float
    """Mean signed error while the true angle grows faster than `RATE_DEG_S`, degrees."""
    straightening: float
    """The same while it falls. Equal numbers are a bias, different ones a hysteresis."""
    standing: float
    """Mean predicted angle where the true one is below `STANDING_DEG`, degrees."""
    truly_standing: float
    """Mean true angle there, degrees."""


def knee_flexion(points: AnyFloatArray, names: Sequence[str]) -> DoubleArray:
    """Degrees (T, 2), left and right, between thigh and shank of ``points`` (T, K, 3); 0 is a straight leg."""
    thigh, shank = _bones(points, names, "hip", "knee"), _bones(points, names, "knee", "ankle")
    both = np.linalg.norm(thigh, axis=-1) * np.linalg.norm(shank, axis=-1)
    return np.asarray(np.degrees(np.arccos(np.clip((thigh * shank).sum(-1) / both, -1, 1))), np.float64)


def hip_flexion(points: AnyFloatArray, names: Sequence[str]) -> DoubleArray:
    """Degrees (T, 2), left and right, of the thighs against the trunk (middle of the hips to middle of the shoulders), seen
    along the line of the hips; forward is positive, 0 in line with the trunk."""
    hips, shoulders = (
        np.asarray(points[:, [names.index(name) for name in pair]], np.float64)
        for pair in (("left_hip", "right_hip"), _SHOULDERS)
    )
    trunk = shoulders.mean(1) - hips.mean(1)
    left = _unit(hips[:, 0] - hips[:, 1])
    forward = _unit(np.cross(left, trunk))
    upward = np.cross(forward, left)
    thigh = _bones(points, names, "hip", "knee")
    return np.degrees(np.arctan2((thigh * forward[:, None]).sum(-1), -(thigh * upward[:, None]).sum(-1)))


def score_flexion(predicted: DoubleArray, truth: DoubleArray, times: DoubleArray) -> FlexionScores:
    """Compare angles (T, S), degrees, of S limbs at ``times`` (T,) s, rising; NaN where not known."""
    both = np.isfinite(predicted) & np.isfinite(truth)
    error = np.where(both, predicted - truth, np.nan)
    rate = _rates(truth, times)
    lag, gain = _lag_and_gain(predicted, truth, times)
    standing = both & (truth < STANDING_DEG)
    return FlexionScores(
        float(np.sqrt(_mean(error[both] ** 2))),
        gain,
        1000 * lag,
        _mean(error[both & (rate > RATE_DEG_S)]),
        _mean(error[both & (rate < -RATE_DEG_S)]),
        _mean(predicted[standing]),
        _mean(truth[standing]),
    )


def _rates(truth: DoubleArray, times: DoubleArray) -> DoubleArray:
    """Degrees a second (T, S) over `RATE_OVER_S`; NaN where one of its ends is not known."""
    rates = np.full(truth.shape, np.nan)
    half = RATE_OVER_S / 2
    for side, values in enumerate(truth.T):
        known = np.isfinite(values)
        if known.sum() > 2:
            at = times[known]
            ends = [np.interp(times + shift, at, values[known]) for shift in (-half, half)]
            inside = known & (times - half >= at[0]) & (times + half <= at[-1])
            rates[inside, side] = ((ends[1] - ends[0]) / RATE_OVER_S)[inside]
    return rates


def _lag_and_gain(predicted: DoubleArray, truth: DoubleArray, times: DoubleArray) -> tuple[float, float]:
    """Seconds by which the predicted curves are late, and their slope over the true ones then."""
    best = (-np.inf, float("nan"), float("nan"))
    for lag in np.arange(-LONGEST_LAG_S, LONGEST_LAG_S + 1e-9, LAG_STEP_S):
        mine, theirs = [], []
        for estimate, values in zip(predicted.T, truth.T, strict=True):
            known = np.isfinite(estimate)
            # All lags are compared over the same times, or a long one would leave out difficult parts.
            inside = np.isfinite(values)
            inside &= (times >= times[0] + LONGEST_LAG_S) & (times <= times[-1] - LONGEST_LAG_S)
            if known.sum() < 3 or inside.sum() < 3:
                continue
            shifted = np.interp(times[inside] + lag, times[known], estimate[known])
            mine.append(shifted - shifted.mean())
            theirs.append(values[inside] - values[inside].mean())
        if not mine:
            break
        a, b = np.concatenate(mine), np.concatenate(theirs)
        size = float(np.sqrt((a @ a) * (b @ b)))
        if size > 1e-9 and a @ b / size > best[0]:
            best = (float(a @ b) / size, float(lag), float(a @ b / (b @ b)))
    return best[1], best[2]


def _bones(points: AnyFloatArray, names: Sequence[str], start: str, end: str) -> DoubleArray:
    """(T, 2, 3), left and right, from one joint to another."""
    first, last = ([names.index(f"{side}_{joint}") for side in ("left", "right")] for joint in (start, end))
    return np.asarray(points[:, last] - points[:, first], np.float64)


def _unit(vectors: DoubleArray) -> DoubleArray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _mean(values: DoubleArray) -> float:
    return float(values.mean()) if values.size else float("nan")
