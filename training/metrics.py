"""Errors of 3D poses, in the units of the literature: mm, and m/s² for acceleration with the frame rate stated."""

from __future__ import annotations

import torch
from torch import Tensor


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


def per_frame_squared(acceleration: Tensor, fps: float) -> Tensor:
    """m/s² in mm/frame² at ``fps``, the other unit in print (VIBE has this one, WHAM m/s²): 1 m/s² is 1.11 of them at
    30 fps."""
    return acceleration * 1000 / fps**2
