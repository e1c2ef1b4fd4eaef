"""Differentiable projection of points, the counterpart of `common.camera.Camera` for tensors."""

from __future__ import annotations

from torch import Tensor

from common.camera import NEAREST_M


def project_rays(points: Tensor, nearest_m: float = NEAREST_M) -> Tensor:
    """x/z and y/z (..., 2) of ``points`` (..., 3) in the camera frame. Depths below ``nearest_m`` metres count as that."""
    return points[..., :2] / points[..., 2:].clamp_min(nearest_m)


def project_pixels(points: Tensor, focal: Tensor, centre: Tensor) -> Tensor:
    """Pixels (..., 2) of ``points`` (..., 3) in the camera frame, by focal lengths (..., 1 or 2) and principal points (..., 2),
    px. Depths below `common.camera.NEAREST_M` count as that."""
    return project_rays(points) * focal + centre
