"""Compiled inner loops of posing one body: rotations, kinematics and skinning. Single thread, GIL released.

`body.rotations` has the same conversions of rotations for arrays of any shape; for the 24 joints of one person its many small
array operations take twenty times as long.

Compiled by numba on first use and cached beside this file (or elsewhere, see `common.compiled`).
"""

from __future__ import annotations

import math

import numpy as np
from numba import types

from common.arrays import AnyFloatArray, AnyIntArray, FloatArray
from common.compiled import njit

_POINTS = types.Array(types.float32, 2, "C", readonly=True)


@njit(cache=True, nogil=True)
def set_matrix(x: float, y: float, z: float, out: AnyFloatArray) -> None:
    """Rodrigues' formula: writes the rotation matrix of the axis-angle (x, y, z), radians, to ``out`` (3, 3)."""
    squared = x * x + y * y + z * z
    angle = math.sqrt(squared)
    if angle < 1e-4:  # the series to every digit of a float32
        first, second = 1 - squared / 6, 0.5 - squared / 24
    else:
        half = math.sin(angle / 2) / angle
        first, second = math.sin(angle) / angle, 2 * half * half  # free of the cancellation in 1 - cos
    out[0, 0], out[1, 1], out[2, 2] = (
        1 - second * (y * y + z * z),
        1 - second * (x * x + z * z),
        1 - second * (x * x + y * y),
    )
    out[0, 1], out[1, 0] = second * x * y - first * z, second * x * y + first * z
    out[0, 2], out[2, 0] = second * x * z + first * y, second * x * z - first * y
    out[1, 2], out[2, 1] = second * y * z - first * x, second * y * z + first * x


@njit(cache=True, nogil=True)
def axis_angle_of(m: AnyFloatArray) -> tuple[float, float, float]:
    """The axis-angle, radians, of a rotation matrix ``m`` (3, 3); from its unit quaternion, with the best conditioned of four
    formulas, so that angles near 0 and pi are accurate."""
    a, b, c = float(m[0, 0]), float(m[1, 1]), float(m[2, 2])
    skew_x, skew_y, skew_z = float(m[2, 1] - m[1, 2]), float(m[0, 2] - m[2, 0]), float(m[1, 0] - m[0, 1])
    if a + b >= 0 and a + c >= 0 and b + c >= 0:
        real, x, y, z = 1 + a + b + c, skew_x, skew_y, skew_z
    elif a >= b and a >= c:
        real, x, y, z = skew_x, 1 + a - b - c, float(m[0, 1] + m[1, 0]), float(m[0, 2] + m[2, 0])
    elif b >= c:
        real, x, y, z = skew_y, float(m[0, 1] + m[1, 0]), 1 - a + b - c, float(m[1, 2] + m[2, 1])
    else:
        real, x, y, z = skew_z, float(m[0, 2] + m[2, 0]), float(m[1, 2] + m[2, 1]), 1 - a - b + c
    if real < 0:
        real, x, y, z = -real, -x, -y, -z
    length, norm = math.sqrt(x * x + y * y + z * z), math.sqrt(real * real + x * x + y * y + z * z)
    # At the smallest angles angle / length is 2 / norm to every digit.
    scale = 2 / norm if length < 1e-12 * norm else 2 * math.atan2(length, real) / length
    return x * scale, y * scale, z * scale


@njit(cache=True, nogil=True)
def to_axis_angles(matrices: FloatArray, out: FloatArray) -> None:
    """Writes the axis-angles, radians, of rotation ``matrices`` (N, 3, 3) to ``out`` (N, 3)."""
    for joint in range(len(matrices)):
        out[joint, 0], out[joint, 1], out[joint, 2] = axis_angle_of(matrices[joint])


@njit(cache=True, nogil=True)
def articulate(
    pose: FloatArray,
    rest: FloatArray,
    parents: AnyIntArray,
    root: FloatArray,
    feature: FloatArray,
    frames: FloatArray,
) -> None:
    """Forward kinematics from axis-angles ``pose`` (24, 3), radians; the other arguments as for `kinematics`.

    Writes ``frames`` (24, 3, 4) and ``feature`` (207,), local rotation - identity of joints 1..23.
    """
    local = np.empty((24, 3, 3), np.float32)
    for joint in range(24):
        set_matrix(float(pose[joint, 0]), float(pose[joint, 1]), float(pose[joint, 2]), local[joint])
        if joint:
            for row in range(3):
                for column in range(3):
                    feature[(joint - 1) * 9 + row * 3 + column] = local[joint, row, column] - (
                        np.float32(1) if row == column else np.float32(0)
                    )
    kinematics(local, rest, parents, root, frames)


