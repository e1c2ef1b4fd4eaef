"""Iterative refinement: the predicted body is posed, compared with the keypoints, and corrected.

A network that predicts a pose in one pass does not see where that pose projects to: over a chain of six joints small
errors add up to a hand's width, even with exact keypoints. So a few rounds of correction follow. In each one a small network
reads the residuals in the image, and predicts a weight for every keypoint and a step size for every joint. The step's
direction is not learned: it is a damped Gauss-Newton step of each joint by itself, the torque about the joint that the
residuals of the keypoints beyond it exert, over these keypoints' moment of inertia. This is learned gradient descent (Song,
Chen & Hilliges 2020) inside of the regressor. The shape is not corrected: one body has to fit all frames.

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
"""Numbers of a prediction: the first two columns of 24 rotations, and the position of the pelvis."""
_MAX_RESIDUAL = 3.0
"""Limit of a residual, in sizes of the person: outliers count no more than this."""
_INERTIA_DAMPING = 0.02
"""Added to a joint's moment of inertia, m²: a few keypoints of little weight hardly rotate it."""
_WEIGHT_DAMPING = 0.1
"""Added to the sum of weights: keypoints of little weight hardly shift a person."""
_INITIAL_STEP = 0.1
"""Step size of the joints before training; small, because all joints of a chain rotate at once."""


class LocalKeypoints(NamedTuple):
    """Keypoints of N people in the virtual camera that looks straight at each."""

    rays: Tensor
    """(17, 2, N) x/z and y/z."""
    weight: Tensor
    """(17, N) weights of the keypoints, 0..1."""
    size: Tensor
    """(N,) angular size of the person."""


class Posed(NamedTuple):
    """N bodies in the frame of the virtual camera, and their residuals in the image."""

    global_rotations: Tensor
    """(24, 3, 3, N) global rotations."""
    joints: Tensor
    """(24, 3, N) metres, pelvis at the origin."""
    coco: Tensor
    """(17, 3, N) COCO keypoints, metres, pelvis at the origin."""
    depth: Tensor
    """(17, N) depth of ``coco``, metres."""
    projected: Tensor
    """(17, 2, N) projections of ``coco``, x/z and y/z."""
    residual: Tensor
    """(17, 2, N) difference of the detected keypoints and the projections, in sizes of the person."""


