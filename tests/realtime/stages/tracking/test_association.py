"""Similarities of sightings, and their assignment to tracks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from common.arrays import FloatArray, ImageArray
from realtime.records import Box
from realtime.stages.keypoints.masking import Outline, hide
from realtime.stages.keypoints.similarity import appearance_of, oks, pixels_per_metre, size_fit
from realtime.stages.tracking.association import assign, associate
from realtime.stages.tracking.track import BYSTANDER, Sighting, Track

# A standing adult from the front, metres from the hips, y down: COCO's order.
_HALF = [[0.03, -0.75], [0.08, -0.73], [0.18, -0.5], [0.22, -0.22], [0.24, 0.03], [0.1, 0], [0.11, 0.41], [0.12, 0.82]]
STANDING = np.array([[0, -0.72], *(place for x, y in _HALF for place in ([x, y], [-x, y]))], np.float32)
SURE = np.full(17, 0.9, np.float32)
RED, BLUE = (40, 40, 200), (200, 60, 30)


def sighting(x: float, y: float, scale: float, confidence: FloatArray = SURE, fine: bool = True) -> Sighting:
    points = STANDING * np.float32(scale) + np.array([x, y], np.float32)
    return Sighting(points, confidence, Box(x, y, 2.2 * scale), pixels_per_metre(points, confidence), fine=fine)


def image_of(*people: tuple[float, float, float, tuple[int, int, int]]) -> ImageArray:
    image = np.full((480, 640, 3), 120, np.uint8)
    for x, y, scale, colour in people:
        cv2.rectangle(
            image, (int(x - 0.3 * scale), int(y - 0.8 * scale)), (int(x + 0.3 * scale), int(y + scale)), colour, -1
        )
    return image


@given(scale=st.floats(40, 400), x=st.floats(0, 600), shift=st.floats(0, 2))
@settings(max_examples=40, deadline=None)
def test_keypoint_similarity_falls_with_distance_and_not_with_size(scale: float, x: float, shift: float) -> None:
    points = STANDING * np.float32(scale) + np.float32(x)
    moved = points + np.float32(shift * scale)
    like = oks(points, SURE, moved, SURE, scale)
    unit = oks(STANDING * 100, SURE, STANDING * 100 + np.float32(shift * 100), SURE, 100)
    assert like == pytest.approx(unit, abs=2e-3)
    assert oks(points, SURE, points, SURE, scale) == pytest.approx(1)
    assert 0 <= like <= 1
    assert pixels_per_metre(points, SURE) == pytest.approx(scale, rel=0.15)


def test_keypoint_similarity_is_cocos() -> None:
    """Written out for three keypoints: exp(-d² / (2 s² k²)), k twice the deviation."""
    sure = np.zeros(17, np.float32)
    sure[[0, 5, 11]] = 0.9
    moved = STANDING * 100 + np.array([3, 4], np.float32)
    k = 2 * np.array([0.026, 0.079, 0.107])
    expected = np.exp(-25 / (2 * (0.7 * 100) ** 2 * k**2)).mean()
    assert oks(STANDING * 100, sure, moved, SURE, 100, tolerance=1.0) == pytest.approx(expected, rel=1e-4)
    assert oks(STANDING * 100, sure, moved, np.zeros(17, np.float32), 100) == 0


def test_sizes_and_clothes() -> None:
    assert size_fit(100, 100) == 1
    assert size_fit(100, 170) == size_fit(170, 100) < 0.15
    red = appearance_of(image_of((200, 240, 150, RED)), STANDING * 150 + [200, 240], SURE)
    far = appearance_of(image_of((400, 240, 90, RED)) // 2, STANDING * 90 + [400, 240], SURE)
    blue = appearance_of(image_of((200, 240, 150, BLUE)), STANDING * 150 + [200, 240], SURE)
    same, other = red.likeness(far), red.likeness(blue)
    assert same is not None
    assert other is not None
    assert same > 0.9 > 0.3 > other
    assert red.likeness(appearance_of(image_of(), STANDING * 150 - 5000, SURE)) is None


@given(st.integers(0, 7), st.integers(0, 7), st.sampled_from([3, 1000]), st.integers(0, 2**32 - 1))
@settings(max_examples=200, deadline=None)
def test_the_assignment_has_the_greatest_sum(rows: int, columns: int, steps: int, seed: int) -> None:
    """Also with equal entries, of which a table of three values is full."""
    likeness = np.random.default_rng(seed).integers(0, steps, (rows, columns)) / steps
    pairs = assign(likeness)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs) == min(rows, columns)
    best = likeness[linear_sum_assignment(likeness, maximize=True)].sum()
    assert sum(likeness[row, column] for row, column in pairs) == pytest.approx(best)


def test_two_who_stand_before_one_another_are_told_apart_by_size_and_clothes() -> None:
    """Both keypoint networks answer with the near one; the detector names both."""
    image = image_of((330, 200, 90, BLUE), (300, 240, 180, RED))
    near, far = Track.begin(0, sighting(300, 240, 180), 0.0), Track.begin(1, sighting(330, 200, 90), 0.0)
    near.update_appearance(image_of((300, 240, 180, RED)), 0.0)
    far.update_appearance(image_of((330, 200, 90, BLUE)), 0.0)
    own = {near: sighting(302, 240, 181), far: sighting(301, 241, 182)}
    detected = [sighting(331, 201, 92, fine=False), sighting(301, 240, 178, fine=False)]
    found = associate([near, far], own, detected, image, 1 / 30)
    assert found.seen[near] is own[near]
    assert found.seen.get(far) in (None, detected[0])
    without = associate([near, far], own, [], image, 1 / 30)
    assert set(without.seen) == {near}


def test_a_bystander_takes_nobody_who_is_followed_and_seen_as_expected() -> None:
    """The detector's coarse sighting is a little beside the person, and right where a bystander was noted."""
    image = image_of((300, 240, 150, RED))
    own, coarse = sighting(300, 240, 150), sighting(318, 240, 150, fine=False)
    followed, bystander = Track.begin(0, sighting(296, 240, 150), 0.0), Track.begin(BYSTANDER, coarse, 0.0)
    for track in (followed, bystander):
        track.update_appearance(image, 0.0)
    seen = associate([followed, bystander], {followed: own}, [coarse], image, 1 / 30).seen
    assert seen[followed] is own
    assert bystander not in seen


