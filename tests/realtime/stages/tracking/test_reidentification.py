"""Who is recognised when somebody comes into view: people crossing, hidden for a second, parting."""

from __future__ import annotations

import numpy as np
import pytest

from common.arrays import ImageArray
from realtime.records import Box
from realtime.stages.keypoints.similarity import Appearance, appearance_of
from realtime.stages.tracking.reidentification import who_returns
from realtime.stages.tracking.track import MAX_MISSES, Sighting, Track
from tests.realtime.stages.tracking.people_in_view import COLOURS, POSE

_SURE = np.full(17, 0.8, np.float32)
_STEP_S, _SPEED, _SCALE = 1 / 30, 120.0, 100.0  # seconds, px/s and px/m: 1.2 m/s
_RED, _BLUE = COLOURS[0], COLOURS[1]


def _sighting(x: float) -> Sighting:
    return Sighting(np.asarray(POSE * 200 + [x, 240], np.float32), _SURE, Box(x, 240, 260), _SCALE)


def _clothes(*colours: tuple[int, int, int]) -> Appearance:
    """Clothes that show as many ``colours`` from the left to the right, in equal parts."""
    image: ImageArray = np.empty((480, 640, 3), np.uint8)
    stripe = 4
    for left in range(0, 640, stripe):
        image[:, left : left + stripe] = colours[left // stripe % len(colours)]
    return appearance_of(image, _sighting(300).points, _SURE)


def _hidden(toward: float) -> Track:
    """Somebody in red at 300 px at 0.4 s, who has been hidden since and walks with the sign of ``toward``."""
    track = Track.begin(0, _sighting(300 - toward * _SPEED * 0.4), 0.0)
    for step in range(1, 13):
        track.update(_sighting(300 - toward * _SPEED * (0.4 - step * _STEP_S)), step * _STEP_S)
    track.appearance = _clothes(_RED)
    track.mark_occluded(0.4)
    track.misses = MAX_MISSES + 1
    assert track.is_occluded
    return track


@pytest.mark.parametrize("toward", [-1.0, 1.0])
def test_who_was_hidden_for_a_second_is_recognised_where_they_were_going(toward: float) -> None:
    track, now_s = _hidden(toward), 1.4
    ahead, back = (300 + way * float(abs(track.displacement(now_s)[0])) for way in (toward, -toward))
    half_red = _clothes(_RED, _BLUE)
    likeness = track.appearance.likeness(half_red)
    assert likeness is not None
    assert 0.6 < likeness < 0.9, "the clothes alone do not tell"
    assert who_returns([track], _sighting(ahead), half_red, now_s, now_s) is track
    assert who_returns([track], _sighting(back), half_red, now_s, now_s) is None, "they walked the other way"


def test_right_where_they_come_out_a_part_of_the_clothes_is_enough() -> None:
    track, now_s = _hidden(1.0), 0.8
    mostly_blue = _clothes(_RED, *[_BLUE] * 3)
    likeness = track.appearance.likeness(mostly_blue)
    assert likeness is not None
    assert 0.4 < likeness < 0.6
    x = 300 + float(track.displacement(now_s)[0])
    assert who_returns([track], _sighting(x), mostly_blue, now_s, now_s) is track
    assert who_returns([track], _sighting(x - 40), mostly_blue, now_s, now_s) is None
    assert who_returns([track], _sighting(x), _clothes(_BLUE), now_s, now_s) is None


def test_of_two_who_crossed_each_is_recognised_by_their_way_and_clothes() -> None:
    right, left = _hidden(1.0), _hidden(-1.0)
    left.appearance, now_s = _clothes(_BLUE), 1.2
    reach = float(right.displacement(now_s)[0])
    for track, x, colour in ((right, 300 + reach, _RED), (left, 300 - reach, _BLUE)):
        assert who_returns([left, right], _sighting(x), _clothes(colour), now_s, now_s) is track


def test_whoever_was_seen_at_the_same_time_is_somebody_else() -> None:
    track = _hidden(1.0)
    x = 300 + float(track.displacement(0.8)[0])
    assert who_returns([track], _sighting(x), _clothes(_RED), 0.8, since_s=0.3) is None
    assert who_returns([track], _sighting(x), _clothes(_RED), 0.8, since_s=0.5) is track
