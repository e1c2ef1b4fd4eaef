"""Looking again: the answer is posed, laid over the keypoints, and corrected by what does not fit.

A network that names a pose in one go does not know where that pose would put the keypoints: over a chain of six joints
small errors add up to a hand's width, even for keypoints that are exact. So a few rounds follow. In each one a small
network sees what is left in the picture, and says how far every keypoint is to be believed and how far every joint follows
its pull. The pull itself is mechanics, not learned: the torque that the keypoints beyond a joint exert about it, over their
moment of inertia, which is a damped Gauss-Newton step of each joint by itself. Learned gradient descent (Song, Chen &
Hilliges 2020), once a frame and inside of the regressor.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from body.joints import COCO_JOINT, COCO_NAMES, JOINT_NAMES, PARENTS
from body.lbs_torch import TorchBody
from body.model import load_body
from body.packed import BETAS

_JOINTS, _KEYPOINTS = len(JOINT_NAMES), len(COCO_NAMES)
_ANSWER = _JOINTS * 6 + BETAS + 3
_FAR = 3.0
"""Sizes of the person beyond which a keypoint does not pull harder."""
_LEAST_INERTIA = 0.02
"""m²; what little there is beyond a joint, if hardly believed, hardly turns it."""
_LEAST_TOTAL = 0.1
_FOLLOW = 0.1
"""Share of its pull by which a joint turns before anything is learned: all joints of a chain turn at once."""


class Sight(NamedTuple):
    """Keypoints as the virtual camera sees them: ``rays`` (N, 17, 2) x/z and y/z, ``weight`` (N, 17) 0..1, and the
    person's angular size ``size`` (N,)."""

    rays: Tensor
    weight: Tensor
    size: Tensor


class Posed(NamedTuple):
    """N bodies in the frame of the virtual camera, and how they miss the keypoints.

    ``turned`` (N, 24, 3, 3) global rotations; ``joints`` (N, 24, 3) and ``coco`` (N, 17, 3) m about the pelvis; ``depth``
    (N, 17, 1) m of the keypoints; ``drawn`` (N, 17, 2) where they are seen, x/z and y/z; ``off`` (N, 17, 2) from there to
    the detected ones, in sizes of the person.
    """

    turned: Tensor
    joints: Tensor
    coco: Tensor
    depth: Tensor
    drawn: Tensor
    off: Tensor


def _moved_by() -> Tensor:
    """(24, 17): 1 where turning the joint moves the keypoint."""
    moved = torch.zeros(_JOINTS, _KEYPOINTS)
    for keypoint, rides_on in enumerate(COCO_JOINT):
        joint = rides_on
        while joint >= 0:
            moved[joint, keypoint] = 1
            joint = PARENTS[joint]
    return moved


