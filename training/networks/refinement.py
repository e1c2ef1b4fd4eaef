"""Iterative refinement: the predicted body is posed, compared with the keypoints, and corrected.

A network that predicts a pose in one pass does not see where that pose projects to: over a chain of six joints small
errors add up to a hand's width, even with exact keypoints. So a few rounds follow. In each one a small network reads the
remaining distances in the image, and predicts a weight for every keypoint and a step size for every joint. The step itself
is not learned: the torque that the keypoints beyond a joint exert about it, over their moment of inertia, which is a
damped Gauss-Newton step of each joint by itself. Learned gradient descent (Song, Chen &
Hilliges 2020), once a frame and inside of the regressor. The shape is not touched: one body has to fit in every frame.

All arrays have the batch as their LAST axis: elementwise arithmetic on thousands of 3-vectors then runs along memory,
which on a CPU makes a round several times cheaper. The geometry is float32 also under autocast.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from body.joints import COCO_JOINT, JOINTS, KEYPOINTS, PARENTS
from body.lbs_torch import TorchBody
from body.model import load_body

POSE_NUMBERS = JOINTS * 6
PREDICTION = POSE_NUMBERS + 3
"""Numbers of a prediction: 24 rotations as their first two columns, and the pelvis' place."""
_FAR = 3.0
"""Distance in sizes of the person from which on a keypoint's pull stays the same."""
_LEAST_INERTIA = 0.02
"""Damping of a joint's moment of inertia, m²: few keypoints of little weight hardly turn it."""
_LEAST_TOTAL = 0.1
"""Damping of the shift, in keypoints' weights: keypoints of little weight hardly shift a person."""
_FOLLOW = 0.1
"""Share of its pull by which a joint turns before anything is learned: all joints of a chain turn at once."""


class Sight(NamedTuple):
    """Keypoints of N people as the virtual camera sees them."""

    rays: Tensor
    """(17, 2, N) x/z and y/z."""
    weight: Tensor
    """(17, N) how much each counts, 0..1."""
    size: Tensor
    """(N,) angular size of the person."""


class Posed(NamedTuple):
    """N bodies in the frame of the virtual camera, and their distances from the keypoints."""

    turned: Tensor
    """(24, 3, 3, N) global rotations."""
    joints: Tensor
    """(24, 3, N) metres, pelvis at the origin."""
    coco: Tensor
    """(17, 3, N) COCO keypoints, metres, pelvis at the origin."""
    depth: Tensor
    """(17, N) of the keypoints, metres."""
    drawn: Tensor
    """(17, 2, N) where they project to, x/z and y/z."""
    off: Tensor
    """(17, 2, N) from there to the detected keypoints, in sizes of the person."""


def _moved_by() -> Tensor:
    """(24, 17): 1 where turning the joint moves the keypoint."""
    moved = torch.zeros(JOINTS, KEYPOINTS)
    for keypoint, rides_on in enumerate(COCO_JOINT):
        joint = rides_on
        while joint >= 0:
            moved[joint, keypoint] = 1
            joint = PARENTS[joint]
    return moved


def cross(a: Tensor, b: Tensor) -> Tensor:
    """Cross product of (..., 3, N), along the axis before the last: six operators in a graph, not one for every number."""
    following = [1, 2, 0]
    return (a * b[..., following, :] - a[..., following, :] * b)[..., following, :]


def rotations_from_axes(axes: Tensor) -> Tensor:
    """Rotation matrices (K, 3, 3, N) from their first two columns (K, 2, 3, N), orthonormalised (Zhou et al. 2019)."""
    a, b = axes.unbind(1)
    first = a * torch.rsqrt((a * a).sum(1, keepdim=True) + 1e-8)
    b = b - (first * b).sum(1, keepdim=True) * first
    second = b * torch.rsqrt((b * b).sum(1, keepdim=True) + 1e-8)
    return torch.stack([first, second, cross(first, second)], 2)


def affine(layer: nn.Linear, x: Tensor) -> Tensor:
    """``layer`` of features (F, N) that have the batch last, float32."""
    return torch.addmm(layer.bias[:, None], layer.weight, x).float()


