"""Training examples: moving people before random cameras, as a detector would report them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from body.joints import COCO_NAMES, JOINT_NAMES
from body.lbs_torch import TorchBody
from body.model import load_body
from training.motion.bank import Augmentation, MotionBank, MotionWindow
from training.networks.inputs import Observation
from training.simulation.cameras import Views, draw_views
from training.simulation.detector_noise import NoiseSampler, extent
from training.simulation.flow_grid import CELLS, FlowGrid
from training.simulation.flow_noise import FlowDegrader
from training.simulation.projection import project_rays
from training.simulation.rates import draw_rates
from training.simulation.regions import regions
from training.simulation.shapes import draw_betas

_FACE = [i for i, name in enumerate(COCO_NAMES) if name.split("_")[-1] in ("nose", "eye", "ear")]
_EARS = [COCO_NAMES.index("left_ear"), COCO_NAMES.index("right_ear")]
_NECK, _PELVIS = JOINT_NAMES.index("neck"), JOINT_NAMES.index("pelvis")
_STILL, _LOW = 0.35, 0.06  # m/s and metres: a heel or toes slower and lower than that stand
_TORSO_RADIUS, _TORSO_DEPTH, _HEAD_DEPTH = 0.16, 0.10, 0.025  # metres


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs and targets of B windows of T frames; float32."""

    seen: Observation
    """What the network gets."""
    rotations: Tensor
    """(B, T, 24, 3, 3) rotations, the first one to the camera frame, the others relative to their parents."""
    betas: Tensor
    """(B, 10) shape."""
    joints: Tensor
    """(B, T, 24, 3) metres relative to the pelvis, camera axes."""
    coco: Tensor
    """(B, T, 17, 3) metres relative to the pelvis, camera axes."""
    pelvis: Tensor
    """(B, T, 3) metres, camera frame, as it appears with the focal length that the network is told."""
    size: Tensor
    """(B, T) extent of the person in rays."""
    contact: Tensor
    """(B, T, 4) 1 where `CONTACTS` stand on something."""
    up: Tensor
    """(B, T, 3) unit vector away from the ground, camera axes."""
    root_velocity: Tensor
    """(B, T, 3) m/s of the pelvis over the ground, in the root's own axes."""

    def to(self, device: torch.device) -> Batch:
        """The same batch on ``device``."""
        if device == self.betas.device:
            return self
        return replace(self, seen=replace(self.seen, **_moved(self.seen, device)), **_moved(self, device))

    @property
    def true_rays(self) -> Tensor:
        """(B, T, 17, 2) x/z and y/z of the true keypoints, by the focal length that the network is told."""
        return project_rays(self.coco + self.pelvis[:, :, None])

    @property
    def in_full_view(self) -> Tensor:
        """(B,) whether all true keypoints are inside every frame, whose middle is the principal point."""
        camera = self.seen.camera[:, :, None]
        return ((self.true_rays * camera[..., :2]).abs() <= camera[..., 2:]).all(-1).all(-1).all(-1)

    @property
    def joints_in_frame(self) -> Tensor:
        """(B, T, 24) whether each true joint is in the frame, hidden or not."""
        camera, rays = self.seen.camera[:, :, None], project_rays(self.joints + self.pelvis[:, :, None])
        return ((rays * camera[..., :2]).abs() <= camera[..., 2:]).all(-1)

    def people(self, rows: Tensor) -> Batch:
        """The windows that ``rows`` (B,) of booleans or indices names."""
        parts = {field.name: getattr(self, field.name)[rows] for field in fields(self) if field.name != "seen"}
        return replace(self, seen=self.seen.people(rows), **parts)

    def frames(self, start: int, stop: int) -> Batch:
        """The same windows from frame ``start`` to the one before ``stop``."""
        kept = ("rotations", "joints", "coco", "pelvis", "size", "contact", "up", "root_velocity")
        parts = {name: getattr(self, name)[:, start:stop] for name in kept}
        return replace(self, seen=self.seen.frames(start, stop), **parts)


