"""Compiled inner loops of tracking: where a person's keypoints are and may be searched. Single thread, GIL released.

In NumPy each is ten to fifty operations on a few numbers, which take some fifty times as long. Arithmetic is that of NumPy to
the last digit.
"""

from __future__ import annotations

import numpy as np
from numba import types

from common.arrays import AnyIntArray, BoolArray, FloatArray, ImageArray
from common.compiled import njit

_POINTS = types.Array(types.float32, 2, "C", readonly=True)
_NUMBERS = types.Array(types.float32, 1, "C", readonly=True)
_OUT = types.Array(types.float32, 1, "C")
_PLACES = types.Array(types.intp, 1, "C", readonly=True)
_GROUPS = types.Array(types.boolean, 2, "C", readonly=True)
_BOXES = types.Array(types.float32, 2, "C")
_IMAGE = types.Array(types.uint8, 3, "C", readonly=True)
_COUNTS = types.Array(types.float32, 2, "C")
_COVERED = types.Array(types.boolean, 2, "C", readonly=True)
_F = types.float64


@njit(_F(_NUMBERS, types.intp), cache=True, nogil=True)
def mean_of_largest(values: FloatArray, count: int) -> float:
    """Mean of the ``count`` largest of ``values`` (N,)."""
    largest = np.sort(values)[-count:]
    total = np.float32(0)
    for one in largest:
        total += one
    return float(total / np.float32(len(largest)))


@njit(types.boolean(_POINTS, _NUMBERS, _POINTS, _NUMBERS, _PLACES, _F, _OUT), cache=True, nogil=True)
def mean_move(
    before: FloatArray,
    sure_before: FloatArray,
    now: FloatArray,
    sure_now: FloatArray,
    chosen: AnyIntArray,
    least: float,
    out: FloatArray,
) -> bool:
    """Writes to ``out`` (2,) the mean displacement of the ``chosen`` keypoints (17, 2) that are surer than ``least`` both
    ``before`` and ``now``. False, and zeros, where there are none."""
    count = np.float32(0)
    out[:] = np.float32(0)
    for k in chosen:
        if sure_before[k] > np.float32(least) and sure_now[k] > np.float32(least):
            out[0] += now[k, 0] - before[k, 0]
            out[1] += now[k, 1] - before[k, 1]
            count += np.float32(1)
    if count == 0:
        return False
    out[0] /= count
    out[1] /= count
    return True


@njit(types.void(_POINTS, _NUMBERS, _F, _GROUPS, _BOXES), cache=True, nogil=True)
def find_boxes(points: FloatArray, confidence: FloatArray, least: float, groups: BoolArray, out: FloatArray) -> None:
    """Writes the box around the visible keypoints of each group to ``out`` (G, 6): their number, then left, top, right, bottom
    and the longer side, px; zeros where none is visible.

    ``points`` (17, 2) px are visible with a ``confidence`` (17,) over ``least``; ``groups`` (G, 17) says which are in which.
    """
    out[:] = np.float32(0)
    for group in range(len(groups)):
        box = out[group]
        for k in range(len(points)):
            if not (groups[group, k] and confidence[k] > np.float32(least)):
                continue
            for axis in range(2):
                value = points[k, axis]
                if box[0] == 0 or value < box[1 + axis]:
                    box[1 + axis] = value
                if box[0] == 0 or value > box[3 + axis]:
                    box[3 + axis] = value
            box[0] += np.float32(1)
        box[5] = max(box[3] - box[1], box[4] - box[2])


@njit(types.intp(_IMAGE, _IMAGE, _COVERED, _COVERED, types.intp), cache=True, nogil=True)
def count_changed(image: ImageArray, last: ImageArray, covered: BoolArray, known: BoolArray, most: int) -> int:
    """Number of pixels of ``image`` (h, w, 3) that differ from ``last`` by more than ``most`` in a channel, without those that
    are ``covered`` or ``known`` (h, w)."""
    count = 0
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            if covered[row, column] or known[row, column]:
                continue
            for channel in range(3):
                if abs(np.intp(image[row, column, channel]) - np.intp(last[row, column, channel])) > most:
                    count += 1
                    break
    return count


@njit(types.void(_IMAGE, _COUNTS), cache=True, nogil=True)
def count_chromaticities(image: ImageArray, counts: FloatArray) -> None:
    """Writes how many pixels of a BGR ``image`` (h, w, 3) have each share of blue (rows) and green (columns) to ``counts``
    (16, 16): from 0.13 to 0.53, eight grey levels being added to each channel."""
    counts[:] = np.float32(0)
    eight, least, reach, bins = np.float32(8), np.float32(0.13), np.float32(0.4), np.float32(16)
    for line in image:
        for pixel in line:
            blue, green = np.float32(pixel[0]) + eight, np.float32(pixel[1]) + eight
            total = blue + green + (np.float32(pixel[2]) + eight)
            row = int(min(max((blue / total - least) / reach * bins, np.float32(0)), np.float32(15)))
            column = int(min(max((green / total - least) / reach * bins, np.float32(0)), np.float32(15)))
            counts[row, column] += np.float32(1)
