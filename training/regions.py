"""The region of the picture that the live tracker would cut, in batches: where optical flow is computed."""

from __future__ import annotations

import torch
from torch import Tensor

MARGIN, SHRINK, VISIBLE, LEAST = 1.3, 0.9, 0.2, 32.0
"""As `realtime.tracking`: side over the keypoints' box, how fast a region may shrink, confidence that may shape it, least
side in px."""
_TORSO = [5, 6, 11, 12]


def regions(points: Tensor, confidence: Tensor, size: Tensor) -> Tensor:
    """Regions (B, T, 3), centre x, y and side in px: the one for frame t comes from the keypoints of frame t - 1, that of the
    first frame from its own.

    ``points`` (B, T, 17, 2) px and ``confidence`` (B, T, 17) as detected; ``size`` (B, 2) width and height of the image.
    """
    seen = (confidence > VISIBLE)[..., None]
    enough = seen.sum((2, 3)) >= 3
    limit = (size - 1)[:, None]
    low = torch.where(seen, points, torch.full_like(points, 1e6)).amin(2).clamp_min(0)
    high = torch.minimum(torch.where(seen, points, torch.full_like(points, -1e6)).amax(2), limit)
    middle = (low + high) / 2
    side = (high - low).amax(-1) * MARGIN
    torso, shown = points[:, :, _TORSO], seen[:, :, _TORSO]
    tall = torch.where(shown, torso, torch.full_like(torso, -1e6)).amax(2) - torch.where(
        shown, torso, torch.full_like(torso, 1e6)
    ).amin(2)
    side = torch.where(shown.sum((2, 3)) >= 3, torch.maximum(side, 2.4 * tall.amax(-1)), side)
    most = 1.25 * size.amax(1)
    whole = torch.cat([size / 2, size.amax(1, keepdim=True)], 1)
    now = torch.cat([middle[:, 0], side[:, :1]], 1)
    now = torch.where(enough[:, :1], now, whole)
    now[:, 2] = torch.minimum(now[:, 2].clamp_min(LEAST), most)
    found = [now]
    for t in range(points.shape[1] - 1):
        reach = torch.maximum(side[:, t], SHRINK * now[:, 2]).clamp_min(LEAST)
        fresh = torch.cat([middle[:, t], torch.minimum(reach, most)[:, None]], 1)
        now = torch.where(enough[:, t, None], fresh, now)
        found.append(now)
    return torch.stack(found, 1)
