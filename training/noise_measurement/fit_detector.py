"""Fitting the tables of `training.simulation.detector_noise` to detections and ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from body.joints import COCO_MIRROR, COCO_NAMES
from common.arrays import BoolArray, DoubleArray, Int64Array
from training.simulation.detector_noise import BINS, GROUP_OF, GROUPS, STATES

QUANTILES = np.linspace(0.0, 1.0, 33)
_ENOUGH = 60
_LIMBS = (
    [i for i, name in enumerate(COCO_NAMES) if name.split("_")[-1] in ("elbow", "wrist")],
    [i for i, name in enumerate(COCO_NAMES) if name.split("_")[-1] in ("knee", "ankle", "hip")],
)


@dataclass(frozen=True, slots=True)
class Observations:
    """Detections in N windows of T frames."""

    detected: DoubleArray
    """(N, T, 17, 2) detected keypoints, px."""
    truth: DoubleArray
    """(N, T, 17, 2) true keypoints, px."""
    confidence: DoubleArray
    """(N, T, 17) confidences, 0..1."""
    state: Int64Array
    """(N, T, 17) int64, visibility: 0 visible, 1 hidden, 2 outside."""
    scale: DoubleArray
    """(N, T) extent of the person, px."""
    fps: float
    """Frames per second."""


def swapped_limbs(seen: Observations, limb: list[int]) -> BoolArray:
    """Frames (N, T) bool whose ``limb`` keypoints fit the opposite side far better, although the sides are apart."""
    other = [COCO_MIRROR[i] for i in limb]
    visible = (seen.state[..., limb] == 0) & (seen.confidence[..., limb] > BINS[1])
    own = np.linalg.norm(seen.detected[..., limb, :] - seen.truth[..., limb, :], axis=-1)
    crossed = np.linalg.norm(seen.detected[..., limb, :] - seen.truth[..., other, :], axis=-1)
    apart = np.linalg.norm(seen.truth[..., limb, :] - seen.truth[..., other, :], axis=-1) > 0.08 * seen.scale[..., None]
    counted = visible & apart
    cost, swapped = (own * counted).sum(-1), (crossed * counted).sum(-1)
    return np.asarray((counted.sum(-1) >= 2) & (swapped < 0.4 * cost))


def fit_detector_noise(seen: Observations) -> dict[str, object]:
    """One detector's row of ``detector_noise.json``."""
    error = (seen.detected - seen.truth) / seen.scale[..., None, None]
    usable = np.ones(seen.state.shape, bool)
    rates, lasting = [], []
    for limb in _LIMBS:
        swapped = swapped_limbs(seen, limb)
        usable[..., limb] &= ~swapped[..., None]
        starts = (swapped & ~np.pad(swapped, ((0, 0), (1, 0)))[:, :-1]).sum()
        lasting.append(swapped.sum() / max(starts, 1) / seen.fps)
        rates.append(float(swapped.mean() / max(lasting[-1], 1 / seen.fps)))
    length = np.linalg.norm(error, axis=-1)
    group = np.broadcast_to(np.array(GROUP_OF), seen.state.shape)
    bins = np.digitize(seen.confidence, BINS[1:])

    confidence = np.zeros((len(GROUPS), len(STATES), len(QUANTILES)))
    errors = np.zeros((len(GROUPS), 2, len(BINS), len(QUANTILES)))
    for g in range(len(GROUPS)):
        for s in range(len(STATES)):
            chosen = seen.confidence[(group == g) & (seen.state == s)]
            if len(chosen) < _ENOUGH:
                chosen = seen.confidence[seen.state == s]
            confidence[g, s] = np.quantile(chosen, QUANTILES)
        for s in range(2):
            for b in range(len(BINS)):
                # With too few samples, fall back to all keypoints in that state and bin, then in that bin.
                for pick in ((group == g) & (seen.state == s), seen.state == s, seen.state < 2):
                    chosen = length[pick & (bins == b) & usable]
                    if len(chosen) >= _ENOUGH:
                        break
                # The largest percent are gross outliers; with them a network learns to distrust all detections.
                errors[g, s, b] = np.minimum(np.quantile(chosen, QUANTILES), np.quantile(chosen, 0.99))
    slow_s = _error_memory(error, usable & (seen.state == 0) & (seen.confidence > BINS[2]), seen.fps)
    return {
        "confidence": np.round(confidence, 4).tolist(),
        "error": np.round(errors, 5).tolist(),
        "slow_s": round(slow_s, 3),
        "swap_rate": [round(rate, 4) for rate in rates],
        "swap_s": round(float(np.mean(lasting)), 3),
    }


def _correlation(values: DoubleArray, used: BoolArray, lag: int) -> float:
    both = used[:, lag:] & used[:, : values.shape[1] - lag]
    a, b = values[:, lag:][both], values[:, : values.shape[1] - lag][both]
    return float((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean()))


def _error_memory(error: DoubleArray, used: BoolArray, fps: float) -> float:
    """Time constant of the error in seconds: the exponential through its autocorrelation, from the central 95 %.

    Noise that is new in every frame is ignored, because regions cut from rendered frames jump more than the tracker's.
    """
    limit = np.quantile(np.abs(error[used]), 0.95)
    calm = used & (np.abs(error).max(-1) < limit)
    lags = np.arange(1, min(7, error.shape[1] // 2 + 1))
    correlations = [np.mean([_correlation(error[..., axis], calm, lag) for axis in range(2)]) for lag in lags]
    slope, _ = np.polyfit(lags / fps, np.log(np.clip(correlations, 0.02, 1)), 1)
    return float(np.clip(-1 / min(slope, -0.2), 0.03, 5.0))
