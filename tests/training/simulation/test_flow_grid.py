"""Exact flow on a coarse grid: closed forms, and the noise laid over it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import roma  # noqa: E402

from training.simulation.flow_grid import CELLS, FlowGrid  # noqa: E402
from training.simulation.flow_noise import FlowDegrader, FlowNoise, load_flow_noise  # noqa: E402

FOCAL, SIDE = 500.0, 300.0


@cache
def _grid() -> FlowGrid:
    return FlowGrid()


@pytest.fixture
def grid() -> FlowGrid:
    return _grid()


def draw(grid: FlowGrid, pelvis: torch.Tensor, turns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two frames of somebody in the rest pose, facing the camera: the flow of the second and the body's cells."""
    rotations = torch.eye(3).repeat(1, 2, 24, 1, 1)
    rotations[:, :, 0] = turns @ torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    centre = torch.tensor([[320.0, 240.0]])
    boxes = torch.tensor([[[320.0, 240.0, SIDE]] * 2])
    focal, size = torch.tensor([FOCAL]), torch.tensor([[640.0, 480.0]])
    flow, seen, inside = grid(rotations, torch.zeros(1, 10), pelvis[None], turns[None], focal, centre, boxes, size)
    assert float(flow[:, 0].abs().max()) == 0
    assert float(inside.min()) == 1
    return flow[0, 1], seen[0, 1]


def test_nothing_moves_nothing_flows(grid: FlowGrid) -> None:
    still = torch.tensor([[0.0, 0.0, 4.0]]).repeat(2, 1)
    flow, seen = draw(grid, still, torch.eye(3).repeat(2, 1, 1))
    assert 0.05 < float(seen.mean()) < 0.5
    assert float(flow.abs().max()) < 1e-5


@given(st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))
@settings(max_examples=20, deadline=None)
def test_a_step_sideways_flows_by_its_parallax(x: float, y: float) -> None:
    path = torch.tensor([[0.0, 0.0, 4.0], [x, y, 4.0]])
    flow, seen = draw(_grid(), path, torch.eye(3).repeat(2, 1, 1))
    on = seen > 0
    # The body is at most 0.35 m thick either way: between the flows of its nearest and farthest points.
    for axis, step in ((0, x), (1, y)):
        bounds = sorted(FOCAL * step / SIDE / depth for depth in (3.6, 4.4))
        assert float(flow[on][:, axis].min()) > bounds[0] - 1e-3
        assert float(flow[on][:, axis].max()) < bounds[1] + 1e-3
    assert float(flow[~on].abs().max()) < 1e-6


@pytest.mark.parametrize("angle", [(0.0, 0.03, 0.0), (0.02, 0.0, 0.0), (0.0, 0.0, 0.05), (0.01, -0.02, 0.03)])
def test_a_turning_camera_moves_body_and_background_alike(grid: FlowGrid, angle: tuple[float, ...]) -> None:
    """Turning on the spot moves the image by a homography, whatever the depth: near and far must agree with it."""
    turn = roma.rotvec_to_rotmat(torch.tensor(angle))
    turns = torch.stack([torch.eye(3), turn])
    place = torch.tensor([0.1, -0.1, 4.0])
    flow, _ = draw(grid, torch.stack([place, turn @ place]), turns)
    cell = (np.arange(CELLS) + 0.5) / CELLS - 0.5
    x, y = np.meshgrid(cell * SIDE, cell * SIDE)
    rays = np.stack([x / FOCAL, y / FOCAL, np.ones_like(x)], -1) @ turn.numpy().T
    expected = np.stack([rays[..., 0], rays[..., 1]], -1) / rays[..., 2:] * FOCAL / SIDE - np.stack([x, y], -1) / SIDE
    np.testing.assert_allclose(flow.numpy(), expected, atol=2e-5)


def test_noise_shortens_motion_as_measured() -> None:
    noise = FlowNoise((0.0, 0.1, 1.0), (1.0, 0.5, 0.5), 0.0, (0.0, 0.0, 0.0), 3.0, 0.6, 0.0)
    flow = torch.zeros(2, 3, CELLS, CELLS, 2)
    flow[..., 0] = 0.1
    out = FlowDegrader(noise, 0)(flow.clone(), *2 * [torch.ones(2, 3, CELLS, CELLS)])
    torch.testing.assert_close(out[..., 0], torch.full_like(out[..., 0], 0.05), atol=1e-5, rtol=0)
    assert float(out[..., 1].abs().max()) == 0


def test_noise_has_the_size_and_reach_that_it_is_given() -> None:
    noise = FlowNoise((0.0, 1.0), (1.0, 1.0), 0.0, (0.01, 0.01), 4.0, 0.0, 0.0)
    out = FlowDegrader(noise, 0)(torch.zeros(64, 8, CELLS, CELLS, 2), *2 * [torch.ones(64, 8, CELLS, CELLS)])
    assert float(out.std()) == pytest.approx(0.01, rel=0.3)
    near = float((out[:, :, :, 1:] * out[:, :, :, :-1]).mean() / out.square().mean())
    far = float((out[:, :, :, 16:] * out[:, :, :, :-16]).mean() / out.square().mean())
    assert near > 0.6
    assert abs(far) < 0.1


def test_a_bare_background_does_not_move_and_the_body_does() -> None:
    noise = FlowNoise((0.0, 1.0), (1.0, 1.0), 0.0, (0.0, 0.0), 3.0, 0.0, 1.0)
    body = torch.zeros(1, 2, CELLS, CELLS)
    body[..., 10:20, 10:20] = 1
    out = FlowDegrader(noise, 0)(torch.full((1, 2, CELLS, CELLS, 2), 0.05), body, torch.ones_like(body))
    assert float(out[..., 12:18, 12:18, :].min()) == pytest.approx(0.05, abs=1e-6)
    assert float(out[..., :5, :, :].abs().max()) == 0


def test_the_measured_numbers_are_plausible() -> None:
    noise = load_flow_noise()
    assert list(noise.speeds) == sorted(noise.speeds)
    assert noise.speeds[0] == 0
    assert len(noise.speeds) == len(noise.gain) == len(noise.error)
    assert all(0 <= gain <= 1.1 for gain in noise.gain)


def test_beyond_the_frame_there_is_no_person(grid: FlowGrid) -> None:
    rotations = torch.eye(3).repeat(1, 2, 24, 1, 1)
    rotations[:, :, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    place = torch.tensor([[[0.0, 0.0, 4.0], [0.1, 0.0, 4.0]]])
    turns, box = torch.eye(3).repeat(1, 2, 1, 1), torch.tensor([[[320.0, 240.0, SIDE]] * 2])
    size = torch.tensor([[640.0, 241.0]])  # cut off at the middle of the region
    _, seen, inside = grid(
        rotations, torch.zeros(1, 10), place, turns, torch.tensor([FOCAL]), torch.tensor([[320.0, 240.0]]), box, size
    )
    assert float(inside[0, 1, :16].min()) == 1
    assert float(inside[0, 1, 16:].max()) == 0
    assert float(seen[0, 1, 16:].max()) == 0 < float(seen[0, 1, :16].max())