def keypoint_visibility(joints: Tensor, coco: Tensor, points: Tensor, size: Tensor) -> Tensor:
    """How each keypoint is seen (B, T, 17): 0 visible, 1 hidden behind trunk or head, 2 outside of the frame.

    ``joints`` (B, T, 24, 3) and ``coco`` (B, T, 17, 3) in the camera frame, ``points`` (B, T, 17, 2) px, ``size`` (B, 2)
    px. The trunk is a capsule from pelvis to neck; the far side of the head hides face and ear.
    """
    low, high = joints[:, :, None, _PELVIS], joints[:, :, None, _NECK]
    bone = high - low
    along = ((coco - low) * bone).sum(-1) / (bone * bone).sum(-1).clamp_min(1e-6)
    nearest = low + along.clamp(0, 1)[..., None] * bone
    # Compare where the lines of sight pass, at the trunk's distance.
    aside = (project_rays(coco) - project_rays(nearest)).norm(dim=-1)
    hidden = (aside * nearest[..., 2] < _TORSO_RADIUS) & (coco[..., 2] > nearest[..., 2] + _TORSO_DEPTH)
    middle = coco[:, :, _EARS, 2].mean(-1, keepdim=True)
    hidden[:, :, _FACE] |= coco[:, :, _FACE, 2] > middle + _HEAD_DEPTH
    limit = size[:, None, None]
    outside = ((points < 0) | (points > limit - 1)).any(-1) | (coco[..., 2] < 0.1)
    return torch.where(outside, 2, hidden.long())


@cache
def sole_points() -> tuple[tuple[int, ...], Tensor]:
    """Where a foot meets the ground: joints that carry `CONTACTS`, and the points' places (4, 3) in these joints' frames, m,
    on the default body."""
    arrays = load_body()
    joints = arrays.joint_regressor @ arrays.v_template
    carriers = tuple(JOINT_NAMES.index(f"{side}_{part}") for side in ("left", "right") for part in ("ankle", "foot"))
    places = []
    for carrier, direction in zip(carriers, (-1, 1, -1, 1), strict=True):  # heels are the rearmost, toes the foremost
        near = np.abs(arrays.v_template[:, 0] - joints[carrier, 0]) < 0.1
        sole = arrays.v_template[near & (arrays.v_template[:, 1] < arrays.v_template[:, 1].min() + 0.02)]
        edge = np.quantile(sole[:, 2], 0.15 if direction < 0 else 0.85)
        places.append(sole[(sole[:, 2] - edge) * direction >= 0].mean(0) - joints[carrier])
    return carriers, torch.from_numpy(np.array(places, np.float32))


def contacts(turned: Tensor, joints: Tensor, views: Tensor, pelvis: Tensor, dt: Tensor) -> Tensor:
    """Which of `CONTACTS` stand (B, T, 4), 1 or 0: those that hardly move in the world and are near the lowest place of the
    window.

    ``turned`` (B, T, 24, 3, 3) global rotations to camera axes; ``joints`` (B, T, 24, 3) relative to the pelvis in camera
    axes, ``views`` (B, T, 3, 3) world to camera, ``pelvis`` (B, T, 3) in the world (y up), m; ``dt`` (B, T) s.
    """
    carriers, places = sole_points()
    chosen = list(carriers)
    points = joints[:, :, chosen] + (turned[:, :, chosen] @ places[..., None])[..., 0]
    points = points @ views + pelvis[:, :, None]  # row vectors: times the transpose of camera to world
    speed = torch.zeros(points.shape[:3])
    if points.shape[1] > 1:
        speed[:, 1:] = (points[:, 1:] - points[:, :-1]).square().sum(-1).sqrt() / dt[:, 1:, None]
        speed[:, 0] = speed[:, 1]
    height = points[..., 1] - points[..., 1].amin((1, 2), keepdim=True)
    return ((speed < _STILL) & (height < _LOW)).float()


def root_velocity(root: Tensor, views: Tensor, pelvis: Tensor, dt: Tensor) -> Tensor:
    """Velocity of the pelvis over the ground in the root's own axes (B, T, 3) m/s, from ``root`` (B, T, 3, 3) to camera axes
    and the rest as in `contacts`. Zero for windows of one frame, which do not show it."""
    speed = torch.zeros_like(pelvis)
    if pelvis.shape[1] > 1:
        speed[:, 1:] = (pelvis[:, 1:] - pelvis[:, :-1]) / dt[:, 1:, None]
        speed[:, 0] = speed[:, 1]
    return (root.mT @ (views @ speed[..., None]))[..., 0]


