"""The region to search for a person's keypoints: the square around those that were found last."""

from __future__ import annotations

import numpy as np

from common.arrays import FloatArray
from realtime.records import Box
from realtime.stages.tracking.region_limits import (
    FACE,
    HEAD_ROOM,
    MARGIN,
    MAX_OF_IMAGE,
    MIN_PX,
    SHOULDER_ROOM,
    SHOULDERS,
    SHRINK,
    TORSO,
    TORSO_ROOM,
    VISIBLE,
)

_UPPER = [0, 1, 2, 3, 4, 5, 6]  # face and shoulders
_KEEP, _ACCEPT = 0.38, 0.42
"""Least mean confidence of the six most confident keypoints, to keep following a person and to accept a new one. Lightning
reaches 0.29 (99th percentile) in empty rooms, at most 0.40 where people are occluded, and at least 0.44 on the hardest person
of the clips that were examined."""
_KEEP_HEAD, _ACCEPT_HEAD = 0.22, 0.30  # likewise of the three most confident of face and shoulders


def mean_confidence(confidence: FloatArray) -> float:
    """Mean confidence of the six most confident keypoints: high for half-visible people, low for a coat on a chair."""
    return float(np.sort(confidence)[-6:].mean())


def has_head(confidence: FloatArray, least: float) -> bool:
    """Whether face or shoulders are detected: the network takes table legs for shins, but hardly anything for a head."""
    return float(np.sort(confidence[_UPPER])[-3:].mean()) >= least


def is_believable(confidence: FloatArray, strict: bool = False) -> bool:
    """Whether keypoints with these confidences (17,) are a person's; ``strict``: with the thresholds for a new person."""
    least, head = (_ACCEPT, _ACCEPT_HEAD) if strict else (_KEEP, _KEEP_HEAD)
    return mean_confidence(confidence) >= least and has_head(confidence, head)


def region_of(
    points: FloatArray, confidence: FloatArray, width: int, height: int, last: Box | None = None
) -> Box | None:
    """The square region to search next, from keypoints (17, 2) px and the ``last`` region; None where too few are seen."""
    seen = confidence > VISIBLE
    if seen.sum() < 3:
        return None
    low, high = points[seen].min(0), points[seen].max(0)
    # The detector puts points of cut-off limbs just beyond the frame, where a region would be empty.
    low, high = np.maximum(low, 0), np.minimum(high, [width - 1, height - 1])
    centre = (low + high) / 2
    size = float((high - low).max()) * MARGIN
    torso = points[TORSO][seen[TORSO]]
    if len(torso) >= 3:  # limbs that are not seen yet may reach this far
        size = max(size, TORSO_ROOM * float(np.ptp(torso, axis=0).max()))
    if seen[SHOULDERS].all():
        size = max(size, SHOULDER_ROOM * float(np.linalg.norm(points[5] - points[6])))
    face = points[FACE][seen[FACE]]
    if len(face) >= 3:  # room for a body of this head's size, whatever hides it
        head = float(np.ptp(face, axis=0).max())
        size = max(size, HEAD_ROOM * head)
        if len(torso) < 2:
            centre = centre + np.array([0.0, 1.5 * head])
    if last is not None:
        size = max(size, SHRINK * last.size)
    size = max(size, MIN_PX)
    return Box(float(centre[0]), float(centre[1]), min(size, MAX_OF_IMAGE * max(width, height)))


def same_place(a: Box, b: Box, share: float) -> bool:
    """Whether two regions are of one size, roughly, and their centres nearer than ``share`` of it."""
    size = max(a.size, b.size)
    return abs(a.x - b.x) < share * size and abs(a.y - b.y) < share * size and min(a.size, b.size) > 0.4 * size


def widened(box: Box, width: int, height: int, factor: float = 1.15) -> Box:
    """A wider region at the same place, for a person who was not seen, in a frame of ``width`` and ``height`` px."""
    return Box(box.x, box.y, min(box.size * factor, MAX_OF_IMAGE * max(width, height)))
