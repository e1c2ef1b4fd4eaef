"""The skeleton's kinematics in operators that every runtime has, without a loop over the tree's levels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from body.joints import COCO_JOINT, JOINT_NAMES, PARENTS
from body.lbs_torch import TorchBody

_JOINTS = len(JOINT_NAMES)
_ROUNDS = 4
"""Doublings that reach over the tree's eight bones from the pelvis to a hand."""


class SkeletonGraph(nn.Module):
    """`TorchBody.frames` for a graph: few operators for few people, where `TorchBody` is made for large batches.

    Args:
        body: whose skeleton it is.
    """

    def __init__(self, body: TorchBody) -> None:
        super().__init__()
        self.limit = body.beta_limit
        for name in ("offsets", "coco_offsets"):
            self.register_buffer(name, body.get_buffer(name).T.contiguous(), persistent=False)
        self.register_buffer("rides_on", torch.tensor(COCO_JOINT), persistent=False)
        self.register_buffer("last_row", torch.tensor([0.0, 0.0, 0.0, 1.0]), persistent=False)
        self.register_buffer("identity", torch.eye(4), persistent=False)
        # One more joint, which never moves, is the pelvis' parent and its own.
        parents = torch.tensor([_JOINTS if parent < 0 else parent for parent in (*PARENTS, -1)])
        for number in range(_ROUNDS):
            self.register_buffer(f"ancestor{number}", parents[:_JOINTS], persistent=False)
            parents = parents[parents]
        assert bool((parents == _JOINTS).all()), "the tree is deeper than the doublings reach"

    def features(self, betas: Tensor) -> Tensor:
        """(N, 11) what bones are linear in: one, and the clamped ``betas`` (N, 10)."""
        clamped = betas.clamp(-self.limit, self.limit)
        return torch.cat([clamped[:, :1] * 0 + 1, clamped], 1)

    def walk(self, rotations: Tensor, features: Tensor) -> Tensor:
        """Frame of every joint (N, 24, 4, 4) about the pelvis, from local rotations (N, 24, 3, 3) and `features`.

        Each round multiplies a joint's frame with that of the ancestor where it ends, and so doubles its reach.
        """
        bones = (features @ self.get_buffer("offsets")).reshape(-1, _JOINTS, 3, 1)
        upper = torch.cat([rotations, bones], 3)
        lower = upper[:, :, :1] * 0 + self.get_buffer("last_row")
        frames = torch.cat([upper, lower], 2)
        still = frames[:, :1] * 0 + self.get_buffer("identity")
        for number in range(_ROUNDS):
            frames = torch.cat([frames, still], 1)[:, self.get_buffer(f"ancestor{number}")] @ frames
        return frames

    def frames(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Global rotations (N, 24, 3, 3), joints (N, 24, 3) and COCO keypoints (N, 17, 3), m, about the pelvis."""
        features = self.features(betas)
        frames = self.walk(rotations, features)
        offsets = (features @ self.get_buffer("coco_offsets")).reshape(-1, len(COCO_JOINT), 3, 1)
        carrier = frames[:, self.get_buffer("rides_on")]
        coco = (carrier[:, :, :3, :3] @ offsets)[..., 0] + carrier[:, :, :3, 3]
        return frames[:, :, :3, :3], frames[:, :, :3, 3], coco
