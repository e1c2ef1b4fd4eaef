"""Endless random human motion, drawn from a library of clips.

A few hours of motion capture hold only some thousand distinct poses. Each drawn window is therefore made new: another
speed, frame rate and side, limbs taken from other clips, a chair under the person, limbs swung freely through their
range, and slow random offsets on every joint. Everything is one batched tensor operation, so that data never is the
bottleneck of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor

from body.joints import JOINT_MIRROR, JOINT_NAMES
from training.motion.key_poses import blend_key_poses
from training.motion.library import Clip

_INDEX = {name: i for i, name in enumerate(JOINT_NAMES)}


def _joints(*names: str) -> list[int]:
    return [_INDEX[name] for name in names]


_LEFT_ARM = _joints("left_collar", "left_shoulder", "left_elbow", "left_wrist", "left_hand")
_RIGHT_ARM = _joints("right_collar", "right_shoulder", "right_elbow", "right_wrist", "right_hand")
_LEFT_LEG = _joints("left_hip", "left_knee", "left_ankle", "left_foot")
_RIGHT_LEG = _joints("right_hip", "right_knee", "right_ankle", "right_foot")
_TORSO = _joints("spine1", "spine2", "spine3", "neck", "head")
_LOOSE = _joints("neck", "head", "left_elbow", "right_elbow", "left_wrist", "right_wrist")
_STIFF = _joints("pelvis", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Probabilities and sizes of the changes made to a drawn window. `NONE` leaves the motion as it was recorded."""

    mirror: float = 0.5
    speed: float = 1.35  # speed is drawn log-uniformly between 1/speed and speed
    graft_arms: float = 0.35
    graft_upper: float = 0.2
    graft_legs: float = 0.25
    free_arms: float = 0.15
    free_legs: float = 0.18
    seated: float = 0.15
    key_poses: float = 0.12
    offset_deg: float = 7.0
    root_tilt_deg: float = 8.0
    tumble: float = 0.12


NONE = Augmentation(0.0, 1.0, *[0.0] * 10)


@dataclass(frozen=True, slots=True)
class MotionWindow:
    """``rotations`` (B, T, 24, 3, 3) local, the root's in a y-up world; ``pelvis`` (B, T, 3) m; ``dt`` (B, T) s, the time
    since the frame before (the first one's is the window's frame interval)."""

    rotations: Tensor
    pelvis: Tensor
    dt: Tensor


def _smooth_noise(batch: int, times: Tensor, channels: int, period: float, generator: torch.Generator) -> Tensor:
    """Unit-variance noise (B, T, channels) that changes over about ``period`` seconds at ``times`` (B, T)."""
    phase = torch.rand(batch, 1, 3, channels, generator=generator) * (2 * torch.pi)
    rate = torch.exp(torch.randn(batch, 1, 3, channels, generator=generator) * 0.5) / period
    waves = torch.sin(times[:, :, None, None] * (2 * torch.pi) * rate + phase)
    return waves.sum(2) * (2.0 / 3.0) ** 0.5


