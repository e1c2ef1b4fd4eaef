"""Legs that follow the frame, on a body that is remembered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from body.joints import JOINT_NAMES  # noqa: E402
from training.networks.inputs import Observation  # noqa: E402
from training.networks.lifter import Lifter  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402
from training.networks.refinement import PREDICTION  # noqa: E402

KNEES = [JOINT_NAMES.index("left_knee"), JOINT_NAMES.index("right_knee")]
OTHERS = [joint for joint in range(24) if joint not in KNEES]
CONFIG = LifterConfig(48, 1, 24, 16, rounds=2, correction=32)


def observed(people: int, frames: int) -> Observation:
    generator = torch.Generator().manual_seed(1)
    points = torch.rand(people, frames, 17, 2, generator=generator) * 300
    camera = torch.tensor([600.0, 600.0, 320.0, 240.0]).expand(people, frames, 4)
    flow = torch.randn(people, frames, 32, 32, 2, generator=generator) * 0.01
    box = torch.tensor([150.0, 150.0, 300.0]).expand(people, frames, 3)
    ones = torch.ones(people, frames)
    return Observation(points, torch.ones(people, frames, 17), camera, ones / 30, flow, box, ones)


@pytest.fixture
def networks() -> tuple[Lifter, Lifter]:
    """A network without memoryless legs, and the same one with them."""
    torch.manual_seed(4)
    plain = Lifter(CONFIG).eval()
    with torch.no_grad():
        plain.memory.from_state.weight.mul_(6)  # so that remembering matters
        plain.head.weight.mul_(3)
    blended = Lifter(replace(CONFIG, memoryless_legs=True)).eval()
    blended.load_state_dict(plain.state_dict())
    return plain, blended


@torch.no_grad()
def test_knees_go_to_those_of_a_forgotten_memory_and_all_else_is_remembered(networks: tuple[Lifter, Lifter]) -> None:
    plain, blended = networks
    seen, state = observed(3, 6), plain.start_state(3)
    for t in range(6):
        frame = seen.frames(t, t + 1)
        forgotten = state.clone()
        forgotten[:, : plain.memory.state_size] = 0
        expected, anew, answer = plain(frame, state), plain(frame, forgotten), blended(frame, state)
        for name in ("betas", "joint_error", "contact", "up", "root_velocity", "state"):
            torch.testing.assert_close(getattr(answer, name), getattr(expected, name), msg=name)
        if t == 0:  # nobody is remembered yet
            torch.testing.assert_close(answer.rotations, expected.rotations)
            torch.testing.assert_close(answer.pelvis, expected.pelvis)
        else:
            apart = (anew.rotations - expected.rotations).norm(dim=(-1, -2))
            left = (anew.rotations - answer.rotations).norm(dim=(-1, -2))
            moved = (answer.rotations - expected.rotations).norm(dim=(-1, -2))
            assert float(apart[..., KNEES].mean()) > 1e-3
            assert float(left[..., KNEES].mean()) < 0.35 * float(apart[..., KNEES].mean())
            assert float(moved[..., OTHERS].mean()) < 0.2 * float(apart[..., OTHERS].mean())
        state = expected.state


@torch.no_grad()
def test_who_is_taken_to_face_another_way_keeps_the_remembered_legs() -> None:
    raw = torch.randn(PREDICTION, 4, generator=torch.Generator().manual_seed(2))
    rotations = torch.eye(3).reshape(1, 3, 3, 1).repeat(24, 1, 1, 4)
    rotations[0, :, :, 3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))  # the second person, without memory
    moved = Lifter._blend_legs(raw, rotations, torch.full((PREDICTION, 1), 0.5))
    torch.testing.assert_close(moved[:, 0], (raw[:, 0] + raw[:, 2]) / 2)
    torch.testing.assert_close(moved[:, 1:], raw[:, 1:])


@pytest.mark.parametrize("lacking", [{"rounds": 0}, {"motion": False}])
def test_they_need_refinement_and_a_memory(lacking: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="memoryless legs need"):
        replace(CONFIG, memoryless_legs=True, **lacking)


@torch.no_grad()
def test_a_stream_is_answered_as_its_frames_are(networks: tuple[Lifter, Lifter]) -> None:
    _, blended = networks
    seen, state = observed(2, 5), blended.start_state(2)
    whole = blended(seen, state)
    part = blended(seen, state, output_frames=(2, 4))
    torch.testing.assert_close(part.rotations, whole.rotations[:, 2:4])
    for t in range(5):
        one = blended(seen.frames(t, t + 1), state)
        torch.testing.assert_close(one.rotations[:, 0], whole.rotations[:, t], rtol=1e-4, atol=1e-5)
        state = one.state


def test_training_knows_nothing_of_it(networks: tuple[Lifter, Lifter]) -> None:
    plain, blended = networks
    seen, state = observed(2, 4), plain.start_state(2)
    with torch.no_grad():
        torch.testing.assert_close(blended.train()(seen, state).rotations, plain(seen, state).rotations)
