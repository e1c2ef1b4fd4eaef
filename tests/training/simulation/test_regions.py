"""The batched regions are the live tracker's."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.stages.tracking import regions as live  # noqa: E402
from training.simulation.regions import regions  # noqa: E402


def test_regions_follow_the_tracker() -> None:
    rng = np.random.default_rng(5)
    drift = rng.normal(0, 6, (12, 1, 2)).cumsum(0)
    body = rng.normal([300, 240], [40, 90], (1, 17, 2))
    points = np.asarray(body + drift + rng.normal(0, 4, (12, 17, 2)), np.float32)
    confidence = rng.uniform(0.15, 1, (12, 17)).astype(np.float32)
    confidence[4:7, 5:13] = 0.1  # nothing but the head and feet
    confidence[4:7, :5] = 0.8
    found = regions(torch.from_numpy(points)[None], torch.from_numpy(confidence)[None], torch.tensor([[640.0, 480.0]]))
    box = live.region_of(points[0], confidence[0], 640, 480)
    for t in range(1, 12):
        assert box is not None
        np.testing.assert_allclose(found[0, t].numpy(), box, rtol=1e-4)
        box = live.region_of(points[t], confidence[t], 640, 480, box)


def test_who_is_not_seen_keeps_the_region() -> None:
    points = torch.full((1, 4, 17, 2), 100.0) + torch.arange(17)[None, None, :, None] * 5.0
    confidence = torch.ones(1, 4, 17)
    confidence[:, 1:] = 0.05
    found = regions(points, confidence, torch.tensor([[640.0, 480.0]]))
    torch.testing.assert_close(found[:, 2:], found[:, 1:2].expand(1, 2, 3))
