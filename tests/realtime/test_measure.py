from __future__ import annotations

import numpy as np
import pytest

from realtime.measure import Meter


def meter_of(finished_s: list[float]) -> Meter:
    """A meter that was told of a mesh at each of these times."""
    meter = Meter(start_ns=0)
    for moment_s in finished_s:
        meter.mesh(0, round(moment_s * 1e9))
    return meter


def test_the_rate_is_of_the_meshes_after_the_warm_up() -> None:
    slow, fast = list(np.arange(5) * 1.0), list(10 + np.arange(30) / 20)
    assert meter_of(slow + fast).mesh_rate() == pytest.approx(20, rel=1e-3)
    assert np.isnan(meter_of([]).mesh_rate())
    assert np.isnan(meter_of([1.0]).mesh_rate())


@pytest.mark.parametrize("count", [12, 20, 60])
def test_a_look_ahead_that_ends_is_no_rate(count: int) -> None:
    """A source's last frames need not wait for later ones: they are finished together."""
    steady = 1 + np.arange(count - 8) / 25
    meter = meter_of([*steady, *(steady[-1] + np.arange(1, 9) * 1e-4)])
    assert meter.mesh_rate() > 28
    assert meter.mesh_rate(look_ahead=8) == pytest.approx(25, rel=1e-3)
    assert meter.report("", "", "", look_ahead=8).mesh_rate_hz == pytest.approx(25, rel=1e-3)
    assert np.isnan(meter_of([1.0] * 8).mesh_rate(look_ahead=8))
    assert np.isnan(meter_of([1.0] * 3).mesh_rate(look_ahead=8))
