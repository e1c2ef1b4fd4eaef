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

from body.joints import COCO_NAMES
from common.arrays import AnyArray, FloatArray
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
        gone_s = time_s - self._seen_s
        moving_s = _DECAY_S * (1 - np.exp(-np.minimum(gone_s, _LONGEST_GAP_S) / _DECAY_S))
        expected = self._points + self._velocity * moving_s[..., None]
        places, sure = points[_LEGS].astype(np.float64), confidence[_LEGS]
        nearer_m = _nearer(places, sure * (gone_s < _KEPT_S), expected, _REACH_M * pixels_per_metre) / pixels_per_metre
        passing = self._agreed_s < 0 and abs(nearer_m) < _PASSING_M
        exchanged = False
        if abs(nearer_m) > _APART_M:
            self._agreed_s = min(self._agreed_s + math.copysign(gap_s, nearer_m), _BELIEVED_S)
            exchanged = nearer_m < 0
        if exchanged and (
            passing or self._agreed_s < -_BELIEVED_S
        ):  # what was thought to be the left leg is the right one
            self._points, self._velocity, self._seen_s = self._points[::-1], self._velocity[::-1], self._seen_s[::-1]
            expected, exchanged, self._agreed_s = expected[::-1], False, 0.0
        if exchanged:
            points, confidence = points.copy(), confidence.copy()
            points[_LEGS], confidence[_LEGS] = points[_LEGS[::-1]], confidence[_LEGS[::-1]]
            places, sure = places[::-1], sure[::-1]
        self._follow(places, sure, expected, pixels_per_metre)
        return points, confidence

    def _forget(self) -> None:
        self._velocity[:] = 0
        self._seen_s[:] = -math.inf
        self._agreed_s = 0.0

    def _follow(self, places: AnyArray, sure: AnyArray, expected: AnyArray, scale: float) -> None:
        """Move the legs to ``places`` (2, 2, 2)."""
        gone_s = self._time_s - self._seen_s
        own = np.linalg.norm(places - expected, axis=-1)
        other = np.linalg.norm(places - expected[::-1], axis=-1)
        # Where both labels are on one leg, the other leg is not seen.
        taken = (gone_s < _KEPT_S) & (own > (_REACH_M + _REACH_M_S * gone_s) * scale) & (other < own / 2)
        seen = (sure > COMPARABLE) & ~taken
        recent = seen & (gone_s < _LONGEST_GAP_S)
        moved = (places - self._points) / np.where(recent, gone_s, 1.0)[..., None]
        self._velocity = np.where(recent[..., None], (self._velocity + moved) / 2, self._velocity)
        self._velocity[seen & ~recent] = 0
        self._points = np.where(seen[..., None], places, self._points)
        self._seen_s = np.where(seen, self._time_s, self._seen_s)


def _nearer(places: AnyArray, sure: AnyArray, expected: AnyArray, reach: float) -> float:
    """By how many pixels legs at ``places`` (2, 2, 2) are nearer to the ``expected`` ones (2, 2, 2) with their labels than with
    these exchanged, on average. 0 where ``sure`` (2, 2) leaves nothing to compare, and where neither is within ``reach``."""
    weight = np.where(sure.min(0) > COMPARABLE, sure.min(0), 0)
    if not weight.any():
        return 0.0
    gaps = np.linalg.norm(places[:, None] - expected, axis=-1)  # (label, leg, joint)
    as_labelled, exchanged = (gaps[0, 0] + gaps[1, 1]) @ weight, (gaps[0, 1] + gaps[1, 0]) @ weight
    total = 2 * float(weight.sum())
    return 0.0 if min(as_labelled, exchanged) > reach * total else float(exchanged - as_labelled) / total
