"""Axes of other programs, and rotations as quaternions."""

from __future__ import annotations

from typing import Final

import numpy as np

from common.arrays import AnyFloatArray, FloatArray

Y_UP: Final = np.diag([1.0, -1.0, -1.0])
"""(3, 3) from the camera frame (y down, z forward) to the same axes with y up: half a turn about x. Its own inverse."""
Z_UP: Final = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""(3, 3) from y up to z up, as AMASS and Blender have it: a quarter turn about x."""
TO_OPENSIM: Final = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
"""(3, 3) from a frame with y up, x right and z towards the camera to OpenSim's axes: x where somebody looks who faces the
camera, y up, z to that person's right."""


def quaternions(axis_angle: AnyFloatArray) -> FloatArray:
    """Unit quaternions (N, J, 4) x, y, z, w of rotations (N, J, 3), rad, each on the same side as the one before it: what is
    interpolated between the two goes the short way."""
    angle = np.linalg.norm(axis_angle.astype(np.float64), axis=-1, keepdims=True)
    # sin(a / 2) / a, without dividing by nothing
    turns = np.concatenate([axis_angle * 0.5 * np.sinc(angle / (2 * np.pi)), np.cos(angle / 2)], -1)
    same = (turns[1:] * turns[:-1]).sum(-1) >= 0
    turns[1:] *= np.cumprod(np.where(same, 1, -1), axis=0)[..., None]
    return turns.astype(np.float32)
