"""Compiled inner loops of posing one body: kinematics and skinning. Single thread, GIL released.

Compiled by numba on first use and cached beside this file (or elsewhere, see `common.compiled`).
"""

from __future__ import annotations

import numpy as np

from common.arrays import AnyIntArray, FloatArray
from common.compiled import njit


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
