"""Compiled inner loops of the world's stage: the vertical and the floor's plane. Single thread, GIL released.

The arithmetic is float64. In numpy each of them is tens of operations on a few numbers, which cost more than the sums.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from common.arrays import BoolArray, DoubleArray, FloatArray, Int64Array
from common.compiled import njit


def cross_product(first: DoubleArray, second: DoubleArray) -> DoubleArray:
    """The cross product (3,) of two vectors (3,): numpy's own takes ten times as long for a single one."""
    (a, b, c), (x, y, z) = first.tolist(), second.tolist()
    return np.array([b * z - c * y, c * x - a * z, a * y - b * x])


@njit(cache=True, nogil=True)
def keep_background(
    found: FloatArray,
    key: FloatArray,
    boxes: Int64Array,
    height: int,
    width: int,
    still_px: np.float32,
    good: BoolArray,
) -> tuple[int, int]:
    """Clears ``good`` (N,) for points that are not where the background is: at the edge of an image of ``height`` times
    ``width`` px, or within one of the ``boxes`` (B, 4) left, top, right, bottom, px.

    ``found`` (N, 2) are the points, px, ``key`` (N, 2) where they were. Returns how many are good, and how many of those are
    less than ``still_px`` from there along both axes.
    """
    count = still = 0
    for point in range(len(found)):
        x, y = found[point, 0], found[point, 1]
        fine = good[point] and 1 < x < width - 2 and 1 < y < height - 2
        for box in range(len(boxes)):
            fine &= not (boxes[box, 0] < x < boxes[box, 2] and boxes[box, 1] < y < boxes[box, 3])
        good[point] = fine
        if fine:
            count += 1
            still += max(abs(x - key[point, 0]), abs(y - key[point, 1])) < still_px
    return count, still


@njit(cache=True, nogil=True)
def set_tangents(up: DoubleArray, out: DoubleArray) -> None:
    """Writes `realtime.stages.world.plane_fit.tangents` of ``up`` (3,) to ``out`` (3, 2)."""
    x, y, z = up[0], up[1], up[2]
    if abs(x) < 0.9:  # up x (1, 0, 0)
        out[0, 0], out[1, 0], out[2, 0] = 0.0, z, -y
    else:  # up x (0, 1, 0)
        out[0, 0], out[1, 0], out[2, 0] = -z, 0.0, x
    length = math.sqrt(out[0, 0] ** 2 + out[1, 0] ** 2 + out[2, 0] ** 2)
    for row in range(3):
        out[row, 0] /= length
    out[0, 1] = y * out[2, 0] - z * out[1, 0]
    out[1, 1] = z * out[0, 0] - x * out[2, 0]
    out[2, 1] = x * out[1, 0] - y * out[0, 0]


@njit(cache=True, nogil=True)
def invert(matrix: DoubleArray, out: DoubleArray) -> None:
    """Writes the inverse of the positive definite ``matrix`` (N, N), which is lost, to ``out`` (N, N)."""
    size = len(matrix)
    out[:] = 0.0
    for k in range(size):
        out[k, k] = 1.0
    for k in range(size):
        pivot = matrix[k, k]
        for column in range(size):
            matrix[k, column] /= pivot
            out[k, column] /= pivot
        for row in range(size):
            share = matrix[row, k]
            if row != k and share != 0.0:
                for column in range(size):
                    matrix[row, column] -= share * matrix[k, column]
                    out[row, column] -= share * out[k, column]


@njit(cache=True, nogil=True)
def _project(basis, matrix, vector, up, normal, side):  # type: ignore[no-untyped-def]
    """``normal`` (2, 2) and ``side`` (2,) of u·A·u - 2 b·u in the tangent plane of ``up``."""
    for i in range(2):
        total = 0.0
        for row in range(3):
            slope = vector[row]
            for column in range(3):
                slope -= matrix[row, column] * up[column]
            total += basis[row, i] * slope
        side[i] = total
        for j in range(2):
            total = 0.0
            for row in range(3):
                for column in range(3):
                    total += basis[row, i] * matrix[row, column] * basis[column, j]
            normal[i, j] = total


@njit(cache=True, nogil=True)
def _move(up, basis, first, second):  # type: ignore[no-untyped-def]
    """Turn ``up`` (3,) by steps along the two columns of ``basis``."""
    for row in range(3):
        up[row] += basis[row, 0] * first + basis[row, 1] * second
    length = math.sqrt(up[0] ** 2 + up[1] ** 2 + up[2] ** 2)
    for row in range(3):
        up[row] /= length


@njit(cache=True, nogil=True)
def descend(matrix: DoubleArray, vector: DoubleArray, up: DoubleArray, rounds: int, covariance: DoubleArray) -> None:
    """`realtime.stages.world.vertical.nearest_up`: changes ``up`` (3,) in place and writes ``covariance`` (2, 2)."""
    basis, normal, side = np.empty((3, 2)), np.empty((2, 2)), np.empty(2)
    for _ in range(rounds):
        set_tangents(up, basis)
        _project(basis, matrix, vector, up, normal, side)
        normal[0, 0] += 1e-6
        normal[1, 1] += 1e-6
        invert(normal, covariance)
        first = covariance[0, 0] * side[0] + covariance[0, 1] * side[1]
        second = covariance[1, 0] * side[0] + covariance[1, 1] * side[1]
        _move(up, basis, min(max(first, -0.5), 0.5), min(max(second, -0.5), 0.5))


