"""Which leg is the left one, over time.

Seen from the side, a person's legs look alike, and MoveNet takes one for the other every few frames: a body that follows such
keypoints crosses its legs or keeps them together. But a leg does not jump. So each leg is followed, and keypoints whose
labels contradict the last frames' are exchanged. The detector may have been wrong before, and right now; it is believed once
it has contradicted for a third of a second, or earlier, when the legs pass each other and an exchange moves nothing.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import types

from body.joints import COCO_NAMES
from common.arrays import DoubleArray, FloatArray
from common.compiled import njit
from realtime.stages.keypoints.similarity import COMPARABLE

_LEGS: Final = np.array(
    [[COCO_NAMES.index(f"{side}_{joint}") for joint in ("knee", "ankle")] for side in ("left", "right")]
)
_APART_M: Final = 0.04
"""Metres by which one of the two labellings must be nearer to the legs that are expected, on average over both legs."""
_PASSING_M: Final = 0.12
"""The same, where labels are to be exchanged for good: that moves the legs by no more than this."""
_BELIEVED_S: Final = 0.35
"""Seconds of contradiction after which the detector's labels are believed."""
_KEPT_S: Final = 0.25
"""Seconds for which a keypoint that is not seen is expected where it was going."""
_LONGEST_GAP_S: Final = 0.5
_DECAY_S: Final = 0.15
"""Time constant with which the expected velocity decays."""
_REACH_M: Final = 0.25
_REACH_M_S: Final = 2.0
"""Distance from where it is expected at which a keypoint may be found, and what each second adds to it."""


class Legs:
    """One person's knees and ankles over time."""

    def __init__(self) -> None:
        # The axes of these arrays: left or right, knee or ankle, x or y.
        self._points = np.zeros((2, 2, 2))
        self._velocity = np.zeros((2, 2, 2))
        self._seen_s = np.full((2, 2), -math.inf)
        self._time_s = -math.inf
        self._agreed_s = 0.0

    def sort(
        self, points: FloatArray, confidence: FloatArray, pixels_per_metre: float, time_s: float
    ) -> tuple[FloatArray, FloatArray]:
        """Keypoints (17, 2) px and confidences (17,) of one frame, with the legs exchanged where that is needed, else as they
        are. ``pixels_per_metre`` is the person's size, ``time_s`` the source's time."""
        gap_s = time_s - self._time_s
        if not 0 < gap_s < _LONGEST_GAP_S:
            self._forget()
        self._time_s = time_s
        places, sure = points[_LEGS].astype(np.float64), confidence[_LEGS]
        exchanged, self._agreed_s = _sort_legs(
            places,
            np.asarray(sure, np.float32),
            self._points,
            self._velocity,
            self._seen_s,
            self._agreed_s,
            gap_s,
            time_s,
            pixels_per_metre,
        )
        if exchanged:
            points, confidence = points.copy(), confidence.copy()
            points[_LEGS], confidence[_LEGS] = points[_LEGS[::-1]], confidence[_LEGS[::-1]]
        return points, confidence

    def _forget(self) -> None:
        self._velocity[:] = 0
        self._seen_s[:] = -math.inf
        self._agreed_s = 0.0


@njit(cache=True, nogil=True)
def _gap(a, b):  # type: ignore[no-untyped-def]
    return math.sqrt((a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]))


