"""Where a tracked person is expected."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.records import Box
from realtime.stages.tracking.track import Sighting, Track, turns_to_try
from tests.realtime.stages.tracking.people_in_view import POSE

_SURE = np.full(17, 0.8, np.float32)
_STEP_S = 1 / 30


def _sighting(x: float, scale: float = 100.0) -> Sighting:
    points = np.asarray(POSE * 200 + [x, 240], np.float32)
    return Sighting(points, _SURE, Box(x, 240, 260), scale)


def _walked(pixels_per_s: float, frames: int = 12, jumps: int = 0) -> Track:
    """Somebody who walked to the right until frame ``frames``; the last ``jumps`` sightings lie on somebody else."""
    track = Track.begin(0, _sighting(100), 0.0)
    for frame in range(1, frames):
        off = 25.0 if frame >= frames - jumps else 0.0
        track.update(_sighting(100 + pixels_per_s * frame * _STEP_S - off), frame * _STEP_S)
    return track


@pytest.mark.parametrize("jumps", [0, 2])
def test_who_is_hidden_is_taken_to_walk_on(jumps: int) -> None:
    track = _walked(200, jumps=jumps)
    track.mark_occluded(12 * _STEP_S)
    assert track.occluded_velocity is not None
    np.testing.assert_allclose(track.occluded_velocity, [200, 0], atol=25)
    half_a_second = float(track.displacement(track.last_seen_s + 0.5)[0])
    assert 65 < half_a_second < 100, "most of the way, for some stop"


def test_who_stands_is_expected_in_place() -> None:
    track = _walked(0)
    track.mark_occluded(0.5)
    np.testing.assert_allclose(track.displacement(2.0), 0, atol=1e-3)


def test_the_distance_from_the_expected_place_is_in_metres() -> None:
    track = _walked(200)
    track.mark_occluded(12 * _STEP_S)
    later = track.last_seen_s + 0.5
    x = 100 + 200 * 11 * _STEP_S + float(track.displacement(later)[0])
    assert track.metres_from(_sighting(x), later) == pytest.approx(0, abs=1e-3)
    assert track.metres_from(_sighting(x - 50), later) == pytest.approx(0.5, abs=1e-3), "100 px are a metre"
    unseen = Sighting(_sighting(x).points, np.zeros(17, np.float32), Box(x, 240, 260), 100.0)
    assert track.metres_from(unseen, later) == np.inf


def test_seen_again_the_pace_is_forgotten() -> None:
    track = _walked(100)
    track.mark_occluded(0.5)
    track.update(_sighting(180), 0.7)
    assert track.occluded_velocity is None
    assert not track.is_occluded


def test_a_far_person_beside_a_near_one_is_not_the_same() -> None:
    track = Track.begin(0, _sighting(100, scale=200.0), 0.0)
    assert track.overlap(_sighting(103, scale=190.0), 0.0) > 0.5
    assert track.overlap(_sighting(125, scale=110.0), 0.0) < 0.3


def test_who_falls_or_jumps_is_expected_as_far_away_as_gravity_takes_them() -> None:
    track = Track.begin(0, _sighting(100), 0.0)
    fallen_px = 0.5 * 9.81 * 0.7**2 * 100
    assert fallen_px > 0.9 * 260
    assert track.may_be_in(Box(100, 240 + fallen_px, 260), 0.7)
    assert not track.may_be_in(Box(100, 240 + fallen_px, 260), 0.3)
    assert not track.may_be_in(Box(100 + 1.5 * fallen_px + 0.2 * 260 + 0.4 * 260, 240, 260), 0.7)


@pytest.mark.parametrize("turn", range(4))
def test_each_other_turn_of_the_crop_is_tried_once(turn: int) -> None:
    points = np.asarray(POSE * 200 + 240, np.float32)
    for confidence in (_SURE, np.full(17, 0.05, np.float32)):
        order = turns_to_try(turn, points, confidence)
        assert sorted(order) == [one for one in range(4) if one != turn]
    assert turns_to_try(turn, points, _SURE)[0] == (0 if turn else 2), "the trunk is upright"
    assert turns_to_try(0, points[:, ::-1].copy(), _SURE)[0] in (1, 3), "the trunk lies"