@dataclass(frozen=True, slots=True)
class FlowSource:
    """Where a batch's optical flow comes from."""

    grid: FlowGrid
    """Gives exact fields."""
    degrade: FlowDegrader
    """Makes them look estimated."""
    dropout: float = 0.06
    """Share of the windows that have no flow."""
    gaps: float = 0.03
    """Share of the single frames that have none."""


def _moved(record: Any, device: torch.device) -> dict[str, Tensor]:
    """The tensors among a record's fields, on ``device``."""
    values = {name: getattr(record, name) for name in record.__slots__}
    return {name: value.to(device) for name, value in values.items() if isinstance(value, Tensor)}


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
    def draw(self, batch: int, length: int, fps: float | Tensor | None = None) -> Batch:
        """``batch`` windows of ``length`` frames, at ``fps``, one for all or (B, T), or at mixed rates."""
        rates = draw_rates(batch, length, self.generator) if fps is None else torch.as_tensor(fps).expand(batch, length)
        window = self.bank.sample(batch, length, self.augmentation, rates)
        betas = draw_betas(batch, self.generator)
        return self.observe(window, betas, draw_views(window, self.generator))

    @torch.no_grad()
    def observe(self, window: MotionWindow, betas: Tensor, views: Views) -> Batch:
        """What a detector would report of people of ``betas`` (B, 10) who move as in ``window`` before ``views``."""
        batch, length = window.dt.shape
        root = views.rotation @ window.rotations[:, :, 0]
        rotations = torch.cat([root[:, :, None], window.rotations[:, :, 1:]], 2)
        turned, joints, coco = self.body.frames(rotations, betas[:, None].expand(batch, length, 10))
        place = views.pelvis[:, :, None]
        points = views.project(coco + place)
        state = keypoint_visibility(joints + place, coco + place, points, views.size)
        state = torch.maximum(state, self._occlude(points, state))
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
            contacts(turned, joints, views.rotation, window.pelvis, window.dt),
            views.rotation[..., 1].contiguous(),
            root_velocity(root, views.rotation, window.pelvis, window.dt),
        )

    def _flow(self, rotations: Tensor, betas: Tensor, views: Views, box: Tensor) -> tuple[Tensor, Tensor]:
        """Flow (B, T, 32, 32, 2) in sides of ``box`` and where there is one (B, T)."""
        batch, length = box.shape[:2]
        valid = torch.zeros(batch, length)
        if self.flow is None or length == 1:
            return torch.zeros(batch, length, CELLS, CELLS, 2), valid
        shown = torch.rand(batch, generator=self.generator) >= self.flow.dropout
        if self.clean:
            shown[:] = True
        rows = shown.nonzero()[:, 0]
        everywhere = torch.zeros(batch, length, CELLS, CELLS, 2)
        if not len(rows):
            return everywhere, valid
        field, body, inside = self.flow.grid(
            rotations[rows],
            betas[rows],
            views.pelvis[rows],
            views.rotation[rows],
            views.focal[rows],
            views.camera[rows, 2:],
            box[rows],
            views.size[rows],
        )
        valid[rows, 1:] = 1
        if not self.clean:
            field = self.flow.degrade(field, body, inside)
            gap = torch.rand(batch, length, generator=self.generator) < self.flow.gaps
            valid = valid * (~gap).float()
        everywhere[rows] = field * valid[rows][..., None, None, None]
        return everywhere, valid

    def seed(self, number: int) -> None:
        """Make the next draw a function of ``number`` alone."""
        for offset, generator in enumerate(self._generators()):
            generator.manual_seed(3 * number + offset)

    def _generators(self) -> list[torch.Generator]:
        flow = [self.flow.degrade.generator] if self.flow else []
        return [self.generator, self.noise.generator, *flow]

    def _occlude(self, points: Tensor, state: Tensor) -> Tensor:
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