@njit(cache=True, nogil=True)
def kinematics(local: FloatArray, rest: FloatArray, parents: AnyIntArray, root: FloatArray, frames: FloatArray) -> None:
    """Forward kinematics.

    ``local`` (24, 3, 3) rotation of each joint relative to its parent, ``rest`` (24, 3) joints of the rest body,
    ``root`` (3,) position of the pelvis joint. Writes ``frames`` (24, 3, 4): global rotation and joint position.
    """
    for joint in range(24):
        parent = parents[joint]
        for row in range(3):
            if parent < 0:
                frames[joint, row, 3] = root[row]
                for column in range(3):
                    frames[joint, row, column] = local[joint, row, column]
                continue
            position = frames[parent, row, 3]
            for inner in range(3):
                position += frames[parent, row, inner] * (rest[joint, inner] - rest[parent, inner])
            frames[joint, row, 3] = position
            for column in range(3):
                total = np.float32(0)
                for inner in range(3):
                    total += frames[parent, row, inner] * local[joint, inner, column]
                frames[joint, row, column] = total


@njit(cache=True, nogil=True)
def blend_shape(template: FloatArray, directions: FloatArray, betas: FloatArray, out: FloatArray) -> None:
    """Writes ``template`` (N,) + ``directions`` (10, N) weighted by ``betas`` (10,) to ``out`` (N,): an eighth of the time of
    BLAS, which is made for wider matrices."""
    a, b, c, d, e, f, g, h, i, j = betas
    for n in range(len(out)):
        one = a * directions[0, n] + b * directions[1, n] + c * directions[2, n] + d * directions[3, n]
        two = e * directions[4, n] + f * directions[5, n] + g * directions[6, n] + h * directions[7, n]
        out[n] = template[n] + (one + two + i * directions[8, n] + j * directions[9, n])


@njit(cache=True, nogil=True)
def skin(
    shaped: FloatArray,
    rest: FloatArray,
    frames: FloatArray,
    feature: FloatArray,
    starts: AnyIntArray,
    columns: AnyIntArray,
    values: FloatArray,
    bones: AnyIntArray,
    weights: FloatArray,
    out: FloatArray,
) -> None:
    """Pose correctives and linear blend skinning of every vertex.

    ``shaped`` (V, 3) rest vertices, ``rest`` (24, 3) rest joints, ``frames`` (24, 3, 4) of ``kinematics``, ``feature``
    (207,) local rotation - identity of joints 1..23. Correctives by vertex: entries starts[v]:starts[v + 1] of
    ``columns`` (N,) into ``feature`` and ``values`` (N, 3). ``bones``, ``weights`` (V, K). Writes ``out`` (V, 3).
    """
    offset = np.empty((24, 3, 4), np.float32)  # maps rest points, not points relative to the joint
    for joint in range(24):
        for row in range(3):
            shift = frames[joint, row, 3]
            for column in range(3):
                offset[joint, row, column] = frames[joint, row, column]
                shift -= frames[joint, row, column] * rest[joint, column]
            offset[joint, row, 3] = shift
    for vertex in range(len(shaped)):
        x, y, z = shaped[vertex, 0], shaped[vertex, 1], shaped[vertex, 2]
        for entry in range(starts[vertex], starts[vertex + 1]):
            amount = feature[columns[entry]]
            x += amount * values[entry, 0]
            y += amount * values[entry, 1]
            z += amount * values[entry, 2]
        px = py = pz = np.float32(0)
        for slot in range(weights.shape[1]):
            weight = weights[vertex, slot]
            if weight == 0:
                continue
            m = offset[bones[vertex, slot]]
            px += weight * (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3])
            py += weight * (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3])
            pz += weight * (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3])
        out[vertex, 0], out[vertex, 1], out[vertex, 2] = px, py, pz


@njit(types.float32[:, ::1](_POINTS, types.Array(types.float32, 1, "C", readonly=True)), cache=True, nogil=True)
def shifted(points: FloatArray, shift: FloatArray) -> FloatArray:
    """``points`` (V, 3) + ``shift`` (3,): NumPy, which goes row by row, takes five times as long."""
    out = np.empty_like(points)
    for row in range(len(points)):
        for column in range(3):
            out[row, column] = points[row, column] + shift[column]
    return out