def _affected_keypoints() -> Tensor:
    """(24, 17): 1 where a rotation of the joint moves the keypoint."""
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
    """Gauss-Newton steps of single joints towards the keypoints. Nothing in it is learned."""

    body: Kinematics
    affected: Tensor
    parents: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.body = TorchBody(load_body())
        self.register_buffer("affected", _affected_keypoints(), persistent=False)
        self.register_buffer("parents", torch.tensor(PARENTS[1:]), persistent=False)

    def pose(self, rotations: Tensor, betas: Tensor, pelvis: Tensor, keypoints: LocalKeypoints) -> Posed:
        """Pose bodies and project them: ``rotations`` (24, 3, 3, N), ``betas`` (10, N), ``pelvis`` (3, N) m."""
        global_rotations, joints, coco = self.body.frames_batch_last(rotations, betas)
        placed = coco + pelvis
        depth = torch.maximum(placed[:, 2], 0.2 * pelvis[2])
        projected = placed[:, :2] / depth[:, None]
        residual = ((keypoints.rays - projected) / keypoints.size.clamp_min(1e-3)).clamp(-_MAX_RESIDUAL, _MAX_RESIDUAL)
        return Posed(global_rotations, joints, coco, depth, projected, residual)

    def joint_rotations(self, posed: Posed, weight: Tensor, size: Tensor) -> Tensor:
        """The rotation vector (24, 3, N), rad in its parent's frame, by which each joint alone would best reduce the residuals.
        ``weight`` (17, N) are the keypoints' weights, ``size`` (N,) the person's angular size."""
        across = posed.residual * (weight * (size * posed.depth))[:, None]
        # Residuals in metres, perpendicular to the line of sight, along which the image shows nothing.
        force = torch.cat([across, -(across * posed.projected).sum(1, keepdim=True)], 1)
        coco, joints = posed.coco, posed.joints
        heavy = weight[:, None] * coco
        of_keypoints = torch.cat(
            [cross(coco, force), force, heavy, weight[:, None], (heavy * coco).sum(1, keepdim=True)], 1
        )
        # Sums over the keypoints beyond each joint, then moments about the joint.
        sums = (self.affected @ of_keypoints.flatten(1)).reshape(JOINTS, 11, -1)
        torque, pull, moment, mass, square = torch.split(sums, [3, 3, 3, 1, 1], 1)
        torque = torque - cross(joints, pull)
        inertia = square + (joints * (mass * joints - 2 * moment)).sum(1, keepdim=True)
        turn = torque / (inertia + _INERTIA_DAMPING)
        # The root's rotation is given in the camera's frame, every other one in its parent's.
        local = (posed.global_rotations.index_select(0, self.parents) * turn[1:, :, None]).sum(1)
        return torch.cat([turn[:1], local]).clamp(-1, 1)

    @staticmethod
    def shift(posed: Posed, weight: Tensor, size: Tensor) -> Tensor:
        """The shift (3, N) of the whole body that best reduces the residuals: across and down in sizes of the person, and in
        the logarithm of its distance. ``weight`` and ``size`` as for `joint_rotations`."""
        weight = weight[:, None]
        total = weight.sum(0) + _WEIGHT_DAMPING
        pull = posed.residual * weight
        middle = (weight * posed.projected).sum(0) / total
        arm = (posed.projected - middle) / size
        grow = (pull * arm).sum((0, 1)) / ((weight * arm.square()).sum((0, 1)) + _WEIGHT_DAMPING)
        return torch.cat([pull.sum(0) / total, -grow[None].clamp(-0.5, 0.5)])


class Refinement(nn.Module):
    """One round of correction of predictions (`PREDICTION`, N)."""

    def __init__(self, context: int, width: int) -> None:
        super().__init__()
        self.sizes = [KEYPOINTS, JOINTS * 3, JOINTS * 3, 3, 3]
        self.read = nn.Linear(context + PREDICTION + KEYPOINTS * 4, width)
        self.hidden = nn.Linear(width, width)
        self.correct = nn.Linear(width, sum(self.sizes))
        with torch.no_grad():
            self.correct.weight.zero_()
            self.correct.bias.zero_()
            self.correct.bias[KEYPOINTS : KEYPOINTS + JOINTS * 3] = _INITIAL_STEP

    def forward(
        self, context: Tensor, raw: Tensor, posed: Posed, mechanics: Mechanics, keypoints: LocalKeypoints
    ) -> Tensor:
        """The corrected prediction (`PREDICTION`, N), from ``raw`` and ``context`` (C, N), features of the person."""
        size = keypoints.size.clamp_min(1e-3)
        relative_depth = (posed.depth / posed.depth.mean(0) - 1) / size
        seen = [posed.residual.flatten(0, 1), keypoints.weight, (relative_depth * 0.3).clamp(-2, 2)]
        x = nn.functional.gelu(affine(self.read, torch.cat([context, raw, *seen])))
        corrections = affine(self.correct, nn.functional.gelu(affine(self.hidden, x)))
        weight_logits, joint_gain, extra_turn, shift_gain, extra_shift = torch.split(corrections, self.sizes)
        weight = keypoints.weight * torch.sigmoid(weight_logits)
        with torch.autocast(raw.device.type, enabled=False):
            turn = extra_turn.reshape(JOINTS, 3, -1)
            turn = turn + joint_gain.reshape(JOINTS, 3, -1) * mechanics.joint_rotations(posed, weight, size)
            axes = raw[:POSE_NUMBERS].reshape(JOINTS, 2, 3, -1)
            axes = axes + cross(turn[:, None], axes)
            place = raw[POSE_NUMBERS:] + extra_shift + shift_gain * mechanics.shift(posed, weight, size)
        return torch.cat([axes.flatten(0, 2), place])
