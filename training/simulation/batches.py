"""Training examples: moving people before random cameras, as a detector would report them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from body.joints import COCO_NAMES, JOINT_NAMES
from body.lbs_torch import TorchBody
from training.motion.bank import Augmentation, MotionBank
from training.networks.inputs import Observation
from training.simulation.cameras import Views, draw_views
from training.simulation.detector_noise import NoiseSampler, extent
from training.simulation.flow_grid import CELLS, FlowGrid
from training.simulation.flow_noise import FlowDegrader
from training.simulation.regions import regions
from training.simulation.shapes import draw_betas

_FACE = [i for i, name in enumerate(COCO_NAMES) if name.split("_")[-1] in ("nose", "eye", "ear")]
_EARS = [COCO_NAMES.index("left_ear"), COCO_NAMES.index("right_ear")]
_NECK, _PELVIS = JOINT_NAMES.index("neck"), JOINT_NAMES.index("pelvis")
_FEET = [JOINT_NAMES.index("left_foot"), JOINT_NAMES.index("right_foot")]
_STILL, _LOW = 0.35, 0.12  # m/s and metres: a foot slower and lower than that stands
_TORSO_RADIUS, _TORSO_DEPTH, _HEAD_DEPTH = 0.16, 0.10, 0.025  # metres


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs and targets of B windows of T frames.

    ``seen`` is what the network gets. Targets: ``rotations`` (B, T, 24, 3, 3), the first one to the camera frame; ``betas``
    (B, 10); ``joints`` (B, T, 24, 3) and ``coco`` (B, T, 17, 3) m, relative to the pelvis, camera axes; ``pelvis``
    (B, T, 3) m as it appears with the focal length that the network is told; ``size`` (B, T) extent of the person in
    rays; ``contact`` (B, T, 2) 1 where the left and the right foot stand on something.
    """

    seen: Observation
    rotations: Tensor
    betas: Tensor
    joints: Tensor
    coco: Tensor
    pelvis: Tensor
    size: Tensor
    contact: Tensor

    @property
    def true_rays(self) -> Tensor:
        """(B, T, 17, 2) x/z and y/z of the true keypoints, by the focal length that the network is told."""
        placed = self.coco + self.pelvis[:, :, None]
        return placed[..., :2] / placed[..., 2:].clamp_min(0.1)

    @property
    def in_full_view(self) -> Tensor:
        """(B,) whether all true keypoints are in the picture in every frame; its middle is the principal point."""
        camera = self.seen.camera[:, :, None]
        return ((self.true_rays * camera[..., :2]).abs() <= camera[..., 2:]).all(-1).all(-1).all(-1)

    @property
    def joints_in_picture(self) -> Tensor:
        """(B, T, 24) whether each true joint is in the picture, hidden or not."""
        camera, placed = self.seen.camera[:, :, None], self.joints + self.pelvis[:, :, None]
        return ((placed[..., :2] / placed[..., 2:].clamp_min(0.1) * camera[..., :2]).abs() <= camera[..., 2:]).all(-1)

    def people(self, rows: Tensor) -> Batch:
        """The windows that ``rows`` (B,) of booleans or indices names."""
        parts = {field.name: getattr(self, field.name)[rows] for field in fields(self) if field.name != "seen"}
        return replace(self, seen=self.seen.people(rows), **parts)

    def frames(self, start: int, stop: int) -> Batch:
        """The same windows from frame ``start`` to the one before ``stop``."""
        kept = ("rotations", "joints", "coco", "pelvis", "size", "contact")
        parts = {name: getattr(self, name)[:, start:stop] for name in kept}
        return replace(self, seen=self.seen.frames(start, stop), **parts)


def keypoint_visibility(joints: Tensor, coco: Tensor, points: Tensor, size: Tensor) -> Tensor:
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


