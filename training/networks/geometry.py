"""Differentiable geometry of the regressor: six-dimensional rotations and the camera that looks straight at a person."""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_from_6d(six: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) from their first two columns (..., 6), orthonormalised (Zhou et al. 2019)."""
    a, b = six[..., :3], six[..., 3:]
    first = a * torch.rsqrt((a * a).sum(-1, keepdim=True) + 1e-8)
    b = b - (first * b).sum(-1, keepdim=True) * first
    second = b * torch.rsqrt((b * b).sum(-1, keepdim=True) + 1e-8)
    third = torch.stack(
        [
            first[..., 1] * second[..., 2] - first[..., 2] * second[..., 1],
            first[..., 2] * second[..., 0] - first[..., 0] * second[..., 2],
            first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0],
        ],
        -1,
    )
    return torch.stack([first, second, third], -1)


def look_at(ray: Tensor) -> Tensor:
    """The smallest rotation (..., 3, 3) that takes the optical axis to ``ray`` (..., 2), a point x/z, y/z.

    Its columns are the axes of a virtual camera that has the person in its centre, in the frame of the real camera. A
    body looks the same in that camera wherever it is in the image, so a network need not learn perspective.
    """
    x, y = ray[..., 0], ray[..., 1]
    scale = torch.rsqrt(x * x + y * y + 1.0)
    x, y, z = x * scale, y * scale, scale
    # Rodrigues' formula for the axis (-y, x, 0) and the angle whose cosine is z; finite also where x = y = 0.
    k = 1.0 / (1.0 + z)
    xy = -x * y * k
    rows = [1 - x * x * k, xy, x, xy, 1 - y * y * k, y, -x, -y, z]
    return torch.stack(rows, -1).reshape(*x.shape, 3, 3)
