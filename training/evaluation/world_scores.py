"""Errors of a motion in the world's frame, by the definitions of WHAM's protocol (Shin et al. 2024)."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch

from common.arrays import BoolArray, DoubleArray
from training.evaluation.metrics import similarity_align

SEGMENT: Final = 100
"""Frames of the segments that W-MPJPE and WA-MPJPE are measured in."""
STILL_M: Final = 0.01
"""Feet that truly move by less than this from one frame to the next stand."""


def segment_errors(found: DoubleArray, truth: DoubleArray) -> tuple[float, float]:
    """W-MPJPE and WA-MPJPE, mm, of joints (T, K, 3): the mean over segments of 100 frames of the distances after the
    similarity that aligns the segment's first two frames, and after the one that aligns all of them."""
    first, whole = [], []
    for begin in range(0, max(len(found) - SEGMENT + 1, 1), SEGMENT):
        mine, theirs = (torch.from_numpy(part[begin : begin + SEGMENT]) for part in (found, truth))
        whole.append(float((_aligned(mine, theirs, mine) - theirs).norm(dim=-1).mean()))
        first.append(float((_aligned(mine[:2], theirs[:2], mine) - theirs).norm(dim=-1).mean()))
    return 1000 * float(np.mean(first)), 1000 * float(np.mean(whole))


def _aligned(mine: torch.Tensor, theirs: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    """``moved`` (T, K, 3) by the similarity that takes the points ``mine`` to ``theirs``, each (S, K, 3)."""
    points, others = mine.reshape(1, -1, 3), theirs.reshape(1, -1, 3)
    # The similarity of these points alone: the others are aligned with weight 0.
    extra = moved.reshape(1, -1, 3)
    weights = torch.cat([torch.ones(1, points.shape[1]), torch.zeros(1, extra.shape[1])], 1)
    both = similarity_align(torch.cat([points, extra], 1), torch.cat([others, torch.zeros_like(extra)], 1), weights)
    return both[:, points.shape[1] :].reshape(moved.shape)


def root_translation_error(found: DoubleArray, truth: DoubleArray) -> float:
    """RTE, %: the mean distance of the pelvis' tracks (T, 3) after the best rigid alignment, over the true one's length."""
    length = float(np.linalg.norm(np.diff(truth, axis=0), axis=-1).sum())
    mine, theirs = found - found.mean(0), truth - truth.mean(0)
    left, _, right = np.linalg.svd(mine.T @ theirs)
    left[:, 2] *= np.sign(np.linalg.det(left @ right))
    return 100 * float(np.linalg.norm(mine @ (left @ right) - theirs, axis=-1).mean()) / max(length, 1e-6)


def foot_sliding(found: DoubleArray, truth: DoubleArray) -> float:
    """Millimetres a frame that sole points (T, 4, 3) move while they truly stand; NaN where none does."""
    still = np.linalg.norm(np.diff(truth, axis=0), axis=-1) < STILL_M
    steps = np.linalg.norm(np.diff(found, axis=0), axis=-1)
    return 1000 * float(steps[still].mean()) if still.any() else float("nan")


def jitter(joints: DoubleArray, fps: float) -> float:
    """The mean length of the third derivative of joints (T, K, 3), 10 m/s³."""
    return float(np.linalg.norm(np.diff(joints, 3, axis=0), axis=-1).mean()) * fps**3 / 10


def height_error(found: DoubleArray, standing: BoolArray) -> float:
    """Median height over the floor, cm, of sole points (T, 4, 3) that truly stand (T, 4): floating or sunk feet."""
    return 100 * float(np.median(np.abs(found[..., 1][standing]))) if standing.any() else float("nan")
