"""Rotations as numpy arrays, batched over any leading axes.

Two forms: axis-angle (..., 3) in radians, and matrix (..., 3, 3) acting on column vectors. float32 in gives float32 out;
anything else is computed in float64. Shapes are checked: a wrong last axis raises ``ValueError``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from common.arrays import AnyFloatArray


def _floats(values: ArrayLike, trailing: tuple[int, ...], what: str) -> AnyFloatArray:
    array = np.asarray(values)
    if array.dtype != np.float32:
        array = array.astype(np.float64)
    if array.shape[-len(trailing) :] != trailing:
        raise ValueError(f"{what} must have shape (..., {', '.join(map(str, trailing))}), got {array.shape}")
    return array


def axis_angle_to_matrix(axis_angle: ArrayLike) -> AnyFloatArray:
    """Rodrigues' formula: axis-angle (..., 3) to matrices (..., 3, 3), accurate for every angle, 0 included."""
    vector = _floats(axis_angle, (3,), "axis-angle")
    angle = np.linalg.norm(vector, axis=-1)
    # sin(t)/t and (1-cos(t))/t² written with sinc: smooth at 0 and free of the cancellation in 1-cos(t).
    first = np.sinc(angle / np.pi).astype(vector.dtype)
    second = (0.5 * np.sinc(angle / (2 * np.pi)) ** 2).astype(vector.dtype)
    x, y, z = np.moveaxis(vector, -1, 0)
    ax, ay, az = first * x, first * y, first * z
    bxy, bxz, byz = second * x * y, second * x * z, second * y * z
    xx, yy, zz = second * x * x, second * y * y, second * z * z
    matrix = np.empty((*vector.shape, 3), vector.dtype)
    matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2] = 1 - (yy + zz), bxy - az, bxz + ay
    matrix[..., 1, 0], matrix[..., 1, 1], matrix[..., 1, 2] = bxy + az, 1 - (xx + zz), byz - ax
    matrix[..., 2, 0], matrix[..., 2, 1], matrix[..., 2, 2] = bxz - ay, byz + ax, 1 - (xx + yy)
    return matrix


def matrix_to_axis_angle(matrix: ArrayLike) -> AnyFloatArray:
    """Rotation matrices (..., 3, 3) to axis-angle (..., 3) with an angle of 0..pi, stable at 0 and at pi.

    Computed from the unit quaternion, with the best conditioned of four formulas per matrix. At exactly pi the sign of
    the axis is arbitrary.
    """
    m = _floats(matrix, (3, 3), "matrix")
    m00, m11, m22 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    skew_x, skew_y, skew_z = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    sum_xy, sum_xz, sum_yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    candidates = np.stack(
        [
            np.stack([1 + m00 + m11 + m22, skew_x, skew_y, skew_z], -1),
            np.stack([skew_x, 1 + m00 - m11 - m22, sum_xy, sum_xz], -1),
            np.stack([skew_y, sum_xy, 1 - m00 + m11 - m22, sum_yz], -1),
            np.stack([skew_z, sum_xz, sum_yz, 1 - m00 - m11 + m22], -1),
        ],
        -2,
    )
    best = np.diagonal(candidates, axis1=-2, axis2=-1).argmax(-1)[..., None, None]
    quaternion = np.take_along_axis(candidates, best, -2)[..., 0, :]
    quaternion = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
    quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    real, imaginary = quaternion[..., 0], quaternion[..., 1:]
    length = np.linalg.norm(imaginary, axis=-1)
    tiny = length < 1e-12  # there angle / length is 2 to every digit
    scale = np.where(tiny, 2.0, 2 * np.arctan2(length, real) / np.where(tiny, 1.0, length))
    turned: AnyFloatArray = (imaginary * scale[..., None]).astype(m.dtype)
    return turned


def nearest_rotation(matrix: ArrayLike) -> AnyFloatArray:
    """The rotations (..., 3, 3) nearest to matrices (..., 3, 3) in the Frobenius norm.

    For a weighted sum of rotation matrices this is the chordal mean (Hartley, Trumpf, Dai & Li 2013); negative weights
    are allowed as long as the sum keeps a positive determinant. Not unique for a singular matrix.
    """
    m = _floats(matrix, (3, 3), "matrix")
    left, _, right = np.linalg.svd(m)
    # A reflection becomes the nearest rotation by flipping the direction of the smallest singular value.
    left[..., :, 2] *= np.where(np.linalg.det(left @ right) < 0, -1, 1)[..., None].astype(m.dtype)
    nearest: AnyFloatArray = left @ right
    return nearest
