"""A network that has grown answers as the smaller one did, and its new parts learn."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch")

from training.networks.growth import can_grow, grow  # noqa: E402
from training.networks.inputs import FLOW_CELLS, Observation  # noqa: E402
from training.networks.lifter import Lifter  # noqa: E402
from training.networks.lifter_config import LifterConfig  # noqa: E402

SMALL = LifterConfig(48, 1, 24, 16, rounds=2, correction=32, memoryless_legs=True)
LARGE = replace(SMALL, blocks=3, memory=40, correction=56)


def stream(people: int, frames: int) -> Observation:
    generator = torch.Generator().manual_seed(4)
    return Observation(
        torch.randn(people, frames, 17, 2, generator=generator) * 60 + 300,
        torch.rand(people, frames, 17, generator=generator),
        torch.tensor([600.0, 600, 320, 240]).expand(people, frames, 4),
        torch.full((people, frames), 1 / 30),
        torch.randn(people, frames, FLOW_CELLS, FLOW_CELLS, 2, generator=generator) * 0.01,
        torch.tensor([300.0, 300, 300]).expand(people, frames, 3),
        torch.ones(people, frames),
    )


@pytest.mark.parametrize(
    "large", [LARGE, replace(SMALL, blocks=2), replace(SMALL, memory=25), replace(SMALL, correction=33)]
)
def test_the_grown_network_answers_alike_and_all_of_it_learns(large: LifterConfig) -> None:
    torch.manual_seed(1)
    small, grown = Lifter(SMALL).eval(), Lifter(large).eval()
    with torch.no_grad():
        for weight in small.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    assert can_grow(SMALL, large)
    grow(grown, small.state_dict(), SMALL)
    seen = stream(3, 12)
    before, after = small(seen, small.start_state(3)), grown(seen, grown.start_state(3))
    for name in ("rotations", "betas", "pelvis", "up", "contact", "root_velocity"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), rtol=1e-4, atol=1e-5, msg=name)
    optimizer = torch.optim.SGD(grown.parameters(), 1e-3)
    for _ in range(3):  # what is read by nothing learns once what reads it has
        optimizer.zero_grad()
        answer = grown(seen, grown.start_state(3))
        (answer.rotations.sum() + answer.betas.sum() + answer.pelvis.sum()).backward()
        optimizer.step()
    sizes = {name: weight.shape for name, weight in small.named_parameters()}
    added = [weight for name, weight in grown.named_parameters() if sizes.get(name) != weight.shape]
    assert all(weight.grad is not None and weight.grad.any() for weight in added)


@pytest.mark.parametrize(
    "other", [SMALL, replace(LARGE, width=64), replace(LARGE, memory=16), replace(LARGE, flow=False)]
)
def test_only_a_larger_network_of_the_same_kind_can_grow_out_of_it(other: LifterConfig) -> None:
    assert not can_grow(SMALL, other)
