"""Random cameras looking at moving people: webcams, phones and surveillance, near and far, tilted, moving."""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from training.motion.bank import MotionWindow, smooth_noise
from training.simulation.projection import project_pixels

_TO_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0]))  # world y up, facing +z ▶ camera y down, z forward
_SIZES = torch.tensor([[640.0, 480.0], [1280.0, 720.0], [1920.0, 1080.0], [480.0, 640.0], [720.0, 1280.0]])


@dataclass(frozen=True, slots=True)
class Views:
    """Where each of B people stands before which camera; float32."""

    rotation: Tensor
    """(B, T, 3, 3) takes the world to the camera frame (OpenCV axes)."""
    pelvis: Tensor
    """(B, T, 3) metres, camera frame."""
    camera: Tensor
    """(B, 4) fx, fy, cx, cy, pixels, as the network is TOLD."""
    focal: Tensor
    """(B,) the true focal length, pixels."""
    size: Tensor
    """(B, 2) width and height of the image, pixels."""

    def project(self, points: Tensor) -> Tensor:
        """Image points (B, T, K, 2) px of ``points`` (B, T, K, 3) in the camera frame, by the true focal length."""
        return project_pixels(points, self.focal[:, None, None, None], self.camera[:, None, None, 2:])


class _Draw:
    """Random numbers for ``batch`` cameras from one generator."""

    def __init__(self, batch: int, generator: torch.Generator) -> None:
        self.batch, self.generator = batch, generator

    def uniform(self, low: float = 0.0, high: float = 1.0) -> Tensor:
        """(B,) between ``low`` and ``high``."""
        return torch.rand(self.batch, generator=self.generator) * (high - low) + low

    def normal(self) -> Tensor:
        """(B,) of zero mean and unit deviation."""
        return torch.randn(self.batch, generator=self.generator)

    def chance(self, share: float) -> Tensor:
        """(B,) bool, true for this ``share`` of the cameras."""
        return self.uniform() < share

    def noise(self, times: Tensor, period_s: float) -> Tensor:
        """(B, T, 3) smooth noise of unit deviation over ``times`` (B, T) s, which changes within ``period_s``."""
        return smooth_noise(self.batch, times, 3, period_s, self.generator)


def draw_views(window: MotionWindow, generator: torch.Generator) -> Views:
    """A camera for every window of motion. Half of all cameras know their focal length, the others assume one."""
    draw = _Draw(len(window.dt), generator)
    size = _SIZES[torch.randint(len(_SIZES), (draw.batch,), generator=generator)]
    focal = _draw_focal(draw, size)
    still = _draw_orientation(draw, window)
    times = torch.cumsum(window.dt, 1) - window.dt[:, :1]
    pelvis = _place_people(draw, window, times, still, size, focal)
    moving = _draw_movement(draw, times)
    rotation = moving @ still[:, None]
    pelvis = (moving @ pelvis[..., None])[..., 0]
    behind = (0.45 - pelvis[..., 2].amin(1)).clamp_min(0)  # nobody walks through the camera
    zero = torch.zeros(draw.batch)
    pelvis = pelvis + torch.stack([zero, zero, behind], -1)[:, None]

    assumed = torch.where(draw.chance(0.5), torch.ones(draw.batch), torch.exp(draw.normal() * 0.16))
    told = focal * assumed
    camera = torch.stack([told, told, size[:, 0] / 2, size[:, 1] / 2], -1)
    return Views(rotation, pelvis, camera, focal, size)


def _draw_focal(draw: _Draw, size: Tensor) -> Tensor:
    """Focal lengths (B,) px for images of ``size`` (B, 2) px; a fifth are telephoto."""
    longest = size.amax(1)
    focal = longest * torch.exp(draw.uniform(-0.6, 0.25))
    return torch.where(draw.chance(0.2), longest * torch.exp(draw.uniform(0.0, 0.9)), focal)


def _draw_orientation(draw: _Draw, window: MotionWindow) -> Tensor:
    """Rotations (B, 3, 3) from the world to cameras that stand still."""
    yaw = draw.uniform(-torch.pi, torch.pi)
    # People who use a webcam or are filmed face the camera more often than not.
    yaw = torch.where(draw.chance(0.45), draw.normal() * 0.7, yaw)
    zero = torch.zeros(draw.batch)
    facing = window.rotations[:, 0, 0, :, 2]
    yaw = yaw - torch.where(draw.chance(0.7), torch.atan2(facing[:, 0], facing[:, 2]), zero)
    pitch = draw.normal() * 0.18 + 0.05
    pitch = torch.where(draw.chance(0.15), draw.uniform(0.2, 0.9), pitch)
    roll = draw.normal() * 0.06
    roll = torch.where(draw.chance(0.12), draw.normal() * 0.4, roll)
    turn = roma.rotvec_to_rotmat(torch.stack([zero, yaw, zero], -1))
    tilt = roma.rotvec_to_rotmat(torch.stack([pitch, zero, zero], -1))
    lean = roma.rotvec_to_rotmat(torch.stack([zero, zero, roll], -1))
    return lean @ tilt @ _TO_OPENCV @ turn


def _place_people(
    draw: _Draw, window: MotionWindow, times: Tensor, still: Tensor, size: Tensor, focal: Tensor
) -> Tensor:
    """Pelvises (B, T, 3) m in the frame of the cameras that stand ``still``."""
    # Distance from how large the person is to appear; a close view looks at the chest or the face, not at the pelvis.
    share = torch.exp(draw.uniform(-1.7, 0.05))
    close = draw.chance(0.38)
    share = torch.where(close, torch.exp(draw.uniform(0.15, 1.15)), share)
    depth = (1.7 * focal / (share * size[:, 1])).clamp_min(0.65)
    focus = torch.where(close, draw.uniform(0.15, 0.6), draw.uniform(-0.25, 0.25))
    at = (torch.stack([draw.uniform(), draw.uniform(0.2, 0.8)], -1) - 0.5) * size
    at[:, 0] *= torch.where(close, 0.45, 0.8)
    at[:, 1] *= torch.where(close, 0.6, 0.7)
    aim = torch.cat([at / focal[:, None], torch.ones(draw.batch, 1)], -1) * depth[:, None]
    path = window.pelvis - window.pelvis.mean(1, keepdim=True)
    # Half of the cameras follow the person; the rest stand still and the person walks through the frame.
    ground = torch.tensor([1.0, 0.0, 1.0]) * draw.chance(0.5).float()[:, None]
    path = path * (1 - ground[:, None])
    path = path + draw.noise(times, 3.0) * 0.03
    zero = torch.zeros(draw.batch)
    up = torch.stack([zero, focus, zero], -1)[:, None]
    return torch.einsum("bij,btj->bti", still, path - up) + aim[:, None]


def _draw_movement(draw: _Draw, times: Tensor) -> Tensor:
    """Rotations (B, T, 3, 3) of cameras about where they stand: some shake in a hand, some pan."""
    zero = torch.zeros(draw.batch)
    shake = torch.where(draw.chance(0.4), torch.exp(draw.normal() * 0.8) * 0.01, zero)
    pan = torch.where(draw.chance(0.2), torch.exp(draw.normal() * 0.5) * 0.06, zero)
    motion = draw.noise(times, 0.6) * shake[:, None, None]
    motion = motion + draw.noise(times, 4.0) * pan[:, None, None]
    return roma.rotvec_to_rotmat(motion)
