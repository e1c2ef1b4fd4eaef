"""Errors of 3D poses, in the units of the literature: mm, and m/s² for acceleration with the frame rate stated."""

from __future__ import annotations

import torch
from torch import Tensor


def pelvis_aligned(predicted: Tensor, truth: Tensor, root: Tensor, true_root: Tensor) -> Tensor:
    """Distances (..., K) m after moving ``root`` onto ``true_root`` (..., 3): mean them for MPJPE."""
    return ((predicted - root[..., None, :]) - (truth - true_root[..., None, :])).norm(dim=-1)


def similarity_align(predicted: Tensor, truth: Tensor) -> Tensor:
    """``predicted`` (..., K, 3) after the best rotation, scale and translation onto ``truth`` (..., K, 3), one frame at a
    time (Umeyama 1991). Reflections are excluded. Mean the remaining distances for PA-MPJPE."""
    if predicted.shape != truth.shape or predicted.shape[-1] != 3:
        raise ValueError(
            f"want two (..., K, 3) arrays of one shape, got {tuple(predicted.shape)}, {tuple(truth.shape)}"
        )
    mean, true_mean = predicted.mean(-2, keepdim=True), truth.mean(-2, keepdim=True)
    a, b = predicted - mean, truth - true_mean
    u, s, vt = torch.linalg.svd(a.transpose(-1, -2) @ b)
    sign = torch.sign(torch.linalg.det(u) * torch.linalg.det(vt))
    s = torch.cat([s[..., :2], s[..., 2:] * sign[..., None]], -1)
    u = torch.cat([u[..., :2], u[..., 2:] * sign[..., None, None]], -1)
    scale = s.sum(-1) / (a * a).sum((-1, -2)).clamp_min(1e-12)
    return scale[..., None, None] * (a @ (u @ vt)) + true_mean


def pa_distances(predicted: Tensor, truth: Tensor) -> Tensor:
    """Distances (..., K) m after `similarity_align`."""
    return (similarity_align(predicted, truth) - truth).norm(dim=-1)


def acceleration_error(predicted: Tensor, truth: Tensor, fps: float) -> Tensor:
    """Length of the difference of accelerations (T - 2, ...) in m/s² of positions (T, ..., 3) m at ``fps``."""
    difference = predicted - truth
    return (difference[2:] - 2 * difference[1:-1] + difference[:-2]).norm(dim=-1) * fps**2
