"""The region to search for a person's keypoints: the square around those that were found last."""

from __future__ import annotations

import numpy as np

from body.joints import KEYPOINTS
from common.arrays import FloatArray
from realtime.records import Box
from realtime.stages.keypoints.similarity import plain
from realtime.stages.tracking.kernels import find_boxes, mean_of_largest
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

_UPPER = 7  # keypoints of face and shoulders, which come first
_GROUPS = np.array([[True] * KEYPOINTS, np.isin(range(KEYPOINTS), TORSO), np.isin(range(KEYPOINTS), FACE)])
_KEEP, _ACCEPT = 0.38, 0.42
"""Least mean confidence of the six most confident keypoints, to keep following a person and to accept a new one. Lightning
reaches 0.29 (99th percentile) in empty rooms, at most 0.40 where people are occluded, and at least 0.44 on the hardest person
of the clips that were examined."""
_KEEP_HEAD, _ACCEPT_HEAD = 0.22, 0.30  # likewise of the three most confident of face and shoulders


def mean_confidence(confidence: FloatArray) -> float:
    """Mean confidence of the six most confident keypoints: high for half-visible people, low for a coat on a chair."""
    return mean_of_largest(plain(confidence), 6)


def has_head(confidence: FloatArray, least: float) -> bool:
    """Whether face or shoulders are detected: the network takes table legs for shins, but hardly anything for a head."""
    return mean_of_largest(plain(confidence[:_UPPER]), 3) >= least


def is_believable(confidence: FloatArray, strict: bool = False) -> bool:
    """Whether keypoints with these confidences (17,) are a person's; ``strict``: with the thresholds for a new person."""
    least, head = (_ACCEPT, _ACCEPT_HEAD) if strict else (_KEEP, _KEEP_HEAD)
    return mean_confidence(confidence) >= least and has_head(confidence, head)


def region_of(
    points: FloatArray, confidence: FloatArray, width: int, height: int, last: Box | None = None
) -> Box | None:
    """The square region to search next, from keypoints (17, 2) px and the ``last`` region; None where too few are seen."""
    boxes = np.empty((3, 6), np.float32)
    find_boxes(plain(points), plain(confidence), VISIBLE, _GROUPS, boxes)
    (seen, left, top, right, bottom, _), torso, face = boxes.tolist()
    if seen < 3:
        return None
    # The detector puts points of cut-off limbs just beyond the frame, where a region would be empty.
    left, top, right, bottom = max(left, 0.0), max(top, 0.0), min(right, width - 1.0), min(bottom, height - 1.0)
    x, y = (left + right) / 2, (top + bottom) / 2
    size = max(right - left, bottom - top) * MARGIN
    if torso[0] >= 3:  # limbs that are not seen yet may reach this far
        size = max(size, TORSO_ROOM * torso[5])
    if min(confidence[SHOULDERS]) > VISIBLE:
        across, down = points[SHOULDERS[0]] - points[SHOULDERS[1]]
        size = max(size, SHOULDER_ROOM * float(np.sqrt(across * across + down * down)))
    if face[0] >= 3:  # room for a body of this head's size, whatever hides it
        head = face[5]
        size = max(size, HEAD_ROOM * head)
        if torso[0] < 2:
            y += 1.5 * head
    if last is not None:
        size = max(size, SHRINK * last.size)
    size = max(size, MIN_PX)
    return Box(x, y, min(size, MAX_OF_IMAGE * max(width, height)))


def same_place(a: Box, b: Box, share: float) -> bool:
    """Whether two regions are of one size, roughly, and their centres nearer than ``share`` of it."""
    size = max(a.size, b.size)
    return abs(a.x - b.x) < share * size and abs(a.y - b.y) < share * size and min(a.size, b.size) > 0.4 * size


def widened(box: Box, width: int, height: int, factor: float = 1.15) -> Box:
    """A wider region at the same place, for a person who was not seen, in a frame of ``width`` and ``height`` px."""
    return Box(box.x, box.y, min(box.size * factor, MAX_OF_IMAGE * max(width, height)))