def standing(joints: Tensor, turns: Tensor, pelvis: Tensor, dt: Tensor) -> Tensor:
    """Which feet stand (B, T, 2), 1 or 0: those that hardly move in the world and are near the lowest place of the window.

    ``joints`` (B, T, 24, 3) relative to the pelvis in camera axes, ``turns`` (B, T, 3, 3) world to camera, ``pelvis``
    (B, T, 3) in the world (y up), m; ``dt`` (B, T) s.
    """
    feet = joints[:, :, _FEET] @ turns + pelvis[:, :, None]  # row vectors: times the transpose of camera to world
    speed = torch.zeros(feet.shape[:3])
    if feet.shape[1] > 1:
        speed[:, 1:] = (feet[:, 1:] - feet[:, :-1]).norm(dim=-1) / dt[:, 1:, None]
        speed[:, 0] = speed[:, 1]
    height = feet[..., 1] - feet[..., 1].amin((1, 2), keepdim=True)
    return ((speed < _STILL) & (height < _LOW)).float()


@dataclass(frozen=True, slots=True)
class FlowSource:
    """Where a batch's optical flow comes from: exact fields, and what makes them look estimated. ``dropout`` of the windows
    and of the single frames have none."""

    grid: FlowGrid
    degrade: FlowDegrader
    dropout: float = 0.06


class BatchMaker:
    """Draws `Batch`es. ``augmentation`` NONE and a fixed ``fps`` make a validation set.

    Args:
        flow: None leaves the optical flow out, for regressors that read none.
        clean: leave the detector's and the flow's errors out.
    """

    def __init__(
        self,
        bank: MotionBank,
        body: TorchBody,
        noise: NoiseSampler,
        augmentation: Augmentation,
        occluders: float = 0.15,
        flow: FlowSource | None = None,
        clean: bool = False,
    ) -> None:
        self.bank, self.body, self.noise = bank, body, noise
        self.augmentation, self.occluders = augmentation, occluders
        self.flow, self.clean = flow, clean
        self.generator = bank.generator

    @torch.no_grad()
    def draw(self, batch: int, length: int, fps: float | None = None) -> Batch:
        """``batch`` windows of ``length`` frames, at ``fps`` or at mixed rates."""
        rates = None if fps is None else torch.full((batch,), fps)
        window = self.bank.sample(batch, length, self.augmentation, rates)
        betas = draw_betas(batch, self.generator)
        views = draw_views(window, self.generator)
        root = views.rotation @ window.rotations[:, :, 0]
        rotations = torch.cat([root[:, :, None], window.rotations[:, :, 1:]], 2)
        joints, coco = self.body.skeleton(rotations, betas[:, None].expand(batch, length, 10))
        place = views.pelvis[:, :, None]
        points = views.project(coco + place)
        state = keypoint_visibility(joints + place, coco + place, points, views.size)
        state = torch.maximum(state, self._occlude(points, state, window.dt))
        detected, confidence = self.noise(points, state, views.size, window.dt)
        if self.clean:
            detected, confidence = points, torch.ones_like(confidence)
        stretch = torch.stack([torch.ones(batch), torch.ones(batch), views.camera[:, 0] / views.focal], -1)
        box = regions(detected, confidence, views.size)
        flow, valid = self._flow(rotations, betas, views, box)
        camera = views.camera[:, None].expand(batch, length, 4)
        return Batch(
            Observation(detected, confidence, camera, window.dt, flow, box, valid),
            rotations,
            betas,
            joints,
            coco,
            views.pelvis * stretch[:, None],
            extent(points, state < 2) / views.focal[:, None],
            standing(joints, views.rotation, window.pelvis, window.dt),
        )

    def _flow(self, rotations: Tensor, betas: Tensor, views: Views, box: Tensor) -> tuple[Tensor, Tensor]:
        """Flow (B, T, 32, 32, 2) in sides of ``box`` and where there is one (B, T)."""
        batch, length = box.shape[:2]
        valid = torch.zeros(batch, length)
        if self.flow is None or length == 1:
            return torch.zeros(batch, length, CELLS, CELLS, 2), valid
        field, body, inside = self.flow.grid(
            rotations, betas, views.pelvis, views.rotation, views.focal, views.camera[:, 2:], box, views.size
        )
        valid[:, 1:] = 1
        if not self.clean:
            field = self.flow.degrade(field, body, inside)
            lost = torch.rand(batch, 1, generator=self.generator) < self.flow.dropout
            gap = torch.rand(batch, length, generator=self.generator) < self.flow.dropout * 0.5
            valid = valid * (~(lost | gap)).float()
        return field * valid[..., None, None, None], valid

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
