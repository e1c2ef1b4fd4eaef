"""Endless random human motion, drawn from a library of clips.

A few hours of motion capture hold only some thousand distinct poses. Each drawn window is therefore made new: another
speed, frame rate and side, arms and trunks taken from other clips, knees and elbows bent some percent more or less, small
slow offsets, and sometimes sitting, freely swung limbs or a key pose.

Drawn motion must have the joint angles of recorded motion, or a network learns that nobody stands straight:
``python -m training.motion statistics`` compares the joint angles with those of the recorded motion. Therefore hinges are
scaled (a straight knee stays straight) where other joints are turned; legs are never taken from another clip, as they belong
to its pelvis; and after a change of the legs the pelvis is moved so that the lowest part stays on the floor.

Everything is one batched tensor operation on one device, so that data is not the bottleneck of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import roma
import torch
from torch import Tensor

from body.joints import JOINT_MIRROR, JOINT_NAMES
from body.lbs_torch import TorchBody
from body.model import load_body
from body.packed import BETAS
from training.motion.clip import ANKLE_HEIGHT, Clip
from training.motion.key_poses import blend_key_poses
from training.motion.rest import rest_bones, to_default_rest

_INDEX = {name: i for i, name in enumerate(JOINT_NAMES)}


def _joints(*names: str) -> list[int]:
    return [_INDEX[name] for name in names]


_LEFT_ARM = _joints("left_collar", "left_shoulder", "left_elbow", "left_wrist", "left_hand")
_RIGHT_ARM = _joints("right_collar", "right_shoulder", "right_elbow", "right_wrist", "right_hand")
_LEFT_LEG = _joints("left_hip", "left_knee", "left_ankle", "left_foot")
_RIGHT_LEG = _joints("right_hip", "right_knee", "right_ankle", "right_foot")
_LEGS = [*_LEFT_LEG, *_RIGHT_LEG]
_TORSO = _joints("spine1", "spine2", "spine3", "neck", "head")

_OFFSET_SIZES: Final = {
    "collar": 0.6, "shoulder": 1.0, "wrist": 1.6, "neck": 0.8, "head": 1.0, "spine1": 0.4, "spine2": 0.4, "spine3": 0.4,
    "hip": 0.4, "ankle": 0.6, "foot": 0.4,
}  # fmt: skip
"""Offsets of joints over ``Augmentation.offset_deg``; the pelvis, knees and elbows have none."""

_HINGES: Final = (
    # Joint that bends, its bones, and the axis in the frame of the bone before it.
    ("left_knee", ("left_hip", "left_knee", "left_ankle"), (1.0, 0.0, 0.0)),
    ("right_knee", ("right_hip", "right_knee", "right_ankle"), (1.0, 0.0, 0.0)),
    ("left_elbow", ("left_shoulder", "left_elbow", "left_wrist"), (0.0, -1.0, 0.0)),
    ("right_elbow", ("right_shoulder", "right_elbow", "right_wrist"), (0.0, 1.0, 0.0)),
)


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Probabilities and sizes of the changes made to a drawn window. `NONE` leaves the motion as it was recorded."""

    mirror: float = 0.5
    """How often left and right are exchanged."""
    speed: float = 1.5
    """Largest factor of the speed, which is drawn log-uniformly between its inverse and it."""
    graft_arms: float = 0.25
    """How often an arm comes from another clip, for each arm."""
    graft_upper: float = 0.12
    """How often all above the pelvis does."""
    free_arms: float = 0.05
    """How often an arm swings freely through its range, for each arm."""
    free_legs: float = 0.02
    """How often a leg does, for each leg."""
    seated: float = 0.05
    """How often the person sits on a chair."""
    key_poses: float = 0.06
    """How often a pose of `training.motion.key_poses` is blended in."""
    flexion_scale: float = 0.08
    """Standard deviation of the logarithm of a factor on the flexion of each pair of knees and elbows."""
    offset_deg: float = 5.0
    """Standard deviation of slow random turns of a shoulder, degrees; other joints have less or more."""
    root_tilt_deg: float = 1.5
    """Standard deviation of a constant tilt of the whole body, degrees, for each of two axes."""
    tumble: float = 0.02
    """How often the body is turned by about 70 degrees about any axis instead."""


NONE = Augmentation(0.0, 1.0, *[0.0] * 10)


