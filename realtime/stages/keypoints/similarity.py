"""Similarity of people in images: positions of keypoints (object keypoint similarity), size, and colours of clothes."""

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
"""COCO's standard deviations of annotated keypoints, as a share of the square root of the person's area (cocodataset.org)."""
COMPARABLE: Final = 0.2
"""Least confidence of keypoints that are compared."""
_AREA_M: Final = 0.7  # square root of a person's area in an image, metres at the person's depth
_BONES: Final = np.array(
    [
        *[(5, 6), (5, 11), (6, 12), (5, 7), (6, 8), (7, 9), (8, 10), (11, 13), (12, 14), (13, 15), (14, 16)],
        *[(0, 5), (0, 6), (3, 4), (1, 3), (2, 4)],
    ]
)
_LENGTHS: Final = np.array(
    [0.36, 0.50, 0.50, 0.28, 0.28, 0.25, 0.25, 0.41, 0.41, 0.41, 0.41, 0.31, 0.31, 0.16, 0.11, 0.11], np.float32
)
"""Lengths of these bones of an adult, metres. Foreshortening makes bones shorter in the image, never longer, so the relatively
longest ones give the size."""
_BINS: Final = 12


def oks(
    a: FloatArray, sure_a: FloatArray, b: FloatArray, sure_b: FloatArray, scale: float, tolerance: float = 2.0
) -> float:
    """Object keypoint similarity, 0..1, of two sets of keypoints (17, 2) px with confidences (17,).

    ``scale`` is the person's size, px per metre. ``tolerance`` is a factor on COCO's deviations, which are those of
    annotations: predicted positions are less exact. Only keypoints that are confident in both count; 0 if there are fewer than
    three.
    """
    both = (sure_a > COMPARABLE) & (sure_b > COMPARABLE)
    if both.sum() < 3:
        return 0.0
    reach = 2 * SIGMAS[both] * (tolerance * _AREA_M * max(scale, 1.0))
    squared = ((a[both] - b[both]) ** 2).sum(1)
    return float(np.exp(-squared / (2 * reach**2)).mean())


def pixels_per_metre(points: FloatArray, confidence: FloatArray) -> float:
    """A person's size in the image, px per metre (focal length over depth), from the least foreshortened bones."""
    seen = (confidence[_BONES] > COMPARABLE).all(1)
    if not seen.any():
        return 1.0
    ends = points[_BONES[seen]]
    lengths = np.sort(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1) / _LENGTHS[seen])
    # A mean, because the longest one may be an outlier.
    return max(float(lengths[-3:].mean() if len(lengths) >= 6 else lengths[-2:].mean()), 1.0)


def size_fit(a: float, b: float) -> float:
    """Agreement of two sizes, px per metre: 1 if they are equal, 0.67 at a ratio of 1.25, 0.1 at 1.7."""
    return float(np.exp(-((np.log(a / b) / 0.25) ** 2) / 2))


_TORSO_GRID: Final = np.stack(np.meshgrid(np.linspace(0.2, 0.8, 6), np.linspace(0.1, 0.9, 8)), -1).reshape(-1, 2)
_ALONG: Final = np.linspace(0.15, 0.9, 8)


class Appearance:
    """Colours of a person's clothes: a histogram of the torso and one of the legs, averaged over frames."""

    __slots__ = ("_parts", "_weights")

    def __init__(self) -> None:
        self._parts = np.zeros((2, _BINS), np.float32)
        self._weights = np.zeros(2, np.float32)

    def add(self, image: ImageArray, points: FloatArray, confidence: FloatArray) -> None:
        """Add the person with these keypoints in a BGR image. It has at least a tenth of the weight in the average."""
        for place, samples in enumerate((_torso(points, confidence), _legs(points, confidence))):
            histogram = _histogram(image, samples)
            if histogram is None:
                continue
            self._weights[place] = min(self._weights[place] + 1, 10)
            self._parts[place] += (histogram - self._parts[place]) / self._weights[place]

    def likeness(self, other: Appearance) -> float | None:
        """Bhattacharyya coefficient, 0..1, mean over the parts that both have; None if there is no such part."""
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
    """Eight bins of hue, weighted by saturation and brightness, and four of brightness for grey; None for too few samples."""
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
    # Each sample is shared between two neighbouring bins, so that small changes of light do not move it to another bin.
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
