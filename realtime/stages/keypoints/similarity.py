"""How alike two sets of keypoints are: in place (object keypoint similarity), in size, and in what the person wears."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from common.arrays import FloatArray, ImageArray

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
"""COCO's deviations of annotators for each keypoint, as a share of the root of the person's area (cocodataset.org)."""
COMPARABLE: Final = 0.2
"""Confidence from which on a keypoint is compared."""
_AREA_M: Final = 0.7  # root of a person's area in an image, in metres of the person
_BONES: Final = np.array(
    [
        *[(5, 6), (5, 11), (6, 12), (5, 7), (6, 8), (7, 9), (8, 10), (11, 13), (12, 14), (13, 15), (14, 16)],
        *[(0, 5), (0, 6), (3, 4), (1, 3), (2, 4)],
    ]
)
_LENGTHS: Final = np.array(
    [0.36, 0.50, 0.50, 0.28, 0.28, 0.25, 0.25, 0.41, 0.41, 0.41, 0.41, 0.31, 0.31, 0.16, 0.11, 0.11], np.float32
)
"""Metres between COCO keypoints of an adult. Seen from anywhere a bone is at most so long: the longest ones tell the size."""
_BINS: Final = 12


def oks(
    a: FloatArray, sure_a: FloatArray, b: FloatArray, sure_b: FloatArray, scale: float, tolerance: float = 2.0
) -> float:
    """Object keypoint similarity, 0..1, of two sets of keypoints (17, 2) px with confidences (17,).

    ``scale`` is the person's size, px per metre. ``tolerance`` widens COCO's deviations: here an expectation is compared with
    what was found, not two annotations of one image. Keypoints that only one of them sees do not count; 0 where fewer than
    three are seen by both.
    """
    both = (sure_a > COMPARABLE) & (sure_b > COMPARABLE)
    if both.sum() < 3:
        return 0.0
    reach = 2 * SIGMAS[both] * (tolerance * _AREA_M * max(scale, 1.0))
    squared = ((a[both] - b[both]) ** 2).sum(1)
    return float(np.exp(-squared / (2 * reach**2)).mean())


def pixels_per_metre(points: FloatArray, confidence: FloatArray) -> float:
    """The size of a person in the image, from the bones that are longest in it: 1 / depth, but for the focal length."""
    seen = (confidence[_BONES] > COMPARABLE).all(1)
    if not seen.any():
        return 1.0
    ends = points[_BONES[seen]]
    lengths = np.sort(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1) / _LENGTHS[seen])
    # Not the longest of many, which may be an outlier.
    return max(float(lengths[-3:].mean() if len(lengths) >= 6 else lengths[-2:].mean()), 1.0)


def size_fit(a: float, b: float) -> float:
    """How well two sizes, px per metre, go together: 1 for the same, 0.6 at a quarter more, 0.1 at 1.7 times."""
    return float(np.exp(-((np.log(a / b) / 0.25) ** 2) / 2))


_TORSO_GRID: Final = np.stack(np.meshgrid(np.linspace(0.2, 0.8, 6), np.linspace(0.1, 0.9, 8)), -1).reshape(-1, 2)
_ALONG: Final = np.linspace(0.15, 0.9, 8)


class Appearance:
    """A person's clothes: a histogram of colours of the torso, and one of the legs, averaged over what was seen."""

    __slots__ = ("_parts", "_weights")

    def __init__(self) -> None:
        self._parts = np.zeros((2, _BINS), np.float32)
        self._weights = np.zeros(2, np.float32)

    def add(self, image: ImageArray, points: FloatArray, confidence: FloatArray) -> None:
        """Take in one more BGR image of the person with these keypoints; the newest counts at least a tenth."""
        for place, samples in enumerate((_torso(points, confidence), _legs(points, confidence))):
            histogram = _histogram(image, samples)
            if histogram is None:
                continue
            self._weights[place] = min(self._weights[place] + 1, 10)
            self._parts[place] += (histogram - self._parts[place]) / self._weights[place]

    def likeness(self, other: Appearance) -> float | None:
        """Bhattacharyya coefficient, 0..1, mean of the parts that both know; None where there is none."""
        known = (self._weights > 0) & (other._weights > 0)
        if not known.any():
            return None
        return float(np.sqrt(self._parts[known] * other._parts[known]).sum(1).mean())


def appearance_of(image: ImageArray, points: FloatArray, confidence: FloatArray) -> Appearance:
    """The appearance of the person with these keypoints in one image."""
    one = Appearance()
    one.add(image, points, confidence)
    return one


def _torso(points: FloatArray, confidence: FloatArray) -> FloatArray | None:
    if (confidence[[5, 6, 11, 12]] < COMPARABLE).any():
        return None
    across, down = _TORSO_GRID[:, :1], _TORSO_GRID[:, 1:]
    upper = points[5] * (1 - across) + points[6] * across
    lower = points[11] * (1 - across) + points[12] * across
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


def _legs(points: FloatArray, confidence: FloatArray) -> FloatArray | None:
    lines = [
        points[a] + (points[b] - points[a]) * _ALONG[:, None]
        for a, b in ((11, 13), (13, 15), (12, 14), (14, 16))
        if confidence[a] > COMPARABLE and confidence[b] > COMPARABLE
    ]
    return np.concatenate(lines).astype(np.float32) if lines else None


def _histogram(image: ImageArray, samples: FloatArray | None) -> FloatArray | None:
    """Eight hues, weighted by how colourful they are, and four greys by brightness; None for too few samples."""
    if samples is None:
        return None
    height, width = image.shape[:2]
    place = np.rint(samples).astype(np.intp)
    inside = (place >= 0).all(1) & (place[:, 0] < width) & (place[:, 1] < height)
    if inside.sum() < 12:
        return None
    place = place[inside]
    colours = cv2.cvtColor(image[place[:, 1], place[:, 0]][None], cv2.COLOR_BGR2HSV)[0].astype(np.float32)
    hue, saturation, value = colours.T
    # The hue of dark cloth is noise.
    colourful = np.clip(saturation / 128, 0, 1) * np.clip(value / 64, 0, 1)
    result = np.zeros(_BINS, np.float32)
    # Each sample is shared by two neighbouring bins, so that a little less light does not move it from one to the other.
    for position, count, first, weight, around in (
        (hue / 180 * 8, 8, 0, colourful, True),
        (value / 256 * 3, 4, 8, 1 - colourful, False),
    ):
        low = np.floor(position).astype(np.intp)
        part = position - low
        high = (low + 1) % count if around else np.minimum(low + 1, count - 1)
        result[first : first + count] += np.bincount(low % count, weight * (1 - part), count)
        result[first : first + count] += np.bincount(high, weight * part, count)
    return result / max(float(result.sum()), 1e-6)
