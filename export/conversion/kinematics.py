"""The skeleton's kinematics in operators that every runtime has, without a loop over the tree's levels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from body.joints import ANCESTORS, COCO_JOINT, JOINTS
from body.lbs_torch import TorchBody


class SkeletonGraph(nn.Module):
    """`TorchBody.frames` for a graph: few operators for few people, where `TorchBody` is made for large batches.

    Args:
        body: whose skeleton it is.
    """

    def __init__(self, body: TorchBody) -> None:
        """Copy the skeleton of ``body``."""
        super().__init__()
        self.limit = body.beta_limit
        for name in ("offsets", "coco_offsets"):
            self.register_buffer(name, body.get_buffer(name).T.contiguous(), persistent=False)
        self.register_buffer("rides_on", torch.tensor(COCO_JOINT), persistent=False)
        self.register_buffer("last_row", torch.tensor([0.0, 0.0, 0.0, 1.0]), persistent=False)
        self.register_buffer("identity", torch.eye(4), persistent=False)
        for number, ancestors in enumerate(ANCESTORS):
            self.register_buffer(f"ancestor{number}", torch.tensor(ancestors), persistent=False)

    def features(self, betas: Tensor) -> Tensor:
        """(N, 11) what bones are linear in: one, and the clamped ``betas`` (N, 10)."""
        clamped = betas.clamp(-self.limit, self.limit)
        return torch.cat([clamped[:, :1] * 0 + 1, clamped], 1)

    def walk(self, rotations: Tensor, features: Tensor) -> Tensor:
        """Frame of every joint (N, 24, 4, 4) about the pelvis, from local rotations (N, 24, 3, 3) and `features`.

        Computed in the rounds of `body.joints.ANCESTORS`.
        """
        bones = (features @ self.get_buffer("offsets")).reshape(-1, JOINTS, 3, 1)
        upper = torch.cat([rotations, bones], 3)
        lower = upper[:, :, :1] * 0 + self.get_buffer("last_row")
        frames = torch.cat([upper, lower], 2)
        frames = torch.cat([frames, frames[:, :1] * 0 + self.get_buffer("identity")], 1)
        for number in range(len(ANCESTORS)):
            frames = frames[:, self.get_buffer(f"ancestor{number}")] @ frames
        return frames[:, :JOINTS]

    def frames(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Global rotations (N, 24, 3, 3), joints (N, 24, 3) and COCO keypoints (N, 17, 3), m, about the pelvis."""
        features = self.features(betas)
        frames = self.walk(rotations, features)
        offsets = (features @ self.get_buffer("coco_offsets")).reshape(-1, len(COCO_JOINT), 3, 1)
        carrier = frames[:, self.get_buffer("rides_on")]
        coco = (carrier[:, :, :3, :3] @ offsets)[..., 0] + carrier[:, :, :3, 3]
        return frames[:, :, :3, :3], frames[:, :, :3, 3], coco

    def frames_batch_last(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `TorchBody.frames_batch_last`."""
        turned, joints, coco = self.frames(rotations.permute(3, 0, 1, 2), betas.T)
        return turned.permute(1, 2, 3, 0), joints.permute(1, 2, 0), coco.permute(1, 2, 0)
