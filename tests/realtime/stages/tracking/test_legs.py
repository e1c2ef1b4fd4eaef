"""Legs that a detector takes for each other stay apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from body.joints import COCO_MIRROR
from common.arrays import FloatArray
from realtime.stages.tracking.legs import Legs
from tests.realtime.stages.tracking.people_in_view import POSE

_KNEES_AND_ANKLES = [13, 14, 15, 16]
_SIZE = 100.0  # pixels a metre
_FPS = 30.0
_SURE = np.full(17, 0.8, np.float32)


def _walk(frames: int, steps_per_s: float = 1.8) -> FloatArray:
    """Keypoints (frames, 17, 2) of somebody who walks to the right and is seen from the side."""
    swing = np.cos(np.pi * steps_per_s * np.arange(frames) / _FPS)[:, None] * np.array([0.2, 0.35])
    middle = 100 + 130 * np.arange(frames)[:, None] / _FPS
    points = np.tile(np.asarray(POSE * 170 + [0, 240], np.float32), (frames, 1, 1))
    points[..., 0] = middle
    points[:, [14, 16], 1] = points[:, [13, 15], 1]
    points[:, [13, 15], 0] += _SIZE * swing
    points[:, [14, 16], 0] -= _SIZE * swing
    return np.asarray(points, np.float32)


def _exchanged(points: FloatArray) -> FloatArray:
    result = points.copy()
    result[..., _KNEES_AND_ANKLES, :] = points[..., [COCO_MIRROR[k] for k in _KNEES_AND_ANKLES], :]
    return result


def _sorted(detected: FloatArray, fps: float = _FPS) -> FloatArray:
    legs = Legs()
    return np.array([legs.sort(points, _SURE, _SIZE, t / fps)[0] for t, points in enumerate(detected)])


def _distance(a: FloatArray, b: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.norm(a - b, axis=-1)[..., _KNEES_AND_ANKLES].max(-1))


@given(st.lists(st.integers(8, 140), max_size=12), st.floats(0, 2.5))
@settings(max_examples=40, deadline=None)
def test_single_frames_with_exchanged_legs_are_put_right(frames: list[int], steps_per_s: float) -> None:
    truth = _walk(150, steps_per_s)
    detected = truth.copy()
    apart = [
        t for t in frames if t - 1 not in frames and t - 2 not in frames and _distance(truth, _exchanged(truth))[t] > 45
    ]
    detected[apart] = _exchanged(truth[apart])
    assert float(_distance(_sorted(detected), truth)[apart].max(initial=0)) < 1e-3


def test_keypoints_that_agree_are_passed_on_as_they_are() -> None:
    legs = Legs()
    for t, points in enumerate(_walk(90)):
        kept, confidence = legs.sort(points, _SURE, _SIZE, t / _FPS)
        assert kept is points
        assert confidence is _SURE


def _standing(frames: int) -> tuple[Legs, FloatArray]:
    """The legs of somebody who has stood for so many frames, and what is detected of them."""
    legs, (points, *_) = Legs(), _walk(1)
    for t in range(frames):
        legs.sort(points, _SURE, _SIZE, t / _FPS)
    return legs, points


def test_confidences_go_with_their_legs() -> None:
    legs, truth = _standing(30)
    sure = _SURE.copy()
    sure[[13, 15]] = 0.4
    points, confidence = legs.sort(_exchanged(truth), sure, _SIZE, 30 / _FPS)
    np.testing.assert_allclose(points, truth, atol=1e-3)
    assert confidence[[14, 16]].tolist() == pytest.approx([0.4, 0.4])
    assert sure[[13, 15]].tolist() == pytest.approx([0.4, 0.4]), "the input is left as it is"


def test_a_detector_that_keeps_contradicting_is_believed() -> None:
    truth = _walk(120, 0.0)
    detected = truth.copy()
    detected[40:] = _exchanged(truth[40:])
    wrong = _distance(_sorted(detected), detected) > 1
    assert wrong[40:45].all()
    assert not wrong[40 + round(1.0 * _FPS) :].any(), "it was wrong before, not now"
    assert (np.diff(wrong.astype(int)) < 0).sum() == 1, "one exchange, not many"


def test_it_gives_in_when_the_legs_pass_each_other() -> None:
    truth = _walk(150, 1.8)
    detected = truth.copy()
    detected[:60] = _exchanged(truth[:60])  # first wrong, and right from the middle of a step on
    result = _sorted(detected)
    jumps = np.linalg.norm(np.diff(result, axis=0), axis=-1)[:, _KNEES_AND_ANKLES].max(-1)
    assert float(jumps.max()) < 30, "no leg jumps"
    assert float(_distance(result, truth)[90:].max()) < 1e-3


@pytest.mark.parametrize("gap", [12, 40])
def test_who_was_out_of_sight_starts_anew(gap: int) -> None:
    legs, truth = _standing(40)
    turned = _exchanged(truth)
    points, _ = legs.sort(turned, _SURE, _SIZE, (40 + gap) / _FPS)
    assert points is turned


def test_who_is_suddenly_elsewhere_is_left_alone() -> None:
    legs, truth = _standing(30)
    upside_down = _exchanged(truth) * np.float32([1, -1])
    points, _ = legs.sort(upside_down, _SURE, _SIZE, 30 / _FPS)
    assert points is upside_down


def test_labels_that_are_both_on_one_leg_do_not_lose_the_other() -> None:
    truth = _walk(60, 0.0)
    detected = truth.copy()
    detected[40:43, [13, 15]] = truth[40:43, [14, 16]]  # both on the right leg
    detected[43:46] = _exchanged(truth[43:46])
    result = _sorted(detected)
    assert float(_distance(result, truth)[43:].max()) < 1e-3


def test_legs_that_are_hardly_seen_are_not_touched() -> None:
    legs, truth = _standing(30)
    turned = _exchanged(truth)
    points, _ = legs.sort(turned, _SURE * 0.2, _SIZE, 30 / _FPS)
    assert points is turned
