"""Training examples: moving people before random cameras, as a detector would report them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from body.joints import COCO_NAMES, JOINT_NAMES
from body.lbs_torch import TorchBody
from training.bank import Augmentation, MotionBank
from training.noise import NoiseSampler, extent
from training.views import draw_views

_FACE = [i for i, name in enumerate(COCO_NAMES) if name.split("_")[-1] in ("nose", "eye", "ear")]
_EARS = [COCO_NAMES.index("left_ear"), COCO_NAMES.index("right_ear")]
_NECK, _PELVIS = JOINT_NAMES.index("neck"), JOINT_NAMES.index("pelvis")
_TORSO_RADIUS, _TORSO_DEPTH, _HEAD_DEPTH = 0.16, 0.10, 0.025  # metres


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs and targets of B windows of T frames.

    ``points`` (B, T, 17, 2) px and ``confidence`` (B, T, 17) as detected; ``camera`` (B, T, 4) fx, fy, cx, cy px; ``dt``
    (B, T) s. Targets: ``rotations`` (B, T, 24, 3, 3), the first one to the camera frame; ``betas`` (B, 10); ``joints``
    (B, T, 24, 3) and ``coco`` (B, T, 17, 3) m, relative to the pelvis, camera axes; ``pelvis`` (B, T, 3) m as it appears
    with the focal length that the network is told; ``size`` (B, T) extent of the person in rays.
    """

    points: Tensor
    confidence: Tensor
    camera: Tensor
    dt: Tensor
    rotations: Tensor
    betas: Tensor
    joints: Tensor
    coco: Tensor
    pelvis: Tensor
    size: Tensor


def visibility(joints: Tensor, coco: Tensor, points: Tensor, size: Tensor) -> Tensor:
    """How each keypoint is seen (B, T, 17): 0 visible, 1 hidden behind trunk or head, 2 outside of the picture.

    ``joints`` (B, T, 24, 3) and ``coco`` (B, T, 17, 3) in the camera frame, ``points`` (B, T, 17, 2) px, ``size`` (B, 2)
    px. The trunk is a capsule from pelvis to neck; the far side of the head hides face and ear.
    """
    low, high = joints[:, :, None, _PELVIS], joints[:, :, None, _NECK]
    bone = high - low
    along = ((coco - low) * bone).sum(-1) / (bone * bone).sum(-1).clamp_min(1e-6)
    nearest = low + along.clamp(0, 1)[..., None] * bone
    # Compare where the lines of sight pass, at the trunk's distance.
    aside = (coco[..., :2] / coco[..., 2:].clamp_min(0.1) - nearest[..., :2] / nearest[..., 2:].clamp_min(0.1)).norm(
        dim=-1
    )
    hidden = (aside * nearest[..., 2] < _TORSO_RADIUS) & (coco[..., 2] > nearest[..., 2] + _TORSO_DEPTH)
    middle = coco[:, :, _EARS, 2].mean(-1, keepdim=True)
    hidden[:, :, _FACE] |= coco[:, :, _FACE, 2] > middle + _HEAD_DEPTH
    limit = size[:, None, None]
    outside = ((points < 0) | (points > limit - 1)).any(-1) | (coco[..., 2] < 0.1)
    return torch.where(outside, 2, hidden.long())


class BatchMaker:
    """Draws `Batch`es. ``augmentation`` NONE and a fixed ``fps`` make a validation set."""

    def __init__(
        self,
        bank: MotionBank,
        body: TorchBody,
        noise: NoiseSampler,
        augmentation: Augmentation,
        occluders: float = 0.15,
    ) -> None:
        self.bank, self.body, self.noise = bank, body, noise
        self.augmentation, self.occluders = augmentation, occluders
        self.generator = bank.generator

    @torch.no_grad()
    def draw(self, batch: int, length: int, fps: float | None = None) -> Batch:
        """``batch`` windows of ``length`` frames, at ``fps`` or at mixed rates."""
        rates = None if fps is None else torch.full((batch,), fps)
        window = self.bank.sample(batch, length, self.augmentation, rates)
        betas = torch.randn(batch, 10, generator=self.generator).clamp(-2, 2)
        betas[:, 5:] *= 0.7
        views = draw_views(window, self.generator)
        root = views.rotation @ window.rotations[:, :, 0]
        rotations = torch.cat([root[:, :, None], window.rotations[:, :, 1:]], 2)
        joints, coco = self.body.skeleton(rotations, betas[:, None].expand(batch, length, 10))
        place = views.pelvis[:, :, None]
        points = views.project(coco + place)
        state = visibility(joints + place, coco + place, points, views.size)
        state = torch.maximum(state, self._occlude(points, state, window.dt))
        detected, confidence = self.noise(points, state, views.size, window.dt)
        stretch = torch.stack([torch.ones(batch), torch.ones(batch), views.camera[:, 0] / views.focal], -1)
        return Batch(
            detected,
            confidence,
            views.camera[:, None].expand(batch, length, 4),
            window.dt,
            rotations,
            betas,
            joints,
            coco,
            views.pelvis * stretch[:, None],
            extent(points, state < 2) / views.focal[:, None],
        )

    def _occlude(self, points: Tensor, state: Tensor, dt: Tensor) -> Tensor:
        """Furniture and passers-by: in some windows a still rectangle hides what is behind it. 0 or 1, (B, T, 17)."""
        batch = len(points)
        pick = torch.randint(17, (batch,), generator=self.generator)
        middle = points[torch.arange(batch), 0, pick][:, None, None]
        reach = extent(points[:, :1], state[:, :1] < 2)[:, :, None, None]
        half = reach * (torch.rand(batch, 1, 1, 2, generator=self.generator) * 0.3 + 0.05)
        covered = ((points - middle).abs() < half).all(-1)
        used = torch.rand(batch, generator=self.generator) < self.occluders
        # A desk hides all that is lower than its edge.
        desk = points[..., 1] > middle[..., 1]
        low = torch.rand(batch, generator=self.generator) < self.occluders * 0.5
        return ((covered & used[:, None, None]) | (desk & low[:, None, None])).long()
