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


def draw_views(window: MotionWindow, generator: torch.Generator) -> Views:
    """A camera for every window of motion. Half of all cameras know their focal length, the others assume one."""
    batch = len(window.dt)

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, generator=generator) * (high - low) + low

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    size = _SIZES[torch.randint(len(_SIZES), (batch,), generator=generator)]
    longest = size.amax(1)
    focal = longest * torch.exp(uniform(batch, low=-0.6, high=0.25))
    focal = torch.where(uniform(batch) < 0.2, longest * torch.exp(uniform(batch, low=0.0, high=0.9)), focal)

    yaw = uniform(batch, low=-torch.pi, high=torch.pi)
    # People who use a webcam or are filmed face the camera more often than not.
    yaw = torch.where(uniform(batch) < 0.45, normal(batch) * 0.7, yaw)
    facing = window.rotations[:, 0, 0, :, 2]
    heading = torch.where(uniform(batch) < 0.7, torch.atan2(facing[:, 0], facing[:, 2]), torch.zeros(batch))
    yaw = yaw - heading
    pitch = normal(batch) * 0.18 + 0.05
    pitch = torch.where(uniform(batch) < 0.15, uniform(batch, low=0.2, high=0.9), pitch)
    roll = normal(batch) * 0.06
    roll = torch.where(uniform(batch) < 0.12, normal(batch) * 0.4, roll)
    zero = torch.zeros(batch)
    turn = roma.rotvec_to_rotmat(torch.stack([zero, yaw, zero], -1))
    tilt = roma.rotvec_to_rotmat(torch.stack([pitch, zero, zero], -1))
    lean = roma.rotvec_to_rotmat(torch.stack([zero, zero, roll], -1))
    still = lean @ tilt @ _TO_OPENCV @ turn

    # Distance from how large the person is to appear; a close view looks at the chest or the face, not at the pelvis.
    height = size[:, 1]
    share = torch.exp(uniform(batch, low=-1.7, high=0.05))
    close = uniform(batch) < 0.38
    share = torch.where(close, torch.exp(uniform(batch, low=0.15, high=1.15)), share)
    depth = (1.7 * focal / (share * height)).clamp_min(0.65)
    focus = torch.where(close, uniform(batch, low=0.15, high=0.6), uniform(batch, low=-0.25, high=0.25))
    at = (torch.stack([uniform(batch), uniform(batch, low=0.2, high=0.8)], -1) - 0.5) * size
    at[:, 0] *= torch.where(close, 0.45, 0.8)
    at[:, 1] *= torch.where(close, 0.6, 0.7)
    aim = torch.cat([at / focal[:, None], torch.ones(batch, 1)], -1) * depth[:, None]
    times = torch.cumsum(window.dt, 1) - window.dt[:, :1]
    path = window.pelvis - window.pelvis.mean(1, keepdim=True)
    # Half of the cameras follow the person; the rest stand still and the person walks through the frame.
    ground = torch.tensor([1.0, 0.0, 1.0]) * (uniform(batch) < 0.5).float()[:, None]
    path = path * (1 - ground[:, None])
    path = path + smooth_noise(batch, times, 3, 3.0, generator) * 0.03
    up = torch.stack([zero, focus, zero], -1)[:, None]
    pelvis = torch.einsum("bij,btj->bti", still, path - up) + aim[:, None]

    shake = torch.where(uniform(batch) < 0.4, torch.exp(normal(batch) * 0.8) * 0.01, zero)
    pan = torch.where(uniform(batch) < 0.2, torch.exp(normal(batch) * 0.5) * 0.06, zero)
    motion = smooth_noise(batch, times, 3, 0.6, generator) * shake[:, None, None]
    motion = motion + smooth_noise(batch, times, 3, 4.0, generator) * pan[:, None, None]
    moving = roma.rotvec_to_rotmat(motion)
    rotation = moving @ still[:, None]
    pelvis = (moving @ pelvis[..., None])[..., 0]
    behind = (0.45 - pelvis[..., 2].amin(1)).clamp_min(0)  # nobody walks through the camera
    pelvis = pelvis + torch.stack([zero, zero, behind], -1)[:, None]

    assumed = torch.where(uniform(batch) < 0.5, torch.ones(batch), torch.exp(normal(batch) * 0.16))
    told = focal * assumed
    camera = torch.stack([told, told, size[:, 0] / 2, size[:, 1] / 2], -1)
    return Views(rotation, pelvis, camera, focal, size)
