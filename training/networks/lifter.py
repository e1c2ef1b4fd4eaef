"""The keypoint regressor: moving COCO-17 keypoints in, a moving SMPL body out, one frame at a time.

Geometry is exact and outside of what is learned: keypoints become rays, rays are turned into a virtual camera that looks
straight at the person (so that global orientation is right off-centre; the idea of CLIFF, Li et al. 2022, carried out as
a rotation), divided by the person's angular size, and the answer is turned back. A per-frame residual network reads
them; a recurrent one remembers.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from body.joints import COCO_NAMES, JOINT_NAMES
from training.networks.geometry import look_at, rotation_from_6d

KEYPOINTS, JOINTS, BETAS = len(COCO_NAMES), len(JOINT_NAMES), 10
_MEAN_DEPTH = 1.2
"""Depth in metres of a person whose keypoints spread over a unit angle: what the predicted log-depth is relative to."""


@dataclass(frozen=True, slots=True)
class LifterConfig:
    """Sizes of a `Lifter`. ``width`` of the per-frame network, ``blocks`` its depth, ``memory`` of the recurrent one."""

    width: int = 448
    blocks: int = 2
    memory: int = 320
    dropout: float = 0.0

    def to_dict(self) -> dict[str, int | float]:
        return asdict(self)


class Lifted(NamedTuple):
    """``rotations`` (..., 24, 3, 3), the first one global (rest to camera frame); ``betas`` (..., 10); ``pelvis`` (..., 3)
    metres in the camera frame; ``state`` to hand to the next step."""

    rotations: Tensor
    betas: Tensor
    pelvis: Tensor
    state: Tensor


class _Block(nn.Module):
    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Dropout(dropout), nn.Linear(width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Lifter(nn.Module):
    """Lift keypoints to a body.

    Every method takes (B, T, ...) tensors; a live stream is T = 1 with the state handed on. A state of zeros starts a
    new person.
    """

    FEATURES = KEYPOINTS * 4 + 7

    def __init__(self, config: LifterConfig) -> None:
        super().__init__()
        self.config = config
        width, memory = config.width, config.memory
        outputs = JOINTS * 6 + BETAS + 3
        self.frame = nn.Sequential(
            nn.Linear(self.FEATURES, width),
            *[_Block(width, config.dropout) for _ in range(config.blocks)],
            nn.LayerNorm(width),
        )
        self.frame_head = nn.Linear(width, outputs)
        self.into_memory = nn.Linear(width, memory)
        self.recurrent = nn.GRU(memory, memory, batch_first=True)
        last = nn.Linear(width, outputs)
        self.merge = nn.Sequential(nn.Linear(memory + width, width), nn.GELU(), last)
        with torch.no_grad():
            self.frame_head.weight.mul_(0.1)
            self.frame_head.bias.zero_()
            self.frame_head.bias[: JOINTS * 6] = torch.tensor([1.0, 0, 0, 0, 1.0, 0]).repeat(JOINTS)
            # An upright person facing the camera: half a turn about x.
            self.frame_head.bias[:6] = torch.tensor([1.0, 0, 0, 0, -1.0, 0])
            last.weight.zero_()  # temporal correction starts from nothing
            last.bias.zero_()

    def start_state(self, batch: int) -> Tensor:
        """The state (B, memory) of a person never seen before."""
        return torch.zeros(batch, self.config.memory)

    def features(self, points: Tensor, confidence: Tensor, camera: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Network input and the virtual camera.

        Args:
            points: (B, T, 17, 2) px; confidence: (B, T, 17); camera: (B, T, 4) fx, fy, cx, cy px; dt: (B, T) s.

        Returns:
            features (B, T, FEATURES), turn (B, T, 3, 3) from the virtual to the real camera frame, and the person's
            angular size (B, T).
        """
        rays = (points - camera[..., None, 2:]) / camera[..., None, :2]
        # Detections under 0.1 say nothing; those over 0.4 count fully.
        weight = ((confidence - 0.1) / 0.3).clamp(0, 1)
        total = weight.sum(-1, keepdim=True).clamp_min(1e-3)
        centre = (weight[..., None] * rays).sum(-2) / total
        turn = look_at(centre)
        # Into the virtual camera: multiply the ray (x, y, 1) by turn transposed.
        x, y = rays[..., 0], rays[..., 1]

        def along(axis: int) -> Tensor:
            column = turn[..., :, axis]
            return x * column[..., 0:1] + y * column[..., 1:2] + column[..., 2:3]

        ahead = along(2).clamp_min(0.1)
        local = torch.stack([along(0) / ahead, along(1) / ahead], -1)
        spread = (weight[..., None] * local * local).sum((-1, -2)) / total[..., 0]
        size = (spread + 1e-6).sqrt()
        shape = local / size[..., None, None].clamp_min(1e-3)
        shape = (shape * weight[..., None]).clamp(-6, 6)
        edge = camera[..., 2:] / camera[..., :2]
        values = [
            shape.flatten(-2),
            confidence,
            weight,
            centre,
            size.log()[..., None] + 1.5,
            edge,
            (dt[..., None].clamp(0.004, 1.0) * 30).log(),
            total / KEYPOINTS,
        ]
        return torch.cat(values, -1), turn, size

    def decode(self, raw: Tensor, turn: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        rotations = rotation_from_6d(raw[..., : JOINTS * 6].reshape(*raw.shape[:-1], JOINTS, 6))
        root = turn @ rotations[..., 0, :, :]
        rotations = torch.cat([root[..., None, :, :], rotations[..., 1:, :, :]], -3)
        betas = raw[..., JOINTS * 6 : JOINTS * 6 + BETAS]
        place = raw[..., JOINTS * 6 + BETAS :]
        depth = _MEAN_DEPTH / 4.0 / size * place[..., 2].clamp(-3, 3).exp()
        sight = torch.stack([place[..., 0] * size, place[..., 1] * size, torch.ones_like(size)], -1)
        pelvis = (turn @ (sight * depth[..., None])[..., None])[..., 0]
        return rotations, betas, pelvis

    def single(self, points: Tensor, confidence: Tensor, camera: Tensor, dt: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The per-frame answer alone, without memory: rotations, betas, pelvis."""
        x, turn, size = self.features(points, confidence, camera, dt)
        return self.decode(self.frame_head(self.frame(x)), turn, size)

    def forward(self, points: Tensor, confidence: Tensor, camera: Tensor, dt: Tensor, state: Tensor) -> Lifted:
        """Lift (B, T) frames of B people, starting from ``state`` (B, memory)."""
        x, turn, size = self.features(points, confidence, camera, dt)
        seen = self.frame(x)
        remembered, last = self.recurrent(self.into_memory(seen), state[None].contiguous())
        raw = self.frame_head(seen) + self.merge(torch.cat([remembered, seen], -1))
        rotations, betas, pelvis = self.decode(raw, turn, size)
        return Lifted(rotations, betas, pelvis, last[0])
