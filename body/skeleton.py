"""Joints and COCO keypoints of one person without skinning: some thirty microseconds."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from body.joints import COCO_JOINT, JOINT_NAMES, PARENTS
from body.kernels import kinematics
from body.model import BodyArrays
from body.packed import BETAS
from common.arrays import FloatArray


class Skeleton:
    """Computes for one person what `body.lbs_torch.TorchBody.skeleton` computes for batches.

    Each COCO keypoint is fixed to the frame of one joint (``body.joints.COCO_JOINT``), at a place that depends on the
    betas. NOT thread-safe: it owns scratch buffers.
    """

    def __init__(self, arrays: BodyArrays) -> None:
        """Prepare the tables of ``arrays``."""
        self.arrays: Final = arrays
        joints, coco = arrays.at_rest(arrays.joint_regressor), arrays.at_rest(arrays.coco_regressor)
        self._ridden: Final = np.array(COCO_JOINT)
        self._rest: Final = joints.astype(np.float32)
        self._offsets: Final = (coco - joints[self._ridden]).astype(np.float32)
        self._parents: Final = np.array(PARENTS, np.int32)
        self._frames: Final = np.zeros((len(JOINT_NAMES), 3, 4), np.float32)

    def __call__(self, rotations: ArrayLike, betas: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Joints (24, 3) and COCO keypoints (17, 3), float32, metres, relative to the pelvis joint.

        ``rotations`` (24, 3, 3) local matrices, root included; ``betas`` (10,), clamped to ``arrays.beta_limit``.

        Raises:
            ValueError: An argument has the wrong shape.
        """
        local, shape = np.asarray(rotations, np.float32), np.asarray(betas, np.float32)
        if local.shape != (len(JOINT_NAMES), 3, 3) or shape.shape != (BETAS,):
            raise ValueError(f"wanted rotations (24, 3, 3) and betas ({BETAS},), got {local.shape} and {shape.shape}")
        features = np.concatenate([np.ones(1, np.float32), self.arrays.clamp_betas(shape)])
        kinematics(
            np.ascontiguousarray(local),
            self._rest @ features,
            self._parents,
            np.zeros(3, np.float32),
            self._frames,
        )
        turned = self._frames[self._ridden, :, :3] @ (self._offsets @ features)[..., None]
        joints = self._frames[:, :, 3].copy()
        return joints, turned[..., 0] + joints[self._ridden]
