"""Compiled inner loops on the keypoints of one person: similarity, size, and colours of clothes. Single thread, GIL released.

In NumPy each is ten to fifty operations on a few numbers, which take some hundred times as long. Arithmetic is float32 in
NumPy's order, so that results are NumPy's but for the last digit of an exponential.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import types

from common.arrays import AnyIntArray, DoubleArray, FloatArray, ImageArray
from common.compiled import njit

COLOUR_BINS: Final = 12
"""Bins of a histogram of colours: the hues, then four of brightness."""
_HUES: Final = 8
_LEAST_SAMPLES: Final = 12

_POINTS = types.Array(types.float32, 2, "C", readonly=True)
_NUMBERS = types.Array(types.float32, 1, "C", readonly=True)
_BONES = types.Array(types.intp, 2, "C", readonly=True)
_GRID = types.Array(types.float64, 2, "C", readonly=True)
_IMAGE = types.Array(types.uint8, 3, "A", readonly=True)
_SAMPLES = types.Array(types.uint8, 2, "C")
_PIXELS = types.Array(types.uint8, 2, "C", readonly=True)
_HISTOGRAM = types.Array(types.float32, 1, "C")


@njit(
    types.float64(_POINTS, _NUMBERS, _POINTS, _NUMBERS, _NUMBERS, types.float64, types.float64), cache=True, nogil=True
)
def similarity(
    a: FloatArray,
    sure_a: FloatArray,
    b: FloatArray,
    sure_b: FloatArray,
    sigmas: FloatArray,
    metres: float,
    comparable: float,
) -> float:
    """`realtime.stages.keypoints.similarity.oks` of keypoints ``a``, ``b`` (17, 2) px with confidences (17,).

    ``sigmas`` (17,) times twice ``metres`` is the reach in px, ``comparable`` the least confidence.
    """
    least, factor = np.float32(comparable), np.float32(metres)
    total, count = 0.0, 0
    for k in range(len(sigmas)):
        if sure_a[k] > least and sure_b[k] > least:
            reach = np.float32(2) * sigmas[k] * factor
            across, down = a[k, 0] - b[k, 0], a[k, 1] - b[k, 1]
            total += math.exp(-(across * across + down * down) / (np.float32(2) * (reach * reach)))
            count += 1
    return total / count if count >= 3 else 0.0


@njit(types.float64(_POINTS, _NUMBERS, _BONES, _NUMBERS, types.float64), cache=True, nogil=True)
def size_of(
    points: FloatArray, confidence: FloatArray, bones: AnyIntArray, lengths: FloatArray, comparable: float
) -> float:
    """`realtime.stages.keypoints.similarity.pixels_per_metre` of keypoints (17, 2) px.

    ``bones`` (B, 2) are the numbers of the keypoints at both ends, ``lengths`` (B,) metres.
    """
    least = np.float32(comparable)
    sizes, count = np.empty(len(lengths), np.float32), 0
    for n in range(len(lengths)):
        first, second = bones[n, 0], bones[n, 1]
        if confidence[first] > least and confidence[second] > least:
            across, down = points[first, 0] - points[second, 0], points[first, 1] - points[second, 1]
            sizes[count] = np.sqrt(across * across + down * down) / lengths[n]
            count += 1
    if count == 0:
        return 1.0
    longest = np.sort(sizes[:count])[-3 if count >= 6 else -2 :]
    total = np.float32(0)
    for one in longest:
        total += one
    return max(float(total / np.float32(len(longest))), 1.0)


@njit(types.intp(_IMAGE, _POINTS, _NUMBERS, types.float64, _BONES, _GRID, _SAMPLES), cache=True, nogil=True)
def sample_between(
    image: ImageArray,
    points: FloatArray,
    confidence: FloatArray,
    comparable: float,
    lines: AnyIntArray,
    grid: DoubleArray,
    out: ImageArray,
) -> int:
    """Writes the pixels of ``image`` (H, W, 3) between pairs of lines through keypoints (17, 2) px to ``out`` (N, 3), those
    within the image; returns their number.

    ``lines`` (L, 4) are numbers of keypoints: the first two are the ends of one line, the others those of the second. Lines
    with a ``confidence`` (17,) up to ``comparable`` are left out. ``grid`` (G, 2): shares of the way along the lines, and from
    the first to the second one.
    """
    height, width = image.shape[:2]
    count, least = 0, np.float32(comparable)
    for line in lines:
        if min(confidence[line[0]], confidence[line[1]], confidence[line[2]], confidence[line[3]]) <= least:
            continue
        for across, down in grid:
            x = (points[line[0], 0] * (1 - across) + points[line[1], 0] * across) * (1 - down) + (
                points[line[2], 0] * (1 - across) + points[line[3], 0] * across
            ) * down
            y = (points[line[0], 1] * (1 - across) + points[line[1], 1] * across) * (1 - down) + (
                points[line[2], 1] * (1 - across) + points[line[3], 1] * across
            ) * down
            column, row = int(np.rint(np.float32(x))), int(np.rint(np.float32(y)))
            if 0 <= column < width and 0 <= row < height:
                for channel in range(3):
                    out[count, channel] = image[row, column, channel]
                count += 1
    return count


@njit(types.boolean(_PIXELS, _HISTOGRAM), cache=True, nogil=True)
def fill_histogram(colours: ImageArray, out: FloatArray) -> bool:
    """Writes the histogram of ``colours`` (N, 3), OpenCV's hue, saturation and value, to ``out`` (`COLOUR_BINS`,).

    Hues are weighted by saturation and brightness; what is grey counts by brightness. False, and nothing written, for too few
    samples.
    """
    if len(colours) < _LEAST_SAMPLES:
        return False
    low_sum, high_sum = np.zeros(COLOUR_BINS), np.zeros(COLOUR_BINS)
    for hue, saturation, value in colours:
        # The hue of dark cloth is noise.
        strong = min(np.float32(saturation) / np.float32(128), np.float32(1))
        colourful = strong * min(np.float32(value) / np.float32(64), np.float32(1))
        # Each sample is shared between two neighbouring bins, so that small changes of light do not move it to another bin.
        place = np.float32(hue) / np.float32(180) * np.float32(_HUES)
        low = int(place)
        part = float(place) - low
        low_sum[low % _HUES] += colourful * (1 - part)
        high_sum[(low + 1) % _HUES] += colourful * part
        place = np.float32(value) / np.float32(256) * np.float32(COLOUR_BINS - _HUES - 1)
        low = int(place)
        part, grey = float(place) - low, np.float32(1) - colourful
        low_sum[_HUES + low] += grey * (1 - part)
        high_sum[min(_HUES + low + 1, COLOUR_BINS - 1)] += grey * part
    total = np.float32(0)
    for k in range(COLOUR_BINS):
        out[k] = np.float32(low_sum[k])
        out[k] = np.float32(out[k] + high_sum[k])
        total += out[k]
    total = max(total, np.float32(1e-6))
    for k in range(COLOUR_BINS):
        out[k] /= total
    return True


@njit(types.float64(_NUMBERS, _NUMBERS), cache=True, nogil=True)
def overlap_of(first: FloatArray, second: FloatArray) -> float:
    """Bhattacharyya coefficient of two histograms (`COLOUR_BINS`,), 0..1."""
    total = np.float32(0)
    for k in range(COLOUR_BINS):
        total += np.sqrt(first[k] * second[k])
    return float(total)
