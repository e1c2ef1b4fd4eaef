"""People on one floor before one camera whose place in the world is known exactly, as a detector would report them.

Keypoints and flow are simulated (`training.simulation`), nothing is rendered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import roma
import torch
from torch import Tensor

from body.lbs_torch import TorchBody
from common.arrays import DoubleArray, FloatArray
from common.camera import Camera
from training.motion.bank import MotionWindow, smooth_noise
from training.simulation.batches import Batch, BatchMaker, sole_points
from training.simulation.cameras import Views
from training.simulation.shapes import draw_betas

Kind = Literal["level", "tilted", "rolled", "hand-held", "panning"]
SCENE_KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
SCENE_FPS: Final = 30.0
SCENE_WIDTH, SCENE_HEIGHT, SCENE_FOCAL = 1280.0, 720.0, 1000.0


@dataclass(frozen=True, slots=True)
class WorldScene:
    """T frames of P people. Metres; the world is y up, its floor at y = 0."""

    kind: Kind
    """What kind of camera it is."""
    camera: Camera
    """Its intrinsics, pixels."""
    batch: Batch
    """Observations of P windows of T frames, and the truth in the camera frame."""
    world_from_camera: DoubleArray
    """float64 (T, 4, 4) rigid transform, camera frame to world frame."""
    joints: DoubleArray
    """(P, T, 24, 3) joints in the world frame, metres."""
    soles: DoubleArray
    """(P, T, 4, 3) `body.soles.CONTACTS`, world."""
    contact: FloatArray
    """(P, T, 4) 1 where they stand."""


def draw_scene(kind: Kind, people: int, frames: int, maker: BatchMaker, body: TorchBody) -> WorldScene:
    """``people`` who move in places of their own, from one to five metres apart, in full view of a camera of one ``kind``."""
    generator = maker.generator

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    window = maker.bank.sample(people, frames, maker.augmentation, torch.full((people, frames), SCENE_FPS))
    betas = draw_betas(people, generator)
    turned, relative, _ = body.frames(window.rotations, betas[:, None].expand(people, frames, 10))
    carriers, places = sole_points()
    chosen = list(carriers)
    soles = relative[:, :, chosen] + (turned[:, :, chosen] @ places[..., None])[..., 0]
    # Clips were recorded with other people's legs: the feet that are lowest most of the time stand on the floor.
    lowest = (soles + window.pelvis[:, :, None])[..., 1].amin(2).quantile(0.1, 1)
    middle = window.pelvis.mean(1)
    where = torch.stack(
        [uniform(-0.9, 0.9, people) + 1.1 * (torch.arange(people) - (people - 1) / 2), lowest, uniform(-1, 1, people)],
        1,
    )
    start = middle * torch.tensor([1.0, 0.0, 1.0])
    pelvis = window.pelvis - start[:, None] + where[:, None] * torch.tensor([1.0, -1.0, 1.0])
    window = MotionWindow(window.rotations, pelvis, window.dt)
    turn, centre = _camera(kind, pelvis, window.dt[0], generator)
    rotation = turn.expand(people, -1, -1, -1).contiguous()
    placed = torch.einsum("tij,ptj->pti", turn, pelvis - centre)
    told = torch.tensor([SCENE_FOCAL, SCENE_FOCAL, SCENE_WIDTH / 2, SCENE_HEIGHT / 2]).expand(people, 4).contiguous()
    views = Views(
        rotation,
        placed,
        told,
        torch.full((people,), SCENE_FOCAL),
        torch.tensor([[SCENE_WIDTH, SCENE_HEIGHT]]).expand(people, 2).contiguous(),
    )
    batch = maker.observe(window, betas, views)
    out = np.tile(np.eye(4), (frames, 1, 1))
    out[:, :3, :3] = turn.mT.numpy()
    out[:, :3, 3] = centre.numpy()
    world = pelvis[:, :, None]
    return WorldScene(
        kind,
        Camera(SCENE_FOCAL, SCENE_FOCAL, SCENE_WIDTH / 2, SCENE_HEIGHT / 2),
        batch,
        out,
        (relative + world).double().numpy(),
        (soles + world).double().numpy(),
        batch.contact.numpy(),
    )


def _camera(kind: Kind, pelvis: Tensor, dt: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """World to camera (T, 3, 3) and the camera's place (T, 3), so far away that everybody is in the image."""

    def uniform(low: float, high: float) -> float:
        return float(torch.rand(1, generator=generator)) * (high - low) + low

    frames = len(dt)
    tilt = uniform(15, 35) if kind == "tilted" else uniform(-3, 12)
    roll = uniform(8, 25) * math.copysign(1, uniform(-1, 1)) if kind == "rolled" else uniform(-2, 2)
    low, high = pelvis.amin((0, 1)), pelvis.amax((0, 1))
    reach = float((high - low)[[0, 2]].max()) / 2 + 1.1
    distance = max(reach * SCENE_FOCAL / (SCENE_HEIGHT / 2) * 0.9, 3.5)
    middle = (low + high) / 2
    aim = torch.tensor([float(middle[0]), 0.95, float(middle[2])])
    pitch, lean = math.radians(tilt), math.radians(roll)
    yaw = uniform(-math.pi, math.pi)
    flat = torch.tensor([math.sin(yaw), 0.0, math.cos(yaw)])
    centre = aim + distance * (flat * math.cos(pitch) + torch.tensor([0.0, math.sin(pitch), 0.0]))
    forward = torch.nn.functional.normalize(aim - centre, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, torch.tensor([0.0, 1.0, 0.0])), dim=0)
    still = torch.stack([right, torch.linalg.cross(forward, right), forward])
    still = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, -lean])) @ still
    times = torch.cumsum(dt, 0)[None] - dt[0]
    moving, sway = torch.zeros(frames, 3), torch.zeros(frames, 3)
    if kind == "hand-held":
        moving = smooth_noise(1, times, 3, 0.9, generator)[0] * math.radians(1.2)
        sway = smooth_noise(1, times, 3, 2.0, generator)[0] * 0.02
    elif kind == "panning":
        moving[:, 1] = torch.sin(times[0] * 2 * math.pi / 5) * math.radians(12)
    return roma.rotvec_to_rotmat(moving - moving[:1]) @ still, centre + sway