@njit(cache=True, nogil=True)
def _nearer(places, sure, expected, gone_s, reach):  # type: ignore[no-untyped-def]
    """By how many pixels legs at ``places`` (2, 2, 2) are nearer to the ``expected`` ones (2, 2, 2) with their labels than with
    these exchanged, on average, of those last seen ``gone_s`` (2, 2) seconds ago. 0 where ``sure`` (2, 2) leaves nothing to
    compare, and where neither is within ``reach``."""
    as_labelled, exchanged, total = 0.0, 0.0, 0.0
    for joint in range(2):
        least = min(
            sure[0, joint] if gone_s[0, joint] < _KEPT_S else np.float32(0),
            sure[1, joint] if gone_s[1, joint] < _KEPT_S else np.float32(0),
        )
        if least > np.float32(COMPARABLE):
            as_labelled += least * (
                _gap(places[0, joint], expected[0, joint]) + _gap(places[1, joint], expected[1, joint])
            )
            exchanged += least * (
                _gap(places[0, joint], expected[1, joint]) + _gap(places[1, joint], expected[0, joint])
            )
            total += 2 * float(least)
    if total == 0 or min(as_labelled, exchanged) > reach * total:
        return 0.0
    return (exchanged - as_labelled) / total


_LEG_ARRAY: Final = types.Array(types.float64, 3, "C")
_ANSWER: Final = types.Tuple((types.boolean, types.float64))  # type: ignore[no-untyped-call]


@njit(
    _ANSWER(
        _LEG_ARRAY,
        types.Array(types.float32, 2, "C"),
        _LEG_ARRAY,
        _LEG_ARRAY,
        types.Array(types.float64, 2, "C"),
        *[types.float64] * 4,
    ),
    cache=True,
    nogil=True,
)
def _sort_legs(
    places: DoubleArray,
    sure: FloatArray,
    points: DoubleArray,
    velocity: DoubleArray,
    seen_s: DoubleArray,
    agreed_s: float,
    gap_s: float,
    time_s: float,
    scale: float,
) -> tuple[bool, float]:
    """One step of `Legs.sort`, in one loop instead of forty operations on a few numbers.

    ``places`` (2, 2, 2) px as labelled, and how ``sure`` (2, 2); ``points``, ``velocity`` and ``seen_s`` are the legs' state,
    which is updated. Returns whether the labels are exchanged, and how long they have agreed, s.
    """
    expected = np.empty((2, 2, 2))
    for leg in range(2):
        for joint in range(2):
            moving_s = _DECAY_S * (1 - math.exp(-min(time_s - seen_s[leg, joint], _LONGEST_GAP_S) / _DECAY_S))
            for axis in range(2):
                expected[leg, joint, axis] = points[leg, joint, axis] + velocity[leg, joint, axis] * moving_s
    nearer_m = _nearer(places, sure, expected, time_s - seen_s, _REACH_M * scale) / scale
    passing = agreed_s < 0 and abs(nearer_m) < _PASSING_M
    exchanged = False
    if abs(nearer_m) > _APART_M:
        agreed_s = min(agreed_s + math.copysign(gap_s, nearer_m), _BELIEVED_S)
        exchanged = nearer_m < 0
    if exchanged and (passing or agreed_s < -_BELIEVED_S):  # what was thought to be the left leg is the right one
        for state in (points, velocity, expected):
            state[:] = state[::-1].copy()
        seen_s[:] = seen_s[::-1].copy()
        exchanged, agreed_s = False, 0.0
    for leg in range(2):
        label = 1 - leg if exchanged else leg
        for joint in range(2):
            gone_s = time_s - seen_s[leg, joint]
            own = _gap(places[label, joint], expected[leg, joint])
            other = _gap(places[label, joint], expected[1 - leg, joint])
            # Where both labels are on one leg, the other leg is not seen.
            taken = gone_s < _KEPT_S and own > (_REACH_M + _REACH_M_S * gone_s) * scale and other < own / 2
            if taken or not sure[label, joint] > np.float32(COMPARABLE):
                continue
            for axis in range(2):
                moved = (places[label, joint, axis] - points[leg, joint, axis]) / gone_s
                velocity[leg, joint, axis] = (
                    (velocity[leg, joint, axis] + moved) / 2 if gone_s < _LONGEST_GAP_S else 0.0
                )
                points[leg, joint, axis] = places[label, joint, axis]
            seen_s[leg, joint] = time_s
    return exchanged, agreed_s
