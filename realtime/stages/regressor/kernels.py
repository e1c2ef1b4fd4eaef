"""Compiled inner loops of the regressor stage: the rotation filter and the translation fit. Single thread, GIL released.

The arithmetic is float64. In NumPy each would be some fifty operations on a few numbers, which take a millisecond.
"""

from __future__ import annotations

import math

import numpy as np

from body.kernels import axis_angle_of, set_matrix
from common.arrays import DoubleArray, FloatArray
from common.compiled import njit


@njit(cache=True, nogil=True)
def filter_rotations(
    value: FloatArray,
    speed: FloatArray,
    measured: FloatArray,
    dt_s: float,
    ahead_s: float,
    speed_share: float,
    rest_hz: float,
    gain: float,
    out: FloatArray,
) -> None:
    """One step of `realtime.stages.regressor.smoothing.RotationFilter`.

    ``value`` (J, 3, 3) filtered rotations of ``dt_s`` seconds ago, ``measured`` (J, 3, 3) the new ones. ``speed`` (J, 3) rad/s
    is updated with ``speed_share``. Extrapolates by ``ahead_s`` seconds. Writes ``out`` (J, 3, 3).
    """
    turn, foreseen, way = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    for joint in range(len(value)):
        x, y, z = float(speed[joint, 0]), float(speed[joint, 1]), float(speed[joint, 2])
        set_matrix(x * ahead_s, y * ahead_s, z * ahead_s, turn)
        _multiply(value[joint], turn, foreseen)
        _from_to(value[joint], measured[joint], way)
        moved_x, moved_y, moved_z = axis_angle_of(way)
        x += speed_share * (moved_x / dt_s - x)
        y += speed_share * (moved_y / dt_s - y)
        z += speed_share * (moved_z / dt_s - z)
        speed[joint, 0], speed[joint, 1], speed[joint, 2] = x, y, z
        step = 2 * math.pi * dt_s * (rest_hz + gain * math.sqrt(x * x + y * y + z * z))
        share = step / (step + 1)
        _from_to(foreseen, measured[joint], way)
        x, y, z = axis_angle_of(way)
        set_matrix(x * share, y * share, z * share, turn)
        _multiply(foreseen, turn, out[joint])


@njit(cache=True, nogil=True)
def _multiply(a, b, out):  # type: ignore[no-untyped-def]
    for row in range(3):
        for column in range(3):
            out[row, column] = a[row, 0] * b[0, column] + a[row, 1] * b[1, column] + a[row, 2] * b[2, column]


@njit(cache=True, nogil=True)
def _from_to(a, b, out):  # type: ignore[no-untyped-def]
    """The transpose of a, times b."""
    for row in range(3):
        for column in range(3):
            out[row, column] = a[0, row] * b[0, column] + a[1, row] * b[1, column] + a[2, row] * b[2, column]


@njit(cache=True, nogil=True)
def solve_translation(
    coco: FloatArray,
    rays: DoubleArray,
    deviation: DoubleArray,
    weight: DoubleArray,
    edges: DoubleArray,
    start: DoubleArray,
    prior: DoubleArray,
    outlier: float,
    rounds: int,
) -> tuple[float, float, float]:
    """The pelvis of `realtime.stages.regressor.translation_fit.fit_translation`, by iteratively reweighted least squares.

    ``coco`` (K, 3) keypoints of the body relative to its pelvis, m; ``rays`` (K, 2) detections at depth 1; ``deviation`` (K,)
    their standard deviation, m, and ``weight`` (K,); ``edges`` (4,) the rays of the left, upper, right and lower edge, at or
    beyond which a detection only moves a keypoint that lies within the image. ``start`` (3,) the predicted pelvis, m, with the
    weights ``prior`` (3,).
    """
    distance = max(start[2], 0.1)
    at_x, at_y, at_z = start[0], start[1], start[2]
    for _ in range(rounds):
        sum_u = sum_v = sum_uu = sum_u1 = sum_v1 = side_u = side_v = side_z = 0.0
        for point in range(len(coco)):
            x, y, z = float(coco[point, 0]), float(coco[point, 1]), float(coco[point, 2])
            u, v = rays[point, 0], rays[point, 1]
            depth = max(z + at_z, 0.3)
            off_u, off_v = x + at_x - u * depth, y + at_y - v * depth  # metres
            reach = outlier * deviation[point]
            sane = weight[point] / (1 + (off_u * off_u + off_v * off_v) / (reach * reach))
            wu = 0.0 if (u < edges[0] and off_u < 0) or (u > edges[2] and off_u > 0) else sane
            wv = 0.0 if (v < edges[1] and off_v < 0) or (v > edges[3] and off_v > 0) else sane
            want_u, want_v = u * z - x, v * z - y
            sum_u += wu
            sum_v += wv
            sum_u1 += wu * u
            sum_v1 += wv * v
            sum_uu += wu * u * u + wv * v * v
            side_u += wu * want_u
            side_v += wv * want_v
            side_z -= wu * u * want_u + wv * v * want_v
        # The normal equations couple x and y to z only: eliminate both.
        across, down, along = sum_u + prior[0], sum_v + prior[1], sum_uu + prior[2]
        side_u += prior[0] * start[0]
        side_v += prior[1] * start[1]
        side_z += prior[2] * start[2]
        at_z = (side_z + sum_u1 * side_u / across + sum_v1 * side_v / down) / (
            along - sum_u1 * sum_u1 / across - sum_v1 * sum_v1 / down
        )
        at_x, at_y = (side_u + sum_u1 * at_z) / across, (side_v + sum_v1 * at_z) / down
        at_z = min(max(at_z, 0.4 * distance), 2.5 * distance)
    return at_x, at_y, at_z
