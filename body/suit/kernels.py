"""Compiled inner loops of the suit's surface: smoothing it once, and turning its offsets with the body. GIL released, float32.

Compiled when this module is first imported (see `common.compiled`): import it late.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types

from common.arrays import FloatArray, Int32Array
from common.compiled import njit

_ZERO: Final = np.float32(0)
# Records may be frozen: arrays that are only read must be accepted when they are not writeable.
_READ: Final = types.Array(types.float32, 2, "C", readonly=True)
_ROW: Final = types.Array(types.float32, 1, "C", readonly=True)
_INDICES: Final = types.Array(types.int32, 1, "C", readonly=True)
_BONES: Final = types.Array(types.int32, 2, "C", readonly=True)
_ROTATIONS: Final = types.Array(types.float32, 3, "C", readonly=True)
_FLOATS: Final = types.float32[:, ::1]
# Infinities and NaN are allowed to occur (a body that is not finite must not crash): only these optimisations are safe.
_SAFE: Final = {"contract", "nsz", "arcp", "reassoc"}
_OPTIONS: Final[dict[str, Any]] = {"cache": True, "nogil": True, "fastmath": _SAFE, "error_model": "numpy"}


@njit(types.void(_FLOATS, _INDICES, _INDICES, _INDICES, _ROW, types.int64), **_OPTIONS)
def relax(
    vertices: FloatArray,
    rows: Int32Array,
    starts: Int32Array,
    neighbours: Int32Array,
    strength: FloatArray,
    rounds: int,
) -> None:
    """Smooth ``vertices`` (V, C) in place: those in ``rows`` (R,) are moved towards the mean of their neighbours, ``rounds``
    times, by ``strength`` (R,) 0..1 of the way.

    The neighbours of row r are ``neighbours[starts[r]:starts[r + 1]]``. Linear in the vertices.
    """
    channels = vertices.shape[1]
    moved = np.empty((rows.shape[0], channels), np.float32)
    for _ in range(rounds):
        for r in range(rows.shape[0]):
            first, last = starts[r], starts[r + 1]
            count = np.float32(last - first)
            for channel in range(channels):
                total = _ZERO
                for k in range(first, last):
                    total += vertices[neighbours[k], channel]
                here = vertices[rows[r], channel]
                moved[r, channel] = here + strength[r] * (total / count - here)
        for r in range(rows.shape[0]):
            for channel in range(channels):
                vertices[rows[r], channel] = moved[r, channel]


@njit(types.void(_INDICES, _READ, _BONES, _READ, _ROTATIONS, _FLOATS), **_OPTIONS)
def shift(
    rows: Int32Array,
    offsets: FloatArray,
    bones: Int32Array,
    weights: FloatArray,
    rotations: FloatArray,
    vertices: FloatArray,
) -> None:
    """Move ``vertices`` (V, 3) of a posed body in place: those in ``rows`` (R,) by ``offsets`` (R, 3) of the rest pose, turned
    with the body as skinning would turn them.

    ``bones`` (R, K) are the joints that move each vertex, ``weights`` (R, K) how much, ``rotations`` (24, 3, 3) those of the
    joints, from the rest pose to the frame of the vertices.
    """
    for r in range(rows.shape[0]):
        x, y, z = offsets[r, 0], offsets[r, 1], offsets[r, 2]
        i = rows[r]
        for k in range(bones.shape[1]):
            part = weights[r, k]
            if part <= _ZERO:
                continue
            j = bones[r, k]
            for row in range(3):
                turned = rotations[j, row, 0] * x + rotations[j, row, 1] * y + rotations[j, row, 2] * z
                vertices[i, row] += part * turned
