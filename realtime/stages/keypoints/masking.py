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
    mine, is_drawn = _Figure(matrix, own, size), False
    figures = [(pixels_per_metre(*other) > scale, _Figure(matrix, other, size)) for other in others]
    for nearer, thickness in ((False, _OWN_BEFORE), (True, _OWN_BEHIND)):
        for is_nearer, figure in figures:
            if is_nearer == nearer:
                figure.draw(mask, 255, 1.0)
                is_drawn = True
        if is_drawn:
            mine.draw(mask, 0, thickness)
    if not mask.any():
        return
    cv2.copyTo(cv2.blur(crop, (size // 4, size // 4)), mask, crop)


class _Figure:
    """What is drawn of a person in a crop of ``size``² to which ``matrix`` (2, 3) leads."""

    def __init__(self, matrix: DoubleArray, outline: Outline, size: int) -> None:
        points = outline.points @ matrix[:, :2].T + matrix[:, 2]
        # OpenCV cannot draw to very large coordinates.
        points = np.minimum(np.maximum(points, -4 * size), 5 * size)
        self._points, self._place = points, np.rint(points).astype(int)
        self._seen = outline.confidence > _SEEN
        self._scale = pixels_per_metre(points.astype(np.float32), outline.confidence)

    def draw(self, mask: ImageArray, value: int, factor: float) -> None:
        """Set the person's pixels in ``mask`` to ``value``; ``factor`` makes the limbs thicker."""
        place, seen, scale = self._place.tolist(), self._seen.tolist(), self._scale * factor
        thick = max(int(_LIMB_M * scale), 2)
        for a, b in _LIMBS:
            if seen[a] and seen[b]:
                cv2.line(mask, place[a], place[b], value, thick)
        if seen[5] and seen[6] and seen[11] and seen[12]:
            cv2.fillConvexPoly(mask, self._place[[5, 6, 12, 11]], value)
        face = self._points[:5][self._seen[:5]]
        if len(face):
            cv2.circle(mask, np.rint(face.mean(0)).astype(int).tolist(), max(int(_HEAD_M * scale), 2), value, -1)
