"""The geometry that is not learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
from training.networks.geometry import look_at, rotation_from_6d  # noqa: E402
from training.networks.inputs import Observation  # noqa: E402
from training.networks.keypoint_filter import KeypointFilter  # noqa: E402
from training.networks.lifter import Lifter  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402


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


def observe(points: torch.Tensor, camera: torch.Tensor, confidence: torch.Tensor, dt: torch.Tensor) -> Observation:
    """What is seen with a random flow inside of a region around the middle of the frame."""
    batch, length = dt.shape
    flow = torch.randn(batch, length, 32, 32, 2, generator=torch.Generator().manual_seed(8)) * 0.02
    box = torch.cat([camera[..., 2:], camera[..., :1] * 0.6], -1)
    return Observation(points, confidence, camera, dt, flow, box, torch.ones(batch, length))


def project(points: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
    return points[..., :2] / points[..., 2:] * camera[..., None, :2] + camera[..., None, 2:]


def test_turning_the_camera_turns_the_answer(network: Lifter) -> None:
    """A person seen off-centre is the person seen in the centre, by a turned camera: the geometry must know, exactly."""
    person = torch.randn(1, 1, 17, 3) * 0.4 + torch.tensor([0.0, 0.0, 4.0])
    camera = torch.tensor([[[500.0, 500.0, 320.0, 240.0]]])
    confidence, dt = torch.rand(1, 1, 17) * 0.5 + 0.5, torch.full((1, 1), 1 / 30)
    away = look_at(torch.tensor([0.35, -0.2]))

    def features(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        seen = observe(project(points, camera), camera, confidence, dt)
        track, _ = network._filter_keypoints(seen, network.start_state(1)[:, -KeypointFilter.STATE :])
        values, view = network._features(seen, track)
        return values[0, 0, :34].reshape(17, 2), view.turn[0, 0]

    first, turn = features(person)
    second, turned = features(person @ away.T)
    # The shape as the virtual camera sees it differs at most by a roll; its distances do not differ.
    torch.testing.assert_close(torch.cdist(first, first), torch.cdist(second, second), atol=0.03, rtol=0.03)
    ahead = torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(turned @ ahead, away @ turn @ ahead, atol=0.02, rtol=0)


def test_only_angles_count_not_pixels(network: Lifter) -> None:
    """The same view at twice the resolution is the same person at the same place."""
    camera = torch.tensor([[[500.0, 500.0, 320.0, 240.0]]]).expand(1, 4, 4)
    points, confidence = torch.rand(1, 4, 17, 2) * 200 + 150, torch.rand(1, 4, 17)
    dt, state = torch.full((1, 4), 1 / 30), network.start_state(1)
    small = network(observe(points, camera, confidence, dt), state)
    large = network(observe(points * 2, camera * 2, confidence, dt), state)
    for a, b in zip(small, large, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("flow", [True, False])
def test_a_stream_equals_a_window(flow: bool) -> None:
    torch.manual_seed(1)
    network = Lifter(LifterConfig(64, 1, 32, flow=flow, rounds=1, correction=32)).eval()
    points, confidence = torch.rand(3, 20, 17, 2) * 300 + 100, torch.rand(3, 20, 17)
    camera, dt = torch.tensor([500.0, 500, 320, 240]).expand(3, 20, 4), torch.rand(3, 20) * 0.05 + 0.01
    seen = observe(points, camera, confidence, dt)
    whole = network(seen, network.start_state(3))
    state = network.start_state(3)
    for t in range(20):
        part = [value[:, t : t + 1] for value in (points, confidence, camera, dt, seen.flow, seen.box, seen.flow_valid)]
        step = network(Observation(*part), state)
        state = step.state
        for a, b in zip(step[:-1], whole[:-1], strict=True):
            torch.testing.assert_close(a[:, 0], b[:, t], atol=1e-4, rtol=1e-4)


def test_answering_some_frames_of_a_window_answers_them_the_same(network: Lifter) -> None:
    camera = torch.tensor([[[500.0, 500.0, 320.0, 240.0]]]).expand(2, 8, 4)
    seen = observe(torch.rand(2, 8, 17, 2) * 200, camera, torch.rand(2, 8, 17), torch.full((2, 8), 1 / 30))
    whole = network(seen, network.start_state(2))
    part = network(seen, network.start_state(2), output_frames=(3, 6))
    for name in part._fields[:-1]:
        torch.testing.assert_close(getattr(part, name), getattr(whole, name)[:, 3:6], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(part.state, whole.state)


def test_a_frame_alone_is_a_person_s_first(network: Lifter) -> None:
    camera = torch.tensor([[[500.0, 500.0, 320.0, 240.0]]]).expand(2, 5, 4)
    seen = observe(torch.rand(2, 5, 17, 2) * 200, camera, torch.rand(2, 5, 17), torch.full((2, 5), 1 / 30))
    alone = network(seen, network.start_state(2), alone=True)
    first = network(seen.frames(3, 4).without_flow(), network.start_state(2))
    torch.testing.assert_close(alone.rotations[:, 3:4], first.rotations, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(alone.up[:, 3:4], first.up, atol=1e-5, rtol=1e-5)


def test_half_precision_changes_little_and_learns() -> None:
    torch.manual_seed(4)
    network = Lifter(LifterConfig(64, 1, 32, rounds=2, correction=32))
    camera = torch.tensor([500.0, 500, 320, 240]).expand(3, 6, 4)
    seen = observe(torch.rand(3, 6, 17, 2) * 300 + 100, camera, torch.rand(3, 6, 17), torch.full((3, 6), 1 / 30))
    exact = network(seen, network.start_state(3))
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(seen, network.start_state(3))
    assert all(part.dtype == torch.float32 for part in rough)
    torch.testing.assert_close(rough.rotations, exact.rotations, atol=0.1, rtol=0)
    (rough.rotations.square().sum() + rough.pelvis.sum() + rough.betas.sum() + rough.up.sum()).backward()
    grads = [p.grad for name, p in network.named_parameters() if name.startswith(("refinements", "memory", "frame"))]
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)


def test_nothing_seen_gives_numbers_all_the_same(network: Lifter) -> None:
    camera = torch.tensor([[[500.0, 500.0, 320.0, 240.0]]])
    nothing = observe(torch.zeros(1, 1, 17, 2), camera, torch.zeros(1, 1, 17), torch.zeros(1, 1))
    for seen in (nothing, nothing.without_flow()):
        assert all(torch.isfinite(values).all() for values in network(seen, network.start_state(1)))


@pytest.mark.parametrize(
    "config",
    [
        LifterConfig(32, 1, 16, keypoints=False),
        LifterConfig(32, 1, 16, motion=False, flow=False),
        LifterConfig(32, 1, 16, keypoints=False, flow=False, image=True),
    ],
)
def test_every_choice_of_inputs_is_a_network_that_learns(config: LifterConfig) -> None:
    network = Lifter(config)
    camera = torch.tensor([500.0, 500, 320, 240]).expand(2, 3, 4)
    seen = observe(torch.rand(2, 3, 17, 2) * 300, camera, torch.rand(2, 3, 17), torch.full((2, 3), 1 / 30))
    seen = replace(seen, image=torch.rand(2, 3, 3, 64, 64))
    lifted = network(seen, network.start_state(2))
    assert lifted.rotations.shape == (2, 3, 24, 3, 3)
    (lifted.rotations.sum() + lifted.pelvis.sum() + lifted.contact.sum() + lifted.joint_error.sum()).backward()
    grads = [p.grad for name, p in network.named_parameters() if "frame" in name]
    assert all(grad is not None and torch.isfinite(grad).all() for grad in grads)


def test_a_network_without_inputs_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one input"):
        LifterConfig(keypoints=False, flow=False)
