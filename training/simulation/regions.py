"""The region of the frame that the live tracker would cut, in batches: where optical flow is computed."""

from __future__ import annotations

import torch
from torch import Tensor

from realtime.stages.tracking.region_limits import (
    FACE,
    HEAD_ROOM,
    MARGIN,
    MAX_OF_IMAGE,
    MIN_PX,
    SHOULDER_ROOM,
    SHOULDERS,
    SHRINK,
    TORSO,
    TORSO_ROOM,
    VISIBLE,
)


def regions(points: Tensor, confidence: Tensor, size: Tensor) -> Tensor:
    """Regions (B, T, 3), centre x, y and side in px: the one for frame t comes from the keypoints of frame t - 1, that of the
    first frame from its own.

    ``points`` (B, T, 17, 2) px and ``confidence`` (B, T, 17) as detected; ``size`` (B, 2) width and height of the image.
    """
    seen = confidence > VISIBLE
    enough = seen.sum(-1) >= 3
    low, high = _bounds(points, seen)
    low, high = low.clamp_min(0), torch.minimum(high, (size - 1)[:, None])
    middle = (low + high) / 2
    side = (high - low).amax(-1) * MARGIN

    def widen(places: list[int], least: int, room: float) -> tuple[Tensor, Tensor]:
        small, large = _bounds(points[:, :, places], seen[:, :, places])
        reach = (large - small).amax(-1)
        counts = seen[:, :, places].sum(-1) >= least
        return torch.where(counts, torch.maximum(side, room * reach), side), reach

    side, _ = widen(TORSO, 3, TORSO_ROOM)
    apart = (points[:, :, 5] - points[:, :, 6]).norm(dim=-1)
    side = torch.where(seen[:, :, SHOULDERS].all(-1), torch.maximum(side, SHOULDER_ROOM * apart), side)
    side, head = widen(FACE, 3, HEAD_ROOM)
    alone = (seen[:, :, FACE].sum(-1) >= 3) & (seen[:, :, TORSO].sum(-1) < 2)
    middle = torch.where(alone[..., None], middle + torch.stack([torch.zeros_like(head), 1.5 * head], -1), middle)
    most = MAX_OF_IMAGE * size.amax(1)
    whole = torch.cat([size / 2, size.amax(1, keepdim=True)], 1)
    now = torch.cat([middle[:, 0], side[:, :1]], 1)
    now = torch.where(enough[:, :1], now, whole)
    now[:, 2] = torch.minimum(now[:, 2].clamp_min(MIN_PX), most)
    found = [now]
    for t in range(points.shape[1] - 1):
        reach = torch.maximum(side[:, t], SHRINK * now[:, 2]).clamp_min(MIN_PX)
        fresh = torch.cat([middle[:, t], torch.minimum(reach, most)[:, None]], 1)
        now = torch.where(enough[:, t, None], fresh, now)
        found.append(now)
    return torch.stack(found, 1)


def _bounds(points: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Least and largest coordinates (B, T, 2) of the ``seen`` (B, T, K) ``points`` (B, T, K, 2)."""
    low = torch.where(seen[..., None], points, torch.full_like(points, 1e6)).amin(2)
    return low, torch.where(seen[..., None], points, torch.full_like(points, -1e6)).amax(2)
