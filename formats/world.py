"""From the camera's frame to the world's: for files and for live output."""

from __future__ import annotations

import numpy as np

from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from common.arrays import FloatArray


def in_world(
    cameras: FloatArray, global_orient: FloatArray, transl: FloatArray, joints: FloatArray
) -> dict[str, FloatArray]:
    """The arrays of `formats.motion.WORLD_SHAPES`, float32, N rows each; NaN in rows without a camera.

    Args:
        cameras: (N, 4, 4) rigid transforms from the camera frame to the world; NaN where that is not known.
        global_orient: (N, 3) axis-angle, radians, camera frame.
        transl: (N, 3) metres, camera frame.
        joints: (N, 24, 3) metres, camera frame.
    """
    known = np.isfinite(cameras).all((1, 2))
    turn, shift = cameras[:, :3, :3].astype(np.float64), cameras[:, None, :3, 3].astype(np.float64)
    orient = np.full(global_orient.shape, np.nan, np.float32)
    orient[known] = matrix_to_axis_angle(turn[known] @ axis_angle_to_matrix(global_orient[known]))
    places = np.concatenate([transl[:, None], joints], 1) @ turn.transpose(0, 2, 1) + shift
    return {
        "world_from_camera": cameras,
        "world_global_orient": orient,
        "world_transl": places[:, 0].astype(np.float32),
        "world_joints_m": places[:, 1:].astype(np.float32),
    }
