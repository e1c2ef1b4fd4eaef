"""The body in torch: batched and differentiable, for training.

Everything is relative to the PELVIS JOINT: add the pelvis' position in the camera frame to place a body.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from body.joints import COCO_JOINT, PARENTS
from body.model import BodyArrays
from body.packed import BETAS
from common.arrays import DoubleArray, FloatArray, Int64Array


def _levels() -> list[list[int]]:
    """Joints by their depth in the tree: 9 levels whose concatenation is the joints' own order."""
    depth = [0] * len(PARENTS)
    for joint, parent in enumerate(PARENTS):
        depth[joint] = 0 if parent < 0 else depth[parent] + 1
    return [[joint for joint, found in enumerate(depth) if found == level] for level in range(max(depth) + 1)]


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    """Matrix products of (J, 3, 3, B) and (J, 3, K, B).

    With the batch last three fused multiply-adds suffice, several times faster on a CPU than a batched 3 x 3 matmul.
    """
    total = left[:, :, 0:1] * right[:, 0:1]
    total = torch.addcmul(total, left[:, :, 1:2], right[:, 1:2])
    return torch.addcmul(total, left[:, :, 2:3], right[:, 2:3])


class TorchBody(nn.Module):
    """One body model as buffers (float32) without trainable parameters.

    Local rotations are matrices (..., 24, 3, 3), root included; batch axes are free but must be the same for rotations
    and betas. Betas are clamped to ``arrays.beta_limit``, so they get no gradient beyond it. Not thread-safe while it
    is moved between devices.
    """

    def __init__(self, arrays: BodyArrays) -> None:
        """Copy the body's arrays into buffers."""
        super().__init__()
        self.beta_limit = arrays.beta_limit
        joints, coco = arrays.at_rest(arrays.joint_regressor), arrays.at_rest(arrays.coco_regressor)
        parents = [max(parent, 0) for parent in PARENTS]
        # Bone vectors and keypoint offsets are linear in (1, betas): one small matmul gives them for the batch.
        self._constant("offsets", (joints - joints[parents]).reshape(72, 11))
        self._constant("coco_offsets", (coco - joints[list(COCO_JOINT)]).reshape(51, 11))
        self._constant("rest_joints", joints.reshape(72, 11).T)
        surface = np.concatenate([arrays.v_template[..., None], arrays.shapedirs], -1)
        self._constant("rest_vertices", surface.reshape(-1, 11).T)
        self._constant("weights", arrays.weights)
        moved = np.flatnonzero(np.abs(arrays.posedirs).max((1, 2)) > 0)
        self._constant("posedirs", arrays.posedirs[moved].reshape(len(moved) * 3, -1).T)
        self._constant("moved", moved)
        self._constant("coco_joint", np.array(COCO_JOINT))
        levels = _levels()
        self._level_sizes = [len(level) for level in levels]
        for depth, level in enumerate(levels[1:], 1):
            above = levels[depth - 1]
            self._constant(f"above{depth}", np.array([above.index(PARENTS[joint]) for joint in level]))

    def _constant(self, name: str, values: FloatArray | DoubleArray | Int64Array) -> None:
        dtype = np.int64 if np.issubdtype(values.dtype, np.integer) else np.float32
        self.register_buffer(name, torch.from_numpy(np.array(values, dtype, order="C")), persistent=False)

    def _shape_features(self, betas: Tensor) -> Tensor:
        """(11, N) from (10, N): a row of ones and the clamped betas."""
        clamped = betas.clamp(-self.beta_limit, self.beta_limit)
        return torch.cat([torch.ones_like(clamped[:1]), clamped])

    def _kinematics(self, rotations: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """(24, 3, 3, N) local rotations and (11, N) to global rotations (24, 3, 3, N) and joints (24, 3, N)."""
        bones = (self.get_buffer("offsets") @ features).reshape(24, 3, 1, -1)
        # Tensor.split carries no types; this is the same call, whose backward pass is one concatenation.
        local = torch.split(torch.cat([rotations, bones], 2), self._level_sizes)
        turn, place = local[0][:, :, :3], torch.zeros_like(bones[:1, :, 0])
        turns, places = [turn], [place]
        for depth, step in enumerate(local[1:], 1):
            above = self.get_buffer(f"above{depth}")
            turn, shift = torch.split(_multiply(turn.index_select(0, above), step), [3, 1], 2)
            place = place.index_select(0, above) + shift[:, :, 0]
            turns.append(turn)
            places.append(place)
        return torch.cat(turns), torch.cat(places)

    def frames_batch_last(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`frames` with the batch as the last axis, where elementwise arithmetic on a CPU is fastest: (24, 3, 3, N) and (10, N)
        to (24, 3, 3, N), (24, 3, N) and (17, 3, N)."""
        features = self._shape_features(betas)
        turned, joints = self._kinematics(rotations, features)
        ridden = self.get_buffer("coco_joint")
        offsets = (self.get_buffer("coco_offsets") @ features).reshape(17, 3, 1, -1)
        coco = _multiply(turned.index_select(0, ridden), offsets)[:, :, 0] + joints.index_select(0, ridden)
        return turned, joints, coco

    def skeleton(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """Joints and COCO keypoints without the skin.

        ``rotations`` (..., 24, 3, 3) local matrices, ``betas`` (..., 10). Returns joints (..., 24, 3) and keypoints
        (..., 17, 3), metres, relative to the pelvis joint. Each keypoint is fixed to the frame of one joint
        (``body.joints.COCO_JOINT``); where it lies there follows the betas.
        """
        _, joints, coco = self.frames(rotations, betas)
        return joints, coco

    def frames(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The joints' global rotations (..., 24, 3, 3), and the joints and keypoints that `skeleton` returns."""
        batch = rotations.shape[:-3]
        local = rotations.reshape(-1, 24, 3, 3).permute(1, 2, 3, 0)
        turned, joints, coco = self.frames_batch_last(local, betas.reshape(-1, BETAS).T)
        return (
            turned.permute(3, 0, 1, 2).reshape(*batch, 24, 3, 3),
            joints.permute(2, 0, 1).reshape(*batch, 24, 3),
            coco.permute(2, 0, 1).reshape(*batch, 17, 3),
        )

    def forward(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices (..., V, 3) and joints (..., 24, 3), metres, relative to the pelvis joint.

        ``rotations`` (..., 24, 3, 3) local matrices, ``betas`` (..., 10).
        """
        batch = rotations.shape[:-3]
        local = rotations.reshape(-1, 24, 3, 3)
        count = len(local)
        features = self._shape_features(betas.reshape(-1, BETAS).T)
        turned, joints = (part.movedim(-1, 0) for part in self._kinematics(local.permute(1, 2, 3, 0), features))
        vertices = (features.T @ self.get_buffer("rest_vertices")).reshape(count, -1, 3)
        pose = (local[:, 1:] - torch.eye(3, dtype=local.dtype, device=local.device)).reshape(count, 207)
        correction = (pose @ self.get_buffer("posedirs")).reshape(count, -1, 3)
        vertices = vertices.index_add(1, self.get_buffer("moved"), correction)
        rest = (features.T @ self.get_buffer("rest_joints")).reshape(count, 24, 3, 1)
        shift = joints[..., None] - turned @ rest
        frames = torch.cat([turned, shift], -1).reshape(count, 24, 12)
        blend = (self.get_buffer("weights") @ frames).reshape(count, -1, 3, 4)
        skin = (blend[..., :3] @ vertices[..., None])[..., 0] + blend[..., 3]
        return skin.reshape(*batch, -1, 3), joints.reshape(*batch, 24, 3)


def bone_lengths(joints: Tensor) -> Tensor:
    """Lengths (..., 23) of the bones between ``joints`` (..., 24, 3), in their unit."""
    bones = joints[..., 1:, :] - joints[..., list(PARENTS[1:]), :]
    return (bones.square().sum(-1) + 1e-12).sqrt()
