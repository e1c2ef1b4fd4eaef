"""Frame rates that are drawn."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from training.simulation.rates import FASTEST, SLOWEST, draw_rates  # noqa: E402


def test_rates_span_what_cameras_give_and_fast_ones_have_a_long_past() -> None:
    rates = draw_rates(2000, 96, torch.Generator().manual_seed(0))
    assert rates.shape == (2000, 96)
    assert float(rates.min()) >= SLOWEST
    assert float(rates.max()) <= FASTEST
    last = rates[:, -1]
    for low, high, least in ((10, 20, 0.1), (20, 40, 0.3), (40, 70, 0.15), (70, 121, 0.08)):
        assert float(((last >= low) & (last < high)).float().mean()) > least
    fast = last > 50
    changes = (rates[:, 0] != last)[fast].float().mean()
    assert 0.3 < float(changes) < 0.7
    seconds = (1 / rates).sum(1)
    assert float(seconds[fast & (rates[:, 0] != last)].median()) > 2.5
    steady = last < 35
    assert bool((rates[steady] == last[steady, None]).all())