class MotionBank:
    """All clips in memory as unit quaternions (x, y, z, w), and random access to windows at any frame rate.

    Args:
        clips: motion whose rotations already refer to the body's rest pose.
        seed: of the generator of every draw.
    """

    def __init__(self, clips: Sequence[Clip], seed: int = 0) -> None:
        if not clips:
            raise ValueError("no motion clips: check --motion and its splits")
        rotations = np.concatenate([clip.rotations for clip in clips])
        self.quaternions = roma.rotvec_to_unitquat(torch.from_numpy(rotations).float())
        self.pelvis = torch.from_numpy(np.concatenate([clip.pelvis for clip in clips])).float()
        lengths = torch.tensor([len(clip.rotations) for clip in clips])
        self.starts = torch.cumsum(lengths, 0) - lengths
        self.lengths = lengths
        self.fps = torch.tensor([clip.fps for clip in clips])
        weights = torch.tensor([clip.weight for clip in clips], dtype=torch.float64)
        # Halfway (in log) between "every clip alike" and "as the library weighs them": rare motion is not drowned.
        self.weights = weights.clamp_min(1e-9).sqrt() * lengths.double().sqrt()
        self.generator = torch.Generator().manual_seed(seed)

    def _uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, generator=self.generator) * (high - low) + low

    def _raw(self, times: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
        """Quaternions (B, T, 24, 4) and pelvis (B, T, 3) of one random clip a row; short clips play to and fro."""
        batch = len(times)
        clip = torch.multinomial(self.weights, batch, replacement=True, generator=self.generator)
        last = (self.lengths[clip] - 1).float()[:, None]
        frames = times * speed[:, None] * self.fps[clip][:, None]
        room = (last[:, 0] - frames[:, -1]).clamp_min(0)
        position = frames + (self._uniform(batch) * room)[:, None]
        position = (position + last) % (2 * last).clamp_min(1) - last
        position = position.abs()
        low = position.floor().clamp(max=(last - 1).clamp_min(0))
        part = (position - low)[..., None]
        index = self.starts[clip][:, None] + low.long()
        after = torch.minimum(index + 1, (self.starts[clip] + self.lengths[clip] - 1)[:, None])
        a, b = self.quaternions[index], self.quaternions[after]
        # nlerp: neighbouring frames are a few degrees apart, where it equals slerp to the fifth digit.
        b = torch.where((a * b).sum(-1, keepdim=True) < 0, -b, b)
        blend = part[..., None]
        quaternions = torch.nn.functional.normalize(a * (1 - blend) + b * blend, dim=-1)
        pelvis = self.pelvis[index] * (1 - part) + self.pelvis[after] * part
        return quaternions, pelvis

    def sample(self, batch: int, length: int, augmentation: Augmentation, fps: Tensor | None = None) -> MotionWindow:
        """Draw ``batch`` windows of ``length`` frames. ``fps`` (B,) fixes the frame rates (default: 10 to 60)."""
        if fps is None:
            rates = torch.tensor([10.0, 15.0, 20.0, 24.0, 25.0, 30.0, 30.0, 30.0, 30.0, 50.0, 60.0])
            fps = rates[torch.randint(len(rates), (batch,), generator=self.generator)]
        dt = (1.0 / fps)[:, None].expand(batch, length).clone()
        if length > 1 and augmentation.mirror:  # now and then a camera drops a frame
            dt = torch.where(self._uniform(batch, length) < 0.02, dt * 2, dt)
        times = torch.cumsum(dt, 1) - dt[:, :1]
        spread = float(np.log(augmentation.speed))
        speed = torch.exp(self._uniform(batch, low=-spread, high=spread))
        quaternions, pelvis = self._raw(times, speed)
        if augmentation.mirror:
            quaternions = self._augment(quaternions, times, speed, augmentation)
            flip = self._uniform(batch) < augmentation.mirror
            mirrored = quaternions[:, :, list(JOINT_MIRROR)] * torch.tensor([1.0, -1.0, -1.0, 1.0])
            quaternions = torch.where(flip[:, None, None, None], mirrored, quaternions)
            pelvis = torch.where(flip[:, None, None], pelvis * torch.tensor([-1.0, 1.0, 1.0]), pelvis)
        return MotionWindow(roma.unitquat_to_rotmat(quaternions), pelvis, dt)

    def _augment(self, q: Tensor, times: Tensor, speed: Tensor, how: Augmentation) -> Tensor:
        batch, length = times.shape
        donor, _ = self._raw(times, speed)
        for joints, chance in (
            (_LEFT_ARM, how.graft_arms),
            (_RIGHT_ARM, how.graft_arms),
            ([*_TORSO, *_LEFT_ARM, *_RIGHT_ARM], how.graft_upper),
            ([*_LEFT_LEG, *_RIGHT_LEG], how.graft_legs),
        ):
            self._replace(q, donor[:, :, joints], joints, self._uniform(batch) < chance)
            donor = donor.roll(1, 0)
        for side, arm, leg in ((1.0, _LEFT_ARM, _LEFT_LEG), (-1.0, _RIGHT_ARM, _RIGHT_LEG)):
            chosen = self._uniform(batch) < how.free_arms
            self._replace(q, self._free_arm(times, side), arm[1:3], chosen)
            self._replace(q, self._free_leg(times, side), leg[:3], self._uniform(batch) < how.free_legs)
        seated = self._uniform(batch) < how.seated
        for side, leg in ((1.0, _LEFT_LEG), (-1.0, _RIGHT_LEG)):
            self._replace(q, self._seated_leg(times, side), leg[:3], seated)
        if how.key_poses:
            q = blend_key_poses(q, times, self.generator, how.key_poses)
        size = torch.full((24,), float(how.offset_deg))
        size[_LOOSE] *= 1.6
        size[_STIFF] *= 0.5
        slow = _smooth_noise(batch, times, 72, 2.0, self.generator).reshape(batch, length, 24, 3) * 0.6
        fixed = torch.randn(batch, 1, 24, 3, generator=self.generator) * 0.8
        amount = torch.exp(torch.randn(batch, 1, 1, 1, generator=self.generator) * 0.5)
        offset = torch.deg2rad((slow + fixed) * amount * size[:, None])
        q = roma.quat_product(q, roma.rotvec_to_unitquat(offset))
        tilt = torch.randn(batch, 3, generator=self.generator) * torch.tensor([1.0, 0.0, 1.0])
        tilt = tilt * torch.deg2rad(torch.tensor(how.root_tilt_deg))
        tumble = torch.randn(batch, 3, generator=self.generator) * 1.2
        tilt = torch.where((self._uniform(batch) < how.tumble)[:, None], tumble, tilt)
        turn = roma.rotvec_to_unitquat(tilt)[:, None].expand(batch, length, 4)
        root = roma.quat_product(turn, q[:, :, 0].contiguous())
        return torch.cat([root[:, :, None], q[:, :, 1:]], 2)

    @staticmethod
    def _replace(q: Tensor, new: Tensor, joints: list[int], chosen: Tensor) -> None:
        q[:, :, joints] = torch.where(chosen[:, None, None, None], new, q[:, :, joints])

    def _swing(self, times: Tensor, low: float, high: float, period: float = 2.5) -> Tensor:
        """A smooth random angle (B, T), in radians, around a random centre between ``low`` and ``high`` degrees."""
        batch = len(times)
        centre = self._uniform(batch, 1, low=low, high=high)
        sweep = self._uniform(batch, 1, high=0.35) * (high - low)
        wave = _smooth_noise(batch, times, 1, period, self.generator)[..., 0]
        return torch.deg2rad((centre + sweep * wave).clamp(low, high))

    def _free_arm(self, times: Tensor, side: float) -> Tensor:
        """Shoulder and elbow swung through their range: reaching, hands to the face, arms overhead. (B, T, 2, 4)"""
        raised = side * self._swing(times, -85, 75)  # about z: hanging down to overhead
        forward = -side * self._swing(times, -35, 110)  # about y: behind to across the chest
        twist = self._swing(times, -80, 80)  # about the upper arm itself
        shoulder = roma.quat_product(
            roma.quat_product(_axis(1, forward), _axis(2, raised)),
            _axis(0, twist),
        )
        elbow = _axis(1, -side * self._swing(times, 0, 145))
        return torch.stack([shoulder, elbow], 2)

    def _free_leg(self, times: Tensor, side: float) -> Tensor:
        """Hip, knee and ankle swung through their range: lunges, kicks, squats, kneeling. (B, T, 3, 4)"""
        flexion = -self._swing(times, -20, 115)
        abduction = side * self._swing(times, -10, 40)
        twist = self._swing(times, -30, 30)
        hip = roma.quat_product(roma.quat_product(_axis(2, abduction), _axis(0, flexion)), _axis(1, twist))
        return torch.stack([hip, _axis(0, self._swing(times, 0, 135)), _axis(0, self._swing(times, -35, 25))], 2)

    def _seated_leg(self, times: Tensor, side: float) -> Tensor:
        """One leg of a person on a chair, nearly still. (B, T, 3, 4)"""
        batch = len(times)

        def angle(low: float, high: float) -> Tensor:
            drift = _smooth_noise(batch, times, 1, 4.0, self.generator)[..., 0] * 2.0
            return torch.deg2rad(self._uniform(batch, 1, low=low, high=high) + drift)

        outward = side * angle(-6, 25)
        hip = roma.quat_product(_axis(1, outward), _axis(0, -angle(72, 102)))
        return torch.stack([hip, _axis(0, angle(55, 115)), _axis(0, angle(-15, 15))], 2)


def _axis(axis: int, angle: Tensor) -> Tensor:
    """Unit quaternions (..., 4) (x, y, z, w) of turns by ``angle`` radians about a coordinate axis."""
    parts = [torch.zeros_like(angle)] * 3
    parts[axis] = torch.sin(angle / 2)
    return torch.stack([*parts, torch.cos(angle / 2)], -1)
