"""Joints and bone offsets of the body at rest, for formats that store bones."""

from __future__ import annotations

import numpy as np

from body.joints import PARENTS
from body.model import BodyArrays
from common.arrays import DoubleArray, FloatArray


def rest_joints(arrays: BodyArrays, betas: FloatArray) -> DoubleArray:
    """(24, 3) joints of the rest body of this shape, metres."""
    rest: DoubleArray = arrays.at_rest(arrays.joint_regressor) @ np.append(1.0, arrays.clamp_betas(betas))
    return rest


def rest_offsets(arrays: BodyArrays, betas: FloatArray) -> DoubleArray:
    """(24, 3) each joint relative to its parent in the rest body, metres; the root's own place for the root."""
    joints = rest_joints(arrays, betas)
    offsets: DoubleArray = joints - np.array([joints[parent] if parent >= 0 else np.zeros(3) for parent in PARENTS])
    return offsets