def test_whom_nobody_knows_is_nobodys_and_a_runner_stays_himself() -> None:
    image = image_of((100, 240, 150, RED), (500, 240, 150, BLUE))
    track = Track.begin(0, sighting(100, 240, 150), 0.0)
    track.update_appearance(image, 0.0)
    new = sighting(500, 240, 150, fine=False)
    found = associate([track], {track: sighting(102, 240, 150)}, [new], image, 1 / 30)
    assert found.unclaimed == [new]
    assert list(found.seen) == [track]
    far_off = sighting(260, 240, 150)
    assert associate([track], {track: far_off}, [], image, 1 / 30).seen == {track: far_off}


def test_a_detection_is_a_newcomer_where_the_track_that_saw_it_too_is_seen_elsewhere() -> None:
    """The network's answer for the person in front lies on the one behind; the detector sees both."""
    image = image_of((390, 240, 150, BLUE), (300, 240, 150, RED))
    track = Track.begin(0, sighting(300, 240, 150), 0.0)
    track.update_appearance(image_of((300, 240, 150, RED)), 0.0)
    front, behind = sighting(301, 240, 150, fine=False), sighting(390, 240, 150, fine=False)
    found = associate([track], {track: sighting(388, 240, 150)}, [front, behind], image, 1 / 30)
    assert found.seen == {track: front}
    assert found.unclaimed == [behind]


def test_who_is_hidden_is_not_taken_for_a_passer_by_in_other_clothes() -> None:
    """Somebody who is seen may be expected less exactly: the same sighting is taken for them."""
    mixed = (60, 50, 150)
    image = image_of((318, 240, 150, mixed))
    for hidden in (False, True):
        track = Track.begin(0, sighting(300, 240, 150), 0.0)
        track.update_appearance(image_of((300, 240, 150, BLUE)), 0.0)
        track.appearance.add(image, sighting(318, 240, 150).points, SURE)
        if hidden:
            track.mark_occluded(0.0)
        other = sighting(340, 240, 150, fine=False)
        image = image_of((340, 240, 150, mixed))
        likeness = track.likeness(other, 0.2, appearance_of(image, other.points, other.confidence))
        assert 0.1 < likeness < 0.35
        found = associate([track], {}, [other], image, 0.2)
        assert (found.seen, found.unclaimed) == (({}, [other]) if hidden else ({track: other}, []))


@given(vx=st.floats(-600, 600), vy=st.floats(-300, 300), dt=st.floats(0.01, 0.1))
@settings(max_examples=30, deadline=None)
def test_motion_is_expected_to_go_on_and_to_slow_down(vx: float, vy: float, dt: float) -> None:
    track = Track.begin(0, sighting(300, 240, 150), 0.0)
    for step in range(1, 9):
        track.update(sighting(300 + vx * dt * step, 240 + vy * dt * step, 150), dt * step)
    np.testing.assert_allclose(track.velocity, [vx, vy], rtol=0.02, atol=2)
    end = dt * 8
    soon, later = track.displacement(end + 0.02), track.displacement(end + 5)
    assert np.all(np.abs(soon) <= np.abs(track.velocity) * 0.02 + 1e-3)
    assert np.all(np.abs(later) <= np.abs(track.velocity) * 0.16)


def test_others_are_hidden_but_for_what_covers_the_person() -> None:
    rng = np.random.default_rng(0)
    crop = rng.integers(0, 255, (192, 192, 3), np.uint8)
    before, box = crop.copy(), Box(95.5, 95.5, 192)
    own, other = Outline(STANDING * 60 + [60, 100], SURE), Outline(STANDING * 60 + [140, 100], SURE)
    hide(crop, box, own, (other,))
    changed = (crop != before).any(-1)
    assert changed[100, 140]
    assert changed[60, 140]
    assert not changed[:, :75].any()
    assert 0.02 < changed.mean() < 0.3
    again = before.copy()
    hide(again, box, own, (own,))
    assert (again == before).all()
