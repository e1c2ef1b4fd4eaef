"""The memory counts seconds, and a person has one shape."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from training.networks.memory import Memory, ShapeEvidence  # noqa: E402

TICK = 0.08


def started(memory: Memory, people: int = 1) -> torch.Tensor:
    return torch.zeros(people, memory.state_size)


@given(st.floats(10, 120), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_it_ticks_ten_to_nineteen_times_a_second_whatever_the_camera_s_rate(fps: float, seed: int) -> None:
    memory = Memory(4, 4, TICK)
    shake = torch.rand(1, 400, generator=torch.Generator().manual_seed(seed)) * 0.05 + 0.975
    dt = shake / fps
    elapsed, ticks, _ = memory.clock(dt, started(memory))
    rate = float(ticks[0, 1:].sum() / dt[0, 1:].sum())
    assert min(fps, 9.8) * 0.95 <= rate <= 19
    assert bool(ticks[0, 0])
    assert float(elapsed.max()) <= TICK + 0.6 * float(dt.max()) + 1e-6 or fps < 12


def test_what_is_known_between_ticks_is_thrown_away() -> None:
    torch.manual_seed(0)
    memory = Memory(6, 5, TICK)
    seen, dt = torch.randn(1, 40, 6), torch.full((1, 40), 1 / 120)
    known, ticks, _ = memory(seen, dt, started(memory))
    between = int((ticks[0, :, 0] == 0).nonzero()[3])
    other = seen.clone()
    other[:, between] += 1
    changed, _, _ = memory(other, dt, started(memory))
    differs = (changed - known).abs().amax(-1)[0] > 1e-6
    assert differs.nonzero()[:, 0].tolist() == [between]
    ticking = int((ticks[0, :, 0] == 1).nonzero()[2])
    other = seen.clone()
    other[:, ticking] += 1
    changed, _, _ = memory(other, dt, started(memory))
    assert int(((changed - known).abs().amax(-1)[0] > 1e-6).sum()) == 40 - ticking


@torch.no_grad()
def test_evidence_narrows_a_shape_and_old_evidence_fades() -> None:
    torch.manual_seed(2)
    shape = ShapeEvidence(3)
    with torch.no_grad():
        shape.estimate.weight.zero_()
        shape.estimate.bias[10:] = 1.5
    known, every = torch.zeros(1, 3000, 3), torch.ones(1, 3000, 1)
    betas, deviation, _ = shape(known, every, torch.zeros(1, 20))
    assert bool((deviation[0, 1:] <= deviation[0, :-1]).all())
    assert bool((deviation[0, 0] < shape.deviation).all())
    # The mean goes from the prior's towards what is said, 1.5 prior deviations beside it.
    target = shape.mean + 1.5 * shape.deviation
    assert float((betas[0, 0] - target).abs().max()) > 5 * float((betas[0, -1] - target).abs().max())
    assert float(deviation[0, -1].min()) > 0.05  # never surer than what is kept allows
    _, none, state = shape(known[:, :5], 0 * every[:, :5], torch.zeros(1, 20))
    assert not state.any()
    torch.testing.assert_close(none[0, 4], none[0, 0])