@dataclass(frozen=True, slots=True)
class MotionWindow:
    """B windows of T frames of motion, y up."""

    rotations: Tensor
    """float32 (B, T, 24, 3, 3) local, the root's to the world."""
    pelvis: Tensor
    """float32 (B, T, 3) metres, world."""
    dt: Tensor
    """float32 (B, T) seconds since the frame before; the first frame's is the window's frame interval."""


def smooth_noise(batch: int, times: Tensor, channels: int, period: float, generator: torch.Generator) -> Tensor:
    """Unit-variance noise (B, T, channels) that changes over about ``period`` seconds at ``times`` (B, T)."""
    where = generator.device
    phase = torch.rand(batch, 1, 3, channels, generator=generator, device=where) * (2 * torch.pi)
    rate = torch.exp(torch.randn(batch, 1, 3, channels, generator=generator, device=where) * 0.5) / period
    waves = torch.sin(times[:, :, None, None] * (2 * torch.pi) * rate + phase)
    return waves.sum(2) * (2.0 / 3.0) ** 0.5


class MotionBank:
    """All clips in memory as unit quaternions (x, y, z, w), and random access to windows at any frame rate.

    Args:
        clips: motion whose rotations refer to the default body's rest pose (`training.motion.opening.open_clips`).
        seed: of the generator of every draw.
        device: where the clips lie and the windows are made.
    """

    def __init__(self, clips: Sequence[Clip], seed: int = 0, device: torch.device | str = "cpu") -> None:
        if not clips:
            raise ValueError("no motion clips: check --motion and its splits")
        self.device = torch.device(device)
        rotations = torch.from_numpy(np.concatenate([clip.rotations for clip in clips])).float()
        pelvis = torch.from_numpy(np.concatenate([clip.pelvis for clip in clips])).float()
        self.quaternions = roma.rotvec_to_unitquat(rotations).to(self.device)
        self.pelvis = pelvis.to(self.device)
        lengths = torch.tensor([len(clip.rotations) for clip in clips], device=self.device)
        self.starts = torch.cumsum(lengths, 0) - lengths
        self.lengths = lengths
        self.fps = torch.tensor([clip.fps for clip in clips], device=self.device)
        weights = torch.tensor([clip.weight for clip in clips], dtype=torch.float64, device=self.device)
        # Halfway (in log) between equal weights of clips and the library's weights, so that rare motion is drawn often enough.
        self.weights = weights.clamp_min(1e-9).sqrt() * lengths.double().sqrt()
        self.generator = torch.Generator(self.device).manual_seed(seed)

    @cached_property
    def _body(self) -> TorchBody:
        return TorchBody(load_body()).to(self.device)

    def _uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device) * (high - low) + low

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)

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
        low = torch.minimum(position.floor(), (last - 1).clamp_min(0))
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
        """Draw ``batch`` windows of ``length`` frames. ``fps`` (B,) or (B, T) fixes the frame rates (default: 10 to 60)."""
        if fps is None:
            rates = torch.tensor([10.0, 15.0, 20.0, 24.0, 25.0, 30.0, 30.0, 30.0, 30.0, 50.0, 60.0], device=self.device)
            fps = rates[torch.randint(len(rates), (batch,), generator=self.generator, device=self.device)]
        fps = fps.to(self.device)
        dt = (1.0 / (fps if fps.ndim > 1 else fps[:, None])).expand(batch, length).clone()
        if length > 1 and augmentation.mirror:  # sometimes a camera drops a frame
            dt = torch.where(self._uniform(batch, length) < 0.02, dt * 2, dt)
        times = torch.cumsum(dt, 1) - dt[:, :1]
        spread = float(np.log(augmentation.speed))
        speed = torch.exp(self._uniform(batch, low=-spread, high=spread))
        quaternions, pelvis = self._raw(times, speed)
        if augmentation.mirror:
            quaternions, pelvis = self._augment(quaternions, pelvis, times, speed, augmentation)
            flip = self._uniform(batch) < augmentation.mirror
            mirrored = quaternions[:, :, list(JOINT_MIRROR)] * quaternions.new_tensor([1.0, -1.0, -1.0, 1.0])
            quaternions = torch.where(flip[:, None, None, None], mirrored, quaternions)
            pelvis = torch.where(flip[:, None, None], pelvis * pelvis.new_tensor([-1.0, 1.0, 1.0]), pelvis)
        return MotionWindow(roma.unitquat_to_rotmat(quaternions), pelvis, dt)

    def _augment(
        self, q: Tensor, pelvis: Tensor, times: Tensor, speed: Tensor, how: Augmentation
    ) -> tuple[Tensor, Tensor]:
        batch, length = times.shape
        donor, _ = self._raw(times, speed)
        for joints, chance in (
            (_LEFT_ARM, how.graft_arms),
            (_RIGHT_ARM, how.graft_arms),
            ([*_TORSO, *_LEFT_ARM, *_RIGHT_ARM], how.graft_upper),
        ):
            self._replace(q, donor[:, :, joints], joints, self._uniform(batch) < chance)
            donor = donor.roll(1, 0)
        before = q[:, :, [0, *_LEGS]].clone()
        for side, arm, leg in ((1.0, _LEFT_ARM, _LEFT_LEG), (-1.0, _RIGHT_ARM, _RIGHT_LEG)):
            self._replace(q, self._free_arm(times, side), arm[1:3], self._uniform(batch) < how.free_arms)
            self._replace(q, self._free_leg(times, side), leg[:3], self._uniform(batch) < how.free_legs)
        self._sit(q, times, self._uniform(batch) < how.seated)
        if how.key_poses:
            q = blend_key_poses(q, times, self.generator, how.key_poses)
        tumbled = self._uniform(batch) < how.tumble
        turn = self._normal(batch, 3) * torch.where(
            tumbled[:, None], 1.2, q.new_tensor([1.0, 0.0, 1.0]) * float(np.deg2rad(how.root_tilt_deg))
        )
        root = roma.quat_product(
            roma.rotvec_to_unitquat(turn)[:, None].expand(batch, length, 4).contiguous(), q[:, :, 0].contiguous()
        )
        q = torch.cat([root[:, :, None], q[:, :, 1:]], 2)
        changed = tumbled | ((q[:, :, _LEGS] - before[:, :, 1:]).abs().amax((1, 2, 3)) > 1e-4)
        q = self._scale_flexion(q, how.flexion_scale)
        q = self._offset(q, times, how.offset_deg)
        rows = changed.nonzero()[:, 0]
        if len(rows):
            pelvis = pelvis.clone()
            pelvis[rows] = self._planted(q[rows], pelvis[rows])
        return q, pelvis

    def _offset(self, q: Tensor, times: Tensor, degrees: float) -> Tensor:
        """Turn every joint but hinges and the root by a random constant and slow random turns."""
        batch, length = times.shape
        size = q.new_tensor([_OFFSET_SIZES.get(name.split("_")[-1], 0.0) for name in JOINT_NAMES]) * degrees
        slow = smooth_noise(batch, times, 72, 2.0, self.generator).reshape(batch, length, 24, 3) * 0.6
        fixed = self._normal(batch, 1, 24, 3) * 0.8
        offset = torch.deg2rad((slow + fixed) * size[:, None])
        return roma.quat_product(q, roma.rotvec_to_unitquat(offset))

    def _scale_flexion(self, q: Tensor, spread: float) -> Tensor:
        """Bend each pair of hinges by some percent more or less: a straight limb stays straight. The hips and the ankles
        make up for the knees, so that the feet stay under the body and flat."""
        if not spread:
            return q
        q = q.clone()
        factors = torch.exp(self._normal(2, len(q), 1) * spread) - 1
        for number, (name, bones, axis) in enumerate(_HINGES):
            joint = _INDEX[name]
            first, second = rest_bones(*bones, device=self.device)
            turned = roma.quat_action(q[:, :, joint].contiguous(), second.expand(*q.shape[:2], 3).contiguous())
            more = torch.acos((turned * first).sum(-1).clamp(-1, 1)) * factors[number // 2]
            q[:, :, joint] = roma.quat_product(_about(axis, more), q[:, :, joint].contiguous())
            if name.endswith("knee"):
                back = _about(axis, -more / 2)
                q[:, :, joint - 3] = roma.quat_product(q[:, :, joint - 3].contiguous(), back)
                q[:, :, joint + 3] = roma.quat_product(back, q[:, :, joint + 3].contiguous())
        return q

    def _planted(self, q: Tensor, pelvis: Tensor) -> Tensor:
        """Pelvis paths (B, T, 3) m with which the lowest joint of each frame rests on the floor, y = 0, and does not slide."""
        joints, _ = self._body.skeleton(roma.unitquat_to_rotmat(q), q.new_zeros(*q.shape[:2], BETAS))
        under = joints.new_full((24,), 0.05)
        under[_joints("left_ankle", "right_ankle")] = ANKLE_HEIGHT
        under[_joints("left_foot", "right_foot")] = 0.02
        height, lowest = (joints[..., 1] - under).min(-1)
        # The lowest joint of a frame stays where it is until the next one.
        held = lowest[:, :-1, None, None].expand(-1, -1, 1, 3)
        steps = (joints[:, :-1].gather(2, held) - joints[:, 1:].gather(2, held))[:, :, 0]
        moved = torch.cat([steps.new_zeros(len(steps), 1, 3), steps.cumsum(1)], 1)
        path = pelvis[:, :1] + moved
        return torch.stack([path[..., 0], -height, path[..., 2]], -1)

    @staticmethod
    def _replace(q: Tensor, new: Tensor, joints: list[int], chosen: Tensor) -> None:
        q[:, :, joints] = torch.where(chosen[:, None, None, None], new, q[:, :, joints])

    def _swing(self, times: Tensor, low: float, high: float, period: float = 2.5) -> Tensor:
        """A smooth random angle (B, T), in radians, around a random centre between ``low`` and ``high`` degrees."""
        batch = len(times)
        centre = self._uniform(batch, 1, low=low, high=high)
        sweep = self._uniform(batch, 1, high=0.35) * (high - low)
        wave = smooth_noise(batch, times, 1, period, self.generator)[..., 0]
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
        return to_default_rest(torch.stack([shoulder, elbow], 2), (_LEFT_ARM if side > 0 else _RIGHT_ARM)[1:3])

    def _free_leg(self, times: Tensor, side: float) -> Tensor:
        """Hip, knee and ankle swung through their range: lunges, kicks, squats, kneeling. (B, T, 3, 4)"""
        flexion = -self._swing(times, -20, 115)
        abduction = side * self._swing(times, -10, 40)
        twist = self._swing(times, -30, 30)
        hip = roma.quat_product(roma.quat_product(_axis(2, abduction), _axis(0, flexion)), _axis(1, twist))
        leg = torch.stack([hip, _axis(0, self._swing(times, 0, 135)), _axis(0, self._swing(times, -35, 25))], 2)
        return to_default_rest(leg, (_LEFT_LEG if side > 0 else _RIGHT_LEG)[:3])

    def _sit(self, q: Tensor, times: Tensor, chosen: Tensor) -> None:
        """Put chosen people (B,) of (B, T, 24, 4) on a chair: upright, legs nearly still. Their heading stays."""
        upright = self._normal(len(q), 1, 3) * q.new_tensor([6.0, 3.0, 2.0]) - q.new_tensor([3.0, 0.0, 0.0])
        tilt = roma.rotvec_to_unitquat(torch.deg2rad(upright).expand(*q.shape[:2], 3).contiguous())
        turned = torch.nn.functional.normalize(q[:, :1, 0] * q.new_tensor([0.0, 1.0, 0.0, 1.0]) + 1e-6, dim=-1)
        root = roma.quat_product(turned.expand(*q.shape[:2], 4).contiguous(), tilt)
        self._replace(q, root[:, :, None], [0], chosen)
        for side, leg in ((1.0, _LEFT_LEG), (-1.0, _RIGHT_LEG)):
            self._replace(q, self._seated_leg(times, side), leg[:3], chosen)

    def _seated_leg(self, times: Tensor, side: float) -> Tensor:
        """One leg of a person on a chair, nearly still. (B, T, 3, 4)"""
        batch = len(times)

        def angle(low: float, high: float) -> Tensor:
            drift = smooth_noise(batch, times, 1, 4.0, self.generator)[..., 0] * 2.0
            return torch.deg2rad(self._uniform(batch, 1, low=low, high=high) + drift)

        outward = side * angle(-6, 25)
        hip = roma.quat_product(_axis(1, outward), _axis(0, -angle(72, 102)))
        leg = torch.stack([hip, _axis(0, angle(55, 115)), _axis(0, angle(-15, 15))], 2)
        return to_default_rest(leg, (_LEFT_LEG if side > 0 else _RIGHT_LEG)[:3])


def _about(axis: tuple[float, float, float], angle: Tensor) -> Tensor:
    """Unit quaternions (..., 4) (x, y, z, w) of turns by ``angle`` radians about a unit axis."""
    return torch.cat([torch.sin(angle / 2)[..., None] * angle.new_tensor(axis), torch.cos(angle / 2)[..., None]], -1)


def _axis(axis: int, angle: Tensor) -> Tensor:
    """Unit quaternions (..., 4) (x, y, z, w) of turns by ``angle`` radians about a coordinate axis."""
    parts = [torch.zeros_like(angle)] * 3
    parts[axis] = torch.sin(angle / 2)
    return torch.stack([*parts, torch.cos(angle / 2)], -1)
