"""Newcomers who overlap somebody known: a confident one is believed at once, a doubtful one when it was found twice."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.records import Box
from realtime.stages.tracking.confirmation import Confirmation
from realtime.stages.tracking.track import Sighting, sighting_of
from tests.realtime.stages.tracking.people_in_view import POSE


def _sighting(x: float, sure: float, fine: bool = True) -> Sighting:
    points = np.asarray(POSE * 200 + [x, 240], np.float32)
    made = sighting_of(points, np.full(17, sure, np.float32), Box(x, 240, 260), fine=fine)
    assert made is not None
    return made


KNOWN = [_sighting(340, 0.8).outline]
APART = 80.0


def test_who_stands_apart_is_believed_at_once() -> None:
    one = _sighting(APART, 0.45)
    assert Confirmation().accept(one, one, KNOWN, 1.0)


def test_whom_both_networks_see_is_believed_at_once_beside_somebody_known() -> None:
    assert Confirmation().accept(_sighting(300, 0.7), _sighting(303, 0.5, fine=False), KNOWN, 1.0)


@pytest.mark.parametrize(
    ("sighting", "coarse"),
    [
        (_sighting(300, 0.5), _sighting(300, 0.5, fine=False)),  # MoveNet is not sure
        (_sighting(300, 0.7), _sighting(350, 0.7, fine=False)),  # MoveNet sees somebody else
        (_sighting(300, 0.7, fine=False), _sighting(300, 0.7, fine=False)),  # the detector alone
    ],
)
def test_a_doubtful_one_beside_somebody_known_is_believed_when_found_twice(
    sighting: Sighting, coarse: Sighting
) -> None:
    confirmation = Confirmation()
    assert not confirmation.accept(sighting, coarse, KNOWN, 1.0)
    assert not confirmation.accept(sighting, coarse, KNOWN, 1.0), "the same frame is no second sighting"
    assert confirmation.regions(1.05) == [sighting.box] * 2
    assert not confirmation.regions(1.2)
    assert confirmation.accept(sighting, coarse, KNOWN, 1.2)


def test_a_doubtful_one_is_forgotten() -> None:
    sighting = _sighting(300, 0.5)
    confirmation = Confirmation()
    assert not confirmation.accept(sighting, sighting, KNOWN, 1.0)
    assert not confirmation.accept(sighting, sighting, KNOWN, 1.4), "too long ago"
    confirmation.clear()
    assert not confirmation.accept(sighting, sighting, KNOWN, 1.5), "another scene"
    assert not confirmation.accept(_sighting(220, 0.5), sighting, KNOWN, 1.6), "another place"
