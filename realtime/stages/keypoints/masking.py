"""Blurs other people in a crop, so that the keypoint network does not take them for the person whose crop it is."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from common.arrays import DoubleArray, FloatArray, ImageArray
from realtime.records import Box
from realtime.stages.crops import crop_matrix
from realtime.stages.keypoints.similarity import pixels_per_metre

_LIMBS = ((5, 7), (7, 9), (6, 8), (8, 10), (11, 13), (13, 15), (12, 14), (14, 16), (5, 6), (11, 12), (5, 11), (6, 12))
_LIMB_M, _HEAD_M = 0.17, 0.16
"""How thick a limb is drawn, and a head's radius, metres."""
_OWN_BEFORE, _OWN_BEHIND = 1.3, 0.8
"""Factors on the thickness of the person's own limbs, which are not blurred: more against people behind, who hide nothing of
the person, than against people in front."""
_SEEN = 0.15


class Outline(NamedTuple):
    """Where a person's keypoints are expected."""

    points: FloatArray
    """float32 (17, 2), COCO order, image pixels."""
    confidence: FloatArray
    """float32 (17,), confidences, 0..1."""


def hide(crop: ImageArray, box: Box, own: Outline, others: tuple[Outline, ...]) -> None:
    """Blur ``others`` in the square ``crop`` of ``box``, in place, except where ``own`` covers them. Larger people are taken
    to be in front."""
    size = len(crop)
    mask: ImageArray = np.zeros((size, size), np.uint8)
    matrix = crop_matrix(box, size)
    scale = pixels_per_metre(*own)
    in_front = [pixels_per_metre(*other) > scale for other in others]
    for nearer, thickness in ((False, _OWN_BEFORE), (True, _OWN_BEHIND)):
        for other, is_nearer in zip(others, in_front, strict=True):
            if is_nearer == nearer:
                _draw(mask, matrix, other, 255, 1.0)
        _draw(mask, matrix, own, 0, thickness)
    if not mask.any():
        return
    blurred = cv2.blur(crop, (size // 4, size // 4))
    np.copyto(crop, blurred, where=mask[..., None] > 0)


def _draw(mask: ImageArray, matrix: DoubleArray, outline: Outline, value: int, factor: float) -> None:
    points = outline.points @ matrix[:, :2].T + matrix[:, 2]
    # OpenCV cannot draw to very large coordinates.
    points = np.clip(points, -4 * len(mask), 5 * len(mask))
    place = np.rint(points).astype(int)
    seen = outline.confidence > _SEEN
    scale = pixels_per_metre(points.astype(np.float32), outline.confidence) * factor
    thick = max(int(_LIMB_M * scale), 2)
    for a, b in _LIMBS:
        if seen[a] and seen[b]:
            cv2.line(mask, place[a].tolist(), place[b].tolist(), value, thick)
    if seen[[5, 6, 11, 12]].all():
        cv2.fillConvexPoly(mask, place[[5, 6, 12, 11]], value)
    face = points[:5][seen[:5]]
    if len(face):
        centre = np.rint(face.mean(0)).astype(int).tolist()
        cv2.circle(mask, centre, max(int(_HEAD_M * scale), 2), value, -1)
