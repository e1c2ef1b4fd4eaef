"""Keypoints carried by flow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from scipy.ndimage import map_coordinates  # noqa: E402

from training.networks.keypoint_filter import KeypointFilter, sample_flow, sample_flow_fast, spread  # noqa: E402

CAMERA = torch.tensor([[500.0, 500.0, 320.0, 240.0]])
BOX = torch.tensor([[320.0, 240.0, 400.0]])


@given(st.lists(st.tuples(st.floats(0, 31), st.floats(0, 31)), min_size=1, max_size=20))
@settings(max_examples=30, deadline=None)
def test_samples_are_bilinear(places: list[tuple[float, float]]) -> None:
    field = np.random.default_rng(2).normal(size=(32, 32, 2)).astype(np.float32)
    cells = np.array(places, np.float32)
    mine, inside = sample_flow(torch.from_numpy(field)[None], torch.from_numpy(cells)[None])
    theirs = np.stack([map_coordinates(field[..., c], [cells[:, 1], cells[:, 0]], order=1) for c in (0, 1)], -1)
    np.testing.assert_allclose(mine[0].numpy(), theirs, atol=1e-4)
    assert bool((inside == 1).all())


def test_outside_of_the_region_nothing_is_known() -> None:
    _, inside = sample_flow(torch.ones(1, 32, 32, 2), torch.tensor([[[-3.0, 5.0], [5.0, 40.0], [16.0, 16.0]]]))
    assert inside.tolist() == [[0.0, 0.0, 1.0]]


def test_both_ways_to_sample_agree_also_outside() -> None:
    field = torch.randn(3, 32, 32, 2, generator=torch.Generator().manual_seed(1))
    cells = torch.rand(3, 17, 2, generator=torch.Generator().manual_seed(2)) * 44 - 6
    for mine, theirs in zip(sample_flow_fast(field, cells), sample_flow(field, cells), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=0)


def gated(gain: float, use_flow: bool = True) -> KeypointFilter:
    """A filter that always takes ``gain`` of the detection."""
    filter_ = KeypointFilter(use_flow)
    last = filter_.gate[2]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([float(np.log(gain / (1 - gain))), 0.0]))
    return filter_


def test_the_first_frame_is_taken_as_detected_and_packing_loses_nothing() -> None:
    filter_ = gated(0.1)
    rays, confidence = torch.rand(1, 17, 2) * 0.4 - 0.2, torch.rand(1, 17)
    start = filter_.unpack(torch.zeros(1, filter_.STATE))
    track = filter_.step(
        start, rays, confidence, CAMERA, torch.tensor([1 / 30]), torch.zeros(1, 32, 32, 2), BOX, torch.zeros(1)
    )
    torch.testing.assert_close(track.rays, rays)
    torch.testing.assert_close(track.trust, confidence)
    again = filter_.unpack(filter_.pack(track))
    torch.testing.assert_close(again.rays, track.rays)
    torch.testing.assert_close(again.trust, track.trust)


def test_flow_carries_keypoints_that_the_detector_loses() -> None:
    """An image that moves by 8 px a frame; the detector stays behind at a wrong place and gets no weight."""
    filter_ = gated(1e-4)
    rays = torch.rand(1, 17, 2) * 0.2 - 0.1
    flow = torch.zeros(1, 32, 32, 2)
    flow[..., 0] = 8 / 400
    track = filter_.unpack(torch.zeros(1, filter_.STATE))
    for _ in range(4):
        track = filter_.step(
            track, rays, torch.full((1, 17), 0.5), CAMERA, torch.tensor([1 / 30]), flow, BOX, torch.ones(1)
        )
    torch.testing.assert_close(track.rays[..., 0], rays[..., 0] + 3 * 8 / 500, atol=1e-3, rtol=0)
    torch.testing.assert_close(track.rays[..., 1], rays[..., 1], atol=1e-3, rtol=0)


@given(st.floats(0.5, 20), st.floats(-2, 2), st.floats(-2, 2))
def test_size_grows_with_the_person_and_not_with_the_place(scale: float, x: float, y: float) -> None:
    rays = torch.randn(1, 17, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    weight = torch.ones(1, 17, dtype=torch.float64)
    moved = rays * scale + torch.tensor([x, y], dtype=torch.float64)
    torch.testing.assert_close(spread(moved, weight), spread(rays, weight) * scale, atol=1e-4, rtol=1e-4)