@njit(cache=True, nogil=True)
def _find_reliability(places, people, share, means, up, depth_sigma, reliability):  # type: ignore[no-untyped-def]
    """Share of each person's horizontal spread that errors of the distance do not explain: ``reliability`` (P,) 0..1."""
    reliability[:] = 0.0
    for n in range(len(places)):
        who = people[n]
        distance, rise = 0.0, 0.0
        for k in range(3):
            off = places[n, k] - means[who, k]
            distance += off * off
            rise += off * up[k]
        reliability[who] += share[n] * (distance - rise * rise)
    for who in range(len(reliability)):
        noise = depth_sigma**2 * (means[who, 0] ** 2 + means[who, 1] ** 2 + means[who, 2] ** 2)
        reliability[who] = max(1 - noise / max(reliability[who], 1e-9), 0.0)


@njit(cache=True, nogil=True)
def _add_places(  # type: ignore[no-untyped-def]
    places, people, weight, means, reliability, basis, up, height, factors, scale, deviation, row, normal, side
):
    """Add each place's row of the linearised problem to ``normal`` (3 + P, 3 + P) and ``side`` (3 + P,), by a robust weight
    of ``scale`` deviations."""
    unknowns = len(side)
    for n in range(len(places)):
        who = people[n]
        along = places[n, 0] * up[0] + places[n, 1] * up[1] + places[n, 2] * up[2]
        off = factors[who] * along + height
        near = 1 / (1 + (off / (scale * deviation)) ** 2)
        strength = weight[n] * near**2 / deviation**2
        row[:] = 0.0
        for k in range(3):
            shrunk = means[who, k] + reliability[who] * (places[n, k] - means[who, k])
            row[0] += factors[who] * shrunk * basis[k, 0]
            row[1] += factors[who] * shrunk * basis[k, 1]
        row[2] = 1.0
        row[3 + who] = along
        for i in range(unknowns):
            side[i] -= row[i] * strength * off
            for j in range(unknowns):
                normal[i, j] += row[i] * strength * row[j]


@njit(cache=True, nogil=True)
def _height_variance(places, weight, basis, covariance, row):  # type: ignore[no-untyped-def]
    """Variance of the plane's height in the weighted middle of the places, m²."""
    row[:] = 0.0
    row[2] = 1.0
    total = weight.sum()
    for n in range(len(places)):
        for k in range(3):
            row[0] += weight[n] * places[n, k] * basis[k, 0] / total
            row[1] += weight[n] * places[n, k] * basis[k, 1] / total
    variance = 0.0
    for i in range(len(row)):
        for j in range(len(row)):
            variance += row[i] * covariance[i, j] * row[j]
    return variance


@njit(cache=True, nogil=True)
def _multiply(matrix, vector, product):  # type: ignore[no-untyped-def]
    """Write ``matrix`` (N, N) @ ``vector`` (N,) to ``product`` (N,)."""
    for i in range(len(vector)):
        product[i] = 0.0
        for j in range(len(vector)):
            product[i] += matrix[i, j] * vector[j]


@njit(cache=True, nogil=True)
def fit_plane_rounds(
    places: DoubleArray,
    people: NDArray[np.intp],
    weight: DoubleArray,
    share: DoubleArray,
    means: DoubleArray,
    matrix: DoubleArray,
    vector: DoubleArray,
    sigmas: tuple[float, float, float],
    scales: DoubleArray,
    limits: tuple[float, float, float],
    up: DoubleArray,
    height: float,
    factors: DoubleArray,
    covariance: DoubleArray,
) -> tuple[float, float]:
    """The rounds of `plane_fit.fit_plane`, whose arguments they are: changes ``up`` (3,), ``factors`` (P,) and
    ``covariance`` (3 + P, 3 + P) in place.

    ``share`` (N,) is each place's share in its person's mean, ``means`` (P, 3); ``scales`` (R,) of the rounds; ``limits`` the
    longest step in a round, radians, and the least and the largest factor.

    Returns:
        The height, and the deviation of the plane's height in the middle of the places, m.
    """
    count, unknowns = len(factors), 3 + len(factors)
    size_sigma, foot_sigma, depth_sigma = sigmas
    max_step, min_factor, max_factor = limits
    basis, row = np.empty((3, 2)), np.empty(unknowns)
    normal, side, move = np.empty((unknowns, unknowns)), np.empty(unknowns), np.empty(unknowns)
    tilt, slope, reliability = np.empty((2, 2)), np.empty(2), np.empty(count)
    for scale in scales:
        set_tangents(up, basis)
        _find_reliability(places, people, share, means, up, depth_sigma, reliability)
        normal[:] = 0.0
        side[:] = 0.0
        deviation = math.hypot(foot_sigma, depth_sigma * height)
        _add_places(
            places, people, weight, means, reliability, basis, up, height, factors, scale, deviation, row, normal, side
        )
        _project(basis, matrix, vector, up, tilt, slope)
        for i in range(2):
            side[i] += slope[i]
            for j in range(2):
                normal[i, j] += tilt[i, j]
        for who in range(count):
            normal[3 + who, 3 + who] += size_sigma**-2
            side[3 + who] += (1 - factors[who]) * size_sigma**-2
        for i in range(unknowns):
            normal[i, i] += 1e-6
        invert(normal, covariance)
        _multiply(covariance, side, move)
        shorter = min(1.0, max_step / max(math.hypot(move[0], move[1]), 1e-9))
        _move(up, basis, shorter * move[0], shorter * move[1])
        height += shorter * move[2]
        for who in range(count):
            factors[who] = min(max(factors[who] + shorter * move[3 + who], min_factor), max_factor)
    return height, math.sqrt(_height_variance(places, weight, basis, covariance, row))