class Kinematics(Protocol):
    """A skeleton that can be posed, as `TorchBody` can."""

    def frames_batch_last(self, rotations: Tensor, betas: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `TorchBody.frames_batch_last`."""


class Mechanics(nn.Module):
    """The steps that bring a body nearer to the keypoints. Nothing in it is learned."""

    body: Kinematics
    moved_by: Tensor
    parents: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.body = TorchBody(load_body())
        self.register_buffer("moved_by", _moved_by(), persistent=False)
        self.register_buffer("parents", torch.tensor(PARENTS[1:]), persistent=False)

    def pose(self, rotations: Tensor, betas: Tensor, pelvis: Tensor, sight: Sight) -> Posed:
        """Pose bodies and project them: ``rotations`` (24, 3, 3, N), ``betas`` (10, N), ``pelvis`` (3, N) m."""
        turned, joints, coco = self.body.frames_batch_last(rotations, betas)
        placed = coco + pelvis
        depth = torch.maximum(placed[:, 2], 0.2 * pelvis[2])
        drawn = placed[:, :2] / depth[:, None]
        off = ((sight.rays - drawn) / sight.size.clamp_min(1e-3)).clamp(-_FAR, _FAR)
        return Posed(turned, joints, coco, depth, drawn, off)

    def turns(self, posed: Posed, weight: Tensor, size: Tensor) -> Tensor:
        """By which rotation vector (24, 3, N), rad in its parent's frame, each joint alone would undo most of what is off.
        ``weight`` (17, N) are the keypoints' weights, ``size`` (N,) the person's angular size."""
        across = posed.off * (weight * (size * posed.depth))[:, None]
        # Metres, square to the line of sight: a keypoint pulls nothing along it.
        force = torch.cat([across, -(across * posed.drawn).sum(1, keepdim=True)], 1)
        coco, joints = posed.coco, posed.joints
        heavy = weight[:, None] * coco
        of_keypoints = torch.cat(
            [cross(coco, force), force, heavy, weight[:, None], (heavy * coco).sum(1, keepdim=True)], 1
        )
        # Sums over the keypoints beyond each joint, moments about the joint.
        sums = (self.moved_by @ of_keypoints.flatten(1)).reshape(JOINTS, 11, -1)
        torque, pull, moment, mass, square = torch.split(sums, [3, 3, 3, 1, 1], 1)
        torque = torque - cross(joints, pull)
        inertia = square + (joints * (mass * joints - 2 * moment)).sum(1, keepdim=True)
        turn = torque / (inertia + _LEAST_INERTIA)
        # The root's rotation is written in the camera's frame, any other in its parent's: times its rotation transposed.
        local = (posed.turned.index_select(0, self.parents) * turn[1:, :, None]).sum(1)
        return torch.cat([turn[:1], local]).clamp(-1, 1)

    @staticmethod
    def shift(posed: Posed, weight: Tensor, size: Tensor) -> Tensor:
        """By how much (3, N) the whole body would have to move: across and down in sizes of the person, and in the
        logarithm of its distance. ``weight`` and ``size`` as for `turns`."""
        weight = weight[:, None]
        total = weight.sum(0) + _LEAST_TOTAL
        pull = posed.off * weight
        middle = (weight * posed.drawn).sum(0) / total
        arm = (posed.drawn - middle) / size
        grow = (pull * arm).sum((0, 1)) / ((weight * arm.square()).sum((0, 1)) + _LEAST_TOTAL)
        return torch.cat([pull.sum(0) / total, -grow[None].clamp(-0.5, 0.5)])


class Refinement(nn.Module):
    """One round of correction of predictions (`PREDICTION`, N)."""

    def __init__(self, context: int, width: int) -> None:
        super().__init__()
        self.sizes = [KEYPOINTS, JOINTS * 3, JOINTS * 3, 3, 3]
        self.into = nn.Linear(context + PREDICTION + KEYPOINTS * 4, width)
        self.inner = nn.Linear(width, width)
        self.change = nn.Linear(width, sum(self.sizes))
        with torch.no_grad():
            self.change.weight.zero_()
            self.change.bias.zero_()
            self.change.bias[KEYPOINTS : KEYPOINTS + JOINTS * 3] = _FOLLOW

    def forward(self, context: Tensor, raw: Tensor, posed: Posed, mechanics: Mechanics, sight: Sight) -> Tensor:
        """The prediction ``raw`` (`PREDICTION`, N) corrected. ``context`` (C, N) is what is known of the person."""
        size = sight.size.clamp_min(1e-3)
        before = (posed.depth / posed.depth.mean(0) - 1) / size
        seen = [posed.off.flatten(0, 1), sight.weight, (before * 0.3).clamp(-2, 2)]
        x = nn.functional.gelu(affine(self.into, torch.cat([context, raw, *seen])))
        change = affine(self.change, nn.functional.gelu(affine(self.inner, x)))
        belief, follow, free, follow_place, place = torch.split(change, self.sizes)
        weight = sight.weight * torch.sigmoid(belief)
        with torch.autocast(raw.device.type, enabled=False):
            turn = free.reshape(JOINTS, 3, -1)
            turn = turn + follow.reshape(JOINTS, 3, -1) * mechanics.turns(posed, weight, size)
            axes = raw[:POSE_NUMBERS].reshape(JOINTS, 2, 3, -1)
            axes = axes + cross(turn[:, None], axes)
            place = raw[POSE_NUMBERS:] + place + follow_place * mechanics.shift(posed, weight, size)
        return torch.cat([axes.flatten(0, 2), place])
