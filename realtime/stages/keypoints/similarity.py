"""Similarity of people in images: positions of keypoints (object keypoint similarity), size, and colours of clothes."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np

from common.arrays import AnyArray, FloatArray, ImageArray
from realtime.stages.keypoints.kernels import (
    COLOUR_BINS,
    fill_histogram,
    overlap_of,
    sample_between,
    similarity,
    size_of,
)

SIGMAS: Final = np.array(
    [
        0.026,
        0.025,
        0.025,
        0.035,
        0.035,
        0.079,
        0.079,
        0.072,
        0.072,
        0.062,
        0.062,
        0.107,
        0.107,
        0.087,
        0.087,
        0.089,
        0.089,
    ],
    np.float32,
)
"""COCO's standard deviations of annotated keypoints, as a share of the square root of the person's area (cocodataset.org)."""
COMPARABLE: Final = 0.2
"""Least confidence of keypoints that are compared."""
_AREA_M: Final = 0.7  # square root of a person's area in an image, metres at the person's depth
_BONES: Final = np.array(
    [
        *[(5, 6), (5, 11), (6, 12), (5, 7), (6, 8), (7, 9), (8, 10), (11, 13), (12, 14), (13, 15), (14, 16)],
        *[(0, 5), (0, 6), (3, 4), (1, 3), (2, 4)],
    ],
    np.intp,
)
_LENGTHS: Final = np.array(
    [0.36, 0.50, 0.50, 0.28, 0.28, 0.25, 0.25, 0.41, 0.41, 0.41, 0.41, 0.31, 0.31, 0.16, 0.11, 0.11], np.float32
)
"""Lengths of these bones of an adult, metres. Foreshortening makes bones shorter in the image, never longer, so the relatively
longest ones give the size."""


def plain(values: AnyArray) -> FloatArray:
    """``values`` as the compiled loops take them: float32 and contiguous."""
    return np.ascontiguousarray(values, np.float32)


def oks(
    a: FloatArray, sure_a: FloatArray, b: FloatArray, sure_b: FloatArray, scale: float, tolerance: float = 2.0
) -> float:
    """Object keypoint similarity, 0..1, of two sets of keypoints (17, 2) px with confidences (17,).

    ``scale`` is the person's size, px per metre. ``tolerance`` is a factor on COCO's deviations, which are those of
    annotations: predicted positions are less exact. Only keypoints that are confident in both count; 0 if there are fewer than
    three.
    """
    metres = tolerance * _AREA_M * max(scale, 1.0)
    return similarity(plain(a), plain(sure_a), plain(b), plain(sure_b), SIGMAS, metres, COMPARABLE)


def pixels_per_metre(points: FloatArray, confidence: FloatArray) -> float:
    """A person's size in the image, px per metre (focal length over depth), from the least foreshortened bones."""
    return size_of(plain(points), plain(confidence), _BONES, _LENGTHS, COMPARABLE)


def size_fit(a: float, b: float) -> float:
    """Agreement of two sizes, px per metre: 1 if they are equal, 0.67 at a ratio of 1.25, 0.1 at 1.7."""
    return math.exp(-((math.log(a / b) / 0.25) ** 2) / 2)


_TORSO: Final = np.array([(5, 6, 11, 12)], np.intp)
_TORSO_GRID: Final = np.stack(np.meshgrid(np.linspace(0.2, 0.8, 6), np.linspace(0.1, 0.9, 8)), -1).reshape(-1, 2)
_LEGS: Final = np.array([(11, 13, 11, 13), (13, 15, 13, 15), (12, 14, 12, 14), (14, 16, 14, 16)], np.intp)
_LEG_GRID: Final = np.stack([np.linspace(0.15, 0.9, 8), np.zeros(8)], 1)
_PARTS: Final = ((_TORSO, _TORSO_GRID), (_LEGS, _LEG_GRID))
"""Pairs of lines through keypoints, and where pixels are taken between them: see `sample_between`."""


class Appearance:
    """Colours of a person's clothes: a histogram of the torso and one of the legs, averaged over frames."""

    __slots__ = ("_parts", "_weights")

    def __init__(self) -> None:
        self._parts = np.zeros((len(_PARTS), COLOUR_BINS), np.float32)
        self._weights = [0.0] * len(_PARTS)

    def add(self, image: ImageArray, points: FloatArray, confidence: FloatArray) -> None:
        """Add the person with these keypoints in a BGR image. It has at least a tenth of the weight in the average."""
        keypoints = plain(points), plain(confidence)
        histogram = np.empty(COLOUR_BINS, np.float32)
        for place, (lines, grid) in enumerate(_PARTS):
            samples: ImageArray = np.empty((len(lines) * len(grid), 3), np.uint8)
            count = sample_between(image, *keypoints, COMPARABLE, lines, grid, samples)
            if not count:
                continue
            colours = np.asarray(cv2.cvtColor(samples[None, :count], cv2.COLOR_BGR2HSV), np.uint8)
            if fill_histogram(colours[0], histogram):
                self._weights[place] = min(self._weights[place] + 1, 10.0)
                self._parts[place] += (histogram - self._parts[place]) / np.float32(self._weights[place])

    def likeness(self, other: Appearance) -> float | None:
        """Bhattacharyya coefficient, 0..1, mean over the parts that both have; None if there is no such part."""
        known = [place for place, weight in enumerate(self._weights) if weight and other._weights[place]]
        if not known:
            return None
        return sum(overlap_of(self._parts[place], other._parts[place]) for place in known) / len(known)


def appearance_of(image: ImageArray, points: FloatArray, confidence: FloatArray) -> Appearance:
    """The appearance of the person with these keypoints in one image."""
    one = Appearance()
    one.add(image, points, confidence)
    return one
