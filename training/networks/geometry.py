"""Differentiable geometry of the regressor: six-dimensional rotations, and the virtual camera that looks at a person."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from body.joints import KEYPOINTS


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


class VirtualView(NamedTuple):
    """A person in the virtual camera that looks straight at the keypoints' centre."""

    centre: Tensor
    """(..., 2) ray of the centre in the real camera, x/z and y/z."""
    turn: Tensor
    """(..., 3, 3) rotation from the virtual to the real camera frame."""
    rays: Tensor
    """(..., 17, 2) keypoints in the virtual camera, x/z and y/z."""
    weight: Tensor
    """(..., 17) weights of the keypoints, 0..1."""
    total: Tensor
    """(..., 1) sum of the weights."""
    size: Tensor
    """(...,) angular size of the person: root of the weighted mean square of ``rays``."""


def view_of_keypoints(rays: Tensor, weight: Tensor) -> VirtualView:
    """The view of keypoints ``rays`` (..., 17, 2) in the real camera, with ``weight`` (..., 17)."""
    total = weight.sum(-1, keepdim=True).clamp_min(1e-3)
    centre = (weight[..., None] * rays).sum(-2) / total
    turn = look_at(centre)
    # To the virtual camera frame: multiply the ray (x, y, 1) by turn transposed.
    local = (rays[..., None] * turn[..., None, :2, :]).sum(-2) + turn[..., 2:, :]
    local = local[..., :2] / local[..., 2:].clamp_min(0.1)
    size = ((weight[..., None] * local * local).sum((-1, -2)) / total[..., 0] + 1e-6).sqrt()
    return VirtualView(centre, turn, local, weight, total, size)


def view_of_region(centre: Tensor, size: Tensor) -> VirtualView:
    """The view of a person of whom only the region is known: its ``centre`` (..., 2) and the person's ``size`` (...,)."""
    rays = size.new_zeros(*size.shape, KEYPOINTS, 2)
    total = torch.full_like(size, KEYPOINTS)[..., None]
    return VirtualView(centre, look_at(centre), rays, rays[..., 0], total, size)