class Kinematics(Protocol):
    """A skeleton that can be posed, as `TorchBody` can."""

    def frames(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `TorchBody.frames`."""


class Mechanics(nn.Module):
    """What keypoints do to a body that misses them. Nothing in it is learned."""

    body: Kinematics
    moved_by: Tensor
    parents: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.body = TorchBody(load_body())
        self.register_buffer("moved_by", _moved_by(), persistent=False)
        self.register_buffer("parents", torch.tensor(PARENTS[1:]), persistent=False)

    def pose(self, rotations: Tensor, betas: Tensor, pelvis: Tensor, sight: Sight) -> Posed:
        """Pose bodies and look at them: ``rotations`` (N, 24, 3, 3), ``betas`` (N, 10), ``pelvis`` (N, 3) m."""
        turned, joints, coco = self.body.frames(rotations, betas)
        placed = coco + pelvis[:, None]
        depth = torch.maximum(placed[..., 2:], 0.2 * pelvis[:, None, 2:])
        drawn = placed[..., :2] / depth
        off = ((sight.rays - drawn) / sight.size[:, None, None].clamp_min(1e-3)).clamp(-_FAR, _FAR)
        return Posed(turned, joints, coco, depth, drawn, off)

    def turns(self, posed: Posed, weight: Tensor, size: Tensor) -> Tensor:
        """By which rotation vector (N, 24, 3), rad in its parent's frame, each joint alone would undo most of what is off.
        ``weight`` (N, 17, 1) is how far the keypoints are believed."""
        pull = posed.off * weight
        # Metres, square to the line of sight: a keypoint pulls nothing along it.
        force = torch.cat([pull, -(pull * posed.drawn).sum(-1, keepdim=True)], -1) * (size * posed.depth)
        # Sums over the keypoints beyond each joint, moments about the joint.
        torque = self.moved_by @ torch.linalg.cross(posed.coco, force, dim=-1)
        torque = torque - torch.linalg.cross(posed.joints, self.moved_by @ force, dim=-1)
        masses = torch.cat([weight, weight * posed.coco, weight * posed.coco.square().sum(-1, keepdim=True)], -1)
        mass, moment, square = torch.split(self.moved_by @ masses, [1, 3, 1], -1)
        joints = posed.joints
        inertia = square - 2 * (moment * joints).sum(-1, keepdim=True) + mass * joints.square().sum(-1, keepdim=True)
        turn = torque / (inertia + _LEAST_INERTIA)
        # The root's rotation is written in the camera's frame, any other in its parent's.
        local = posed.turned[:, self.parents].transpose(-1, -2) @ turn[:, 1:, :, None]
        return torch.cat([turn[:, :1], local[..., 0]], 1).clamp(-1, 1)

    @staticmethod
    def shift(posed: Posed, weight: Tensor, size: Tensor) -> Tensor:
        """By how much (N, 3) the whole body would have to move: across and down in sizes of the person, and in the
        logarithm of its distance."""
        total = weight.sum(1) + _LEAST_TOTAL
        pull = posed.off * weight
        middle = (weight * posed.drawn).sum(1) / total
        arm = (posed.drawn - middle[:, None]) / size
        grow = (pull * arm).sum((1, 2)) / ((weight * arm.square()).sum((1, 2)) + _LEAST_TOTAL)
        return torch.cat([pull.sum(1) / total, -grow[:, None].clamp(-0.5, 0.5)], 1)


class Refinement(nn.Module):
    """One round of correction of answers (N, 157): 24 rotations as six numbers, betas, place."""

    def __init__(self, context: int, width: int) -> None:
        super().__init__()
        seen = _KEYPOINTS * 4
        self.sizes = [_KEYPOINTS, _JOINTS * 3, _JOINTS * 3, BETAS, 3, 3]
        self.body = nn.Sequential(
            nn.Linear(context + _ANSWER + seen, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.change = nn.Linear(width, sum(self.sizes))
        with torch.no_grad():
            self.change.weight.zero_()
            self.change.bias.zero_()
            self.change.bias[_KEYPOINTS : _KEYPOINTS + _JOINTS * 3] = _FOLLOW

    def forward(self, context: Tensor, raw: Tensor, posed: Posed, mechanics: Mechanics, sight: Sight) -> Tensor:
        """The answer ``raw`` corrected. ``context`` (N, C) is what is known of the person."""
        size = sight.size[:, None, None].clamp_min(1e-3)
        before = (posed.depth[..., 0] / posed.depth.mean(1) - 1) / size[..., 0]
        seen = [posed.off.flatten(1), sight.weight, (before * 0.3).clamp(-2, 2)]
        change = self.change(self.body(torch.cat([context, raw, *seen], 1)))
        belief, follow, free, betas, follow_place, place = torch.split(change, self.sizes, 1)
        weight = (sight.weight * torch.sigmoid(belief))[..., None]
        turn = free.reshape(-1, _JOINTS, 3)
        turn = turn + follow.reshape(-1, _JOINTS, 3) * mechanics.turns(posed, weight, size)
        axes = raw[:, : _JOINTS * 6].reshape(-1, _JOINTS, 2, 3)
        axes = axes + torch.linalg.cross(turn[:, :, None].expand_as(axes), axes, dim=-1)
        place = place + follow_place * mechanics.shift(posed, weight, size)
        return torch.cat([axes.flatten(1), raw[:, _JOINTS * 6 :] + torch.cat([betas, place], 1)], 1)
