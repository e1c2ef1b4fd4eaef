"""Errors of 3D poses, in the units of the literature: mm, and m/s² for acceleration with the frame rate stated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from common.arrays import AnyFloatArray, BoolArray, DoubleArray


def pelvis_aligned(predicted: Tensor, truth: Tensor, root: Tensor, true_root: Tensor) -> Tensor:
    """Distances (..., K) m after moving ``root`` onto ``true_root`` (..., 3): mean them for MPJPE."""
    return ((predicted - root[..., None, :]) - (truth - true_root[..., None, :])).norm(dim=-1)


def similarity_align(predicted: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """``predicted`` (..., K, 3) after the best rotation, scale and translation onto ``truth`` (..., K, 3), one frame at a
    time (Umeyama 1991). Reflections are excluded. Mean the remaining distances for PA-MPJPE.

    ``weights`` (..., K) say how much each point counts; one of weight 0 has no influence but must be finite. Any K will
    do: where the points leave the rotation open (one or two of them, or all on a line) the result is still the best one.
    """
    if predicted.shape != truth.shape or predicted.shape[-1] != 3:
        raise ValueError(
            f"want two (..., K, 3) arrays of one shape, got {tuple(predicted.shape)}, {tuple(truth.shape)}"
        )
    share = torch.ones_like(truth[..., :1]) if weights is None else weights.to(truth.dtype)[..., None]
    share = share / share.sum(-2, keepdim=True).clamp_min(1e-12)
    mean, true_mean = (share * predicted).sum(-2, keepdim=True), (share * truth).sum(-2, keepdim=True)
    a, b = predicted - mean, truth - true_mean
    u, s, vt = torch.linalg.svd((share * a).transpose(-1, -2) @ b)
    sign = torch.sign(torch.linalg.det(u) * torch.linalg.det(vt))
    s = torch.cat([s[..., :2], s[..., 2:] * sign[..., None]], -1)
    u = torch.cat([u[..., :2], u[..., 2:] * sign[..., None, None]], -1)
    scale = s.sum(-1) / (share * a * a).sum((-1, -2)).clamp_min(1e-12)
    return scale[..., None, None] * (a @ (u @ vt)) + true_mean


def pa_distances(predicted: Tensor, truth: Tensor, weights: Tensor | None = None) -> Tensor:
    """Distances (..., K) m after `similarity_align`, those of points of weight 0 included."""
    return (similarity_align(predicted, truth, weights) - truth).norm(dim=-1)


def acceleration_error(predicted: Tensor, truth: Tensor, fps: float) -> Tensor:
    """Length of the difference of accelerations (T - 2, ...) in m/s² of positions (T, ..., 3) m at ``fps``."""
    difference = predicted - truth
    return (difference[2:] - 2 * difference[1:-1] + difference[:-2]).norm(dim=-1) * fps**2


def per_frame_squared(acceleration: float, fps: float) -> float:
    """m/s² in mm/frame² at ``fps``, the other unit in print (VIBE has this one, WHAM m/s²): 1 m/s² is 1.11 of them at
    30 fps."""
    return acceleration * 1000 / fps**2


@dataclass(frozen=True, slots=True, eq=False)
class PoseErrors:
    """Errors of T frames, float64 (T,); NaN where a frame has none."""

    pa: DoubleArray
    """mm after the best similarity of the frame."""
    mpjpe: DoubleArray
    """mm with the roots moved together."""
    acceleration: DoubleArray
    """m/s², of positions relative to the root."""


def pose_errors(
    predicted: AnyFloatArray,
    truth: AnyFloatArray,
    known: BoolArray,
    root: list[int],
    fps: float,
    min_points: int = 1,
) -> PoseErrors:
    """The errors of one person in every frame of a recording; the mean of the known points in each.

    Args:
        predicted: (T, K, 3) metres.
        truth: (T, K, 3) metres, in a frame of reference that differs from that of ``predicted`` by a translation at most.
        known: (T, K), the points that both have; the others may be NaN.
        root: the points whose middle is the root. Without all of them a frame has only ``pa``.
        fps: frames a second. An acceleration needs three neighbouring frames.
        min_points: frames with fewer have no ``pa``.
    """
    valid = torch.from_numpy(known)
    mine, theirs = (
        torch.from_numpy(np.where(known[..., None], part, 0.0).astype(np.float64)) for part in (predicted, truth)
    )
    pa = _frame_means(pa_distances(mine, theirs, valid), valid & (valid.sum(-1, keepdim=True) >= min_points))
    mine, theirs = (part - part[:, root].mean(1, keepdim=True) for part in (mine, theirs))
    rooted = valid & valid[:, root].all(-1, keepdim=True)
    acceleration = np.full(len(truth), np.nan)
    if len(truth) > 2:
        three = rooted[2:] & rooted[1:-1] & rooted[:-2]
        acceleration[1:-1] = _frame_means(acceleration_error(mine, theirs, fps), three)
    return PoseErrors(pa * 1000, _frame_means((mine - theirs).norm(dim=-1), rooted) * 1000, acceleration)


def _frame_means(values: Tensor, valid: Tensor) -> DoubleArray:
    """Means (T,) over the valid ones of (T, K) values; NaN where there are none."""
    count = valid.sum(-1)
    means: DoubleArray = torch.where(count > 0, (values * valid).sum(-1) / count, torch.nan).numpy()
    return means


def mean_of_known(values: DoubleArray) -> float:
    """Mean of the values that are not NaN; NaN if all are."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")
