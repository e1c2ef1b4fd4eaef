"""Rotations as three angles in degrees, without needless jumps."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.spatial.transform import Rotation

from common.arrays import DoubleArray


def euler_degrees(axis_angle: DoubleArray, axes: str) -> DoubleArray:
    """(N, ..., 3) degrees of rotations (N, ..., 3), rad, about the moving axes ``axes`` ("ZXY": R = Rz Rx Ry).

    The middle angle is in -90..90; where it is at an end, the third is 0 (any sum does). The others go on from row to row
    without jumps of a whole turn.
    """
    flat = Rotation.from_rotvec(axis_angle.reshape(-1, 3))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Gimbal lock", category=UserWarning)
        angles = flat.as_euler(axes.upper(), degrees=True).reshape(axis_angle.shape)
    continuous: DoubleArray = np.unwrap(angles, period=360.0, axis=0)
    return continuous
