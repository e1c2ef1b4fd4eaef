"""Quaternions on plain numpy arrays; scipy converts them from and to other forms.

A quaternion is ``(w, x, y, z)``, Hamilton, active, of unit length: it turns column vectors, and the rotation of a child
in the world is ``multiply(parent_in_the_world, child_in_its_parent)``. Every function broadcasts over the leading axes
and works in float64, because errors add up along a chain of joints. scipy's ``Rotation`` has no such axes in the versions
for Python 3.10 and costs more than the products of short clips, so products are written out here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from common.arrays import DoubleArray

_SMALL = 1e-12


def multiply(first: npt.ArrayLike, second: npt.ArrayLike) -> DoubleArray:
    """Return the product ``first * second`` (``second`` acts first on a vector); both (..., 4)."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    aw, ax, ay, az = a[..., 0], a[..., 1], a[..., 2], a[..., 3]
    bw, bx, by, bz = b[..., 0], b[..., 1], b[..., 2], b[..., 3]
    product = np.empty((*np.broadcast_shapes(a.shape, b.shape)[:-1], 4))
    product[..., 0] = aw * bw - ax * bx - ay * by - az * bz
    product[..., 1] = aw * bx + ax * bw + ay * bz - az * by
    product[..., 2] = aw * by - ax * bz + ay * bw + az * bx
    product[..., 3] = aw * bz + ax * by - ay * bx + az * bw
    return product


def inverse(quaternions: npt.ArrayLike) -> DoubleArray:
    """Return the inverse of unit quaternions (..., 4)."""
    conjugate: DoubleArray = np.asarray(quaternions, np.float64) * np.array([1.0, -1.0, -1.0, -1.0])
    return conjugate


def rotate(quaternions: npt.ArrayLike, vectors: npt.ArrayLike) -> DoubleArray:
    """Turn vectors (..., 3) by quaternions (..., 4); the leading axes broadcast."""
    q, v = np.asarray(quaternions, np.float64), np.asarray(vectors, np.float64)
    axis = q[..., 1:]
    twice = 2.0 * _cross(axis, v)
    turned: DoubleArray = v + q[..., :1] * twice + _cross(axis, twice)
    return turned


def _cross(first: DoubleArray, second: DoubleArray) -> DoubleArray:
    """``np.cross`` of (..., 3) arrays, whose handling of axes costs more than the products of a short clip."""
    product = np.empty(np.broadcast_shapes(first.shape, second.shape))
    for axis, (one, two) in enumerate(((1, 2), (2, 0), (0, 1))):
        product[..., axis] = first[..., one] * second[..., two] - first[..., two] * second[..., one]
    return product


def unit_quaternion(quaternions: npt.ArrayLike) -> DoubleArray:
    """Scale quaternions (..., 4) to unit length."""
    q = np.asarray(quaternions, np.float64)
    unit: DoubleArray = q / np.maximum(np.linalg.norm(q, axis=-1, keepdims=True), _SMALL)
    return unit


def from_axis_angle(vectors: npt.ArrayLike) -> DoubleArray:
    """Turn axis-angle vectors (..., 3), radians, into quaternions (..., 4)."""
    v = np.asarray(vectors, np.float64)
    found = Rotation.from_rotvec(v.reshape(-1, 3)).as_quat(scalar_first=True)
    return np.asarray(found, np.float64).reshape(*v.shape[:-1], 4)


def to_axis_angle(quaternions: npt.ArrayLike) -> DoubleArray:
    """Turn quaternions (..., 4) into axis-angle vectors (..., 3) of at most pi radians."""
    q = np.asarray(quaternions, np.float64)
    q = np.where((q == 0).all(-1, keepdims=True), (1.0, 0.0, 0.0, 0.0), q)  # in damaged files; scipy refuses it
    found = Rotation.from_quat(q.reshape(-1, 4), scalar_first=True).as_rotvec()
    return np.asarray(found, np.float64).reshape(*q.shape[:-1], 3)


def about(axis: Sequence[float] | str, angle: npt.ArrayLike) -> DoubleArray:
    """Return the rotation by ``angle`` (...) radians about a unit ``axis``: three numbers, or "x", "y", "z"."""
    named = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
    vector = np.asarray(named[axis.lower()] if isinstance(axis, str) else axis, np.float64)
    half = 0.5 * np.asarray(angle, np.float64)[..., None]
    return np.concatenate([np.cos(half), np.sin(half) * vector], axis=-1)


def from_euler(order: str, angles: npt.ArrayLike) -> DoubleArray:
    """Compose intrinsic Euler angles: ``from_euler("ZYX", a)`` is ``Rz(a[..., 0]) Ry(a[..., 1]) Rx(a[..., 2])``.

    Args:
        order: The axes, first factor first, as the channels of a BVH joint are written; may be shorter than three.
        angles: (..., len(order)) radians.
    """
    values = np.asarray(angles, np.float64)
    result = np.zeros((*values.shape[:-1], 4))
    result[..., 0] = 1.0
    for column, axis in enumerate(order):  # files may name no axis, or one twice in a row, which scipy refuses
        result = multiply(result, about(axis, values[..., column]))
    return result


def between(start: npt.ArrayLike, end: npt.ArrayLike) -> DoubleArray:
    """Return the shortest rotation that takes one direction (3,) to another (3,).

    Raises:
        ValueError: A direction has no length, or the two are opposite (there is no one shortest rotation).
    """
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    lengths = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if min(lengths) < _SMALL:
        raise ValueError("a direction of zero length has no rotation to another one")
    a, b = a / lengths[0], b / lengths[1]
    cosine = float(a @ b)
    if cosine < -1.0 + 1e-9:
        raise ValueError("the two directions are opposite: every half turn across them is as short as the others")
    return unit_quaternion(np.concatenate([[1.0 + cosine], np.cross(a, b)]))


def slerp(first: npt.ArrayLike, second: npt.ArrayLike, fraction: npt.ArrayLike) -> DoubleArray:
    """Go the short way from ``first`` (..., 4) to ``second`` (..., 4) by ``fraction`` (...) in 0..1."""
    whole = to_axis_angle(multiply(inverse(first), second))
    return multiply(first, from_axis_angle(np.asarray(fraction, np.float64)[..., None] * whole))


def globals_from_locals(local: npt.ArrayLike, parents: Sequence[int]) -> DoubleArray:
    """Chain rotations relative to the parent (..., J, 4) into rotations in the world (..., J, 4).

    ``parents`` lists a parent before its children, -1 for a root.
    """
    q = np.asarray(local, np.float64)
    world = np.empty_like(q)
    for joint, parent in enumerate(parents):
        world[..., joint, :] = q[..., joint, :] if parent < 0 else multiply(world[..., parent, :], q[..., joint, :])
    return world


def locals_from_globals(world: npt.ArrayLike, parents: Sequence[int]) -> DoubleArray:
    """Undo ``globals_from_locals``: (..., J, 4) in the world to (..., J, 4) relative to the parent."""
    q = np.asarray(world, np.float64)
    local = np.empty_like(q)
    for joint, parent in enumerate(parents):
        local[..., joint, :] = (
            q[..., joint, :] if parent < 0 else multiply(inverse(q[..., parent, :]), q[..., joint, :])
        )
    return local
