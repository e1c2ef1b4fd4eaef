"""The geometry that is not learned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from training.networks.geometry import look_at, rotation_from_6d  # noqa: E402
from training.networks.lifter import Lifter, LifterConfig  # noqa: E402


@given(st.floats(-2, 2), st.floats(-2, 2))
def test_look_at_is_the_smallest_turn_onto_the_ray(x: float, y: float) -> None:
    turn = look_at(torch.tensor([x, y], dtype=torch.float64))
    torch.testing.assert_close(turn @ turn.T, torch.eye(3, dtype=torch.float64), atol=1e-9, rtol=0)
    ray = torch.tensor([x, y, 1.0], dtype=torch.float64)
    torch.testing.assert_close(
        turn @ torch.tensor([0.0, 0, 1], dtype=torch.float64), ray / ray.norm(), atol=1e-9, rtol=0
    )
    angle = torch.acos(((turn.trace() - 1) / 2).clamp(-1, 1))
    assert abs(float(angle) - np.arctan(np.hypot(x, y))) < 1e-6


def test_6d_keeps_rotations_and_repairs_the_rest() -> None:
    import roma

    rotations = roma.random_rotmat(50)
    six = torch.cat([rotations[..., 0], rotations[..., 1]], -1)
    torch.testing.assert_close(rotation_from_6d(six), rotations, atol=1e-5, rtol=0)
    messy = rotation_from_6d(torch.randn(50, 6) * 3)
    torch.testing.assert_close(messy @ messy.transpose(-1, -2), torch.eye(3).expand(50, 3, 3), atol=1e-4, rtol=0)
    assert (torch.linalg.det(messy) > 0.99).all()


@pytest.fixture(scope="module")
def network() -> Lifter:
    torch.manual_seed(0)
    net = Lifter(LifterConfig(64, 1, 32)).eval()
    for parameter in net.parameters():  # a network that has something to say
        torch.nn.init.normal_(parameter, 0, 0.15)
    return net


def seen(points: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    return points[..., :2] / points[..., 2:] * camera[..., None, :2] + camera[..., None, 2:]


def test_turning_the_camera_turns_the_answer(network: Lifter) -> None:
    """A person seen off-centre is the person seen in the centre, by a turned camera: the geometry must know, exactly."""
    person = torch.randn(1, 1, 17, 3) * 0.4 + torch.tensor([0.0, 0.0, 4.0])
    camera = torch.tensor([[[500.0, 500.0, 320.0, 240.0]]])
    confidence, dt = torch.rand(1, 1, 17) * 0.5 + 0.5, torch.full((1, 1), 1 / 30)
    features, turn, _ = network.features(seen(person, camera), confidence, camera, dt)
    away = look_at(torch.tensor([0.35, -0.2]))
    again, turned, _ = network.features(seen(person @ away.T, camera), confidence, camera, dt)
    # The shape as the virtual camera sees it differs at most by a roll; its distances do not differ.
    first, second = (values[0, 0, :34].reshape(17, 2) for values in (features, again))
    torch.testing.assert_close(torch.cdist(first, first), torch.cdist(second, second), atol=0.03, rtol=0.03)
    ahead = torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(turned[0, 0] @ ahead, away @ turn[0, 0] @ ahead, atol=0.02, rtol=0)


def test_only_angles_count_not_pixels(network: Lifter) -> None:
    """The same view at twice the resolution is the same person at the same place."""
    camera = torch.tensor([[[500.0, 500.0, 320.0, 240.0]]])
    points, confidence = torch.rand(1, 1, 17, 2) * 200 + 150, torch.rand(1, 1, 17)
    dt, state = torch.full((1, 1), 1 / 30), network.start_state(1)
    small = network(points, confidence, camera, dt, state)
    large = network(points * 2, confidence, camera * 2, dt, state)
    for a, b in zip(small, large, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_a_stream_equals_a_window(network: Lifter) -> None:
    points, confidence = torch.rand(3, 20, 17, 2) * 300 + 100, torch.rand(3, 20, 17)
    camera, dt = torch.tensor([500.0, 500, 320, 240]).expand(3, 20, 4), torch.rand(3, 20) * 0.05 + 0.01
    whole = network(points, confidence, camera, dt, network.start_state(3))
    state = network.start_state(3)
    for t in range(20):
        now = slice(t, t + 1)
        step = network(points[:, now], confidence[:, now], camera[:, now], dt[:, now], state)
        state = step.state
        for a, b in zip(step[:3], whole[:3], strict=True):
            torch.testing.assert_close(a[:, 0], b[:, t], atol=1e-4, rtol=1e-4)


def test_nothing_seen_gives_numbers_all_the_same(network: Lifter) -> None:
    camera = torch.tensor([[[500.0, 500.0, 320.0, 240.0]]])
    out = network(torch.zeros(1, 1, 17, 2), torch.zeros(1, 1, 17), camera, torch.zeros(1, 1), network.start_state(1))
    assert all(torch.isfinite(values).all() for values in out)
