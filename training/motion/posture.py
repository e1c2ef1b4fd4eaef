"""Joint angles as a clinician measures them, from where joints are: comparable between skeletons and rest poses.

Rotations of one skeleton say little about another's: the default body's knees are bent by 8 degrees while all its rotations
are zero. The angles here are those between bones.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from body.joints import JOINT_NAMES

POSTURE_ANGLES: Final = (
    "knee flexion", "hip flexion", "hip abduction", "ankle", "elbow flexion", "arm elevation", "collar lift", "trunk lean",
    "pelvis pitch", "chest pitch", "head pitch",
)  # fmt: skip
"""What `joint_angles` measures."""

_INDEX: Final = {name: index for index, name in enumerate(JOINT_NAMES)}


def _pair(name: str) -> list[int]:
    return [_INDEX[f"left_{name}"], _INDEX[f"right_{name}"]]


_HIPS, _KNEES, _ANKLES, _FEET = _pair("hip"), _pair("knee"), _pair("ankle"), _pair("foot")
_COLLARS, _SHOULDERS, _ELBOWS, _WRISTS = _pair("collar"), _pair("shoulder"), _pair("elbow"), _pair("wrist")
_PELVIS, _CHEST, _NECK, _HEAD = (_INDEX[name] for name in ("pelvis", "spine3", "neck", "head"))


def joint_angles(joints: Tensor, turned: Tensor) -> dict[str, Tensor]:
    """Angles in degrees (..., S) by the names of `POSTURE_ANGLES`; S is 2 (left, right) for limbs and 1 for the trunk.

    - "knee flexion", "elbow flexion": between the two bones of a limb, 0 where it is straight, whatever the direction.
    - "hip flexion": of the thigh against the trunk, seen along the line of the hips; forward is positive.
    - "hip abduction": of the thigh out of the plane square to the line of the hips.
    - "ankle": from the continued shank to the foot, 0 for pointed toes.
    - "arm elevation": of the upper arm from the trunk, 0 where it hangs.
    - "collar lift": of the collar bone over the plane square to the chest's own upright.
    - "trunk lean": of the line from the hips to the neck, against the vertical.
    - "pelvis pitch", "chest pitch", "head pitch": of the joint's frame of reference (spine3's for the chest), forward is
      positive; the pelvis' against the vertical, the chest's against the pelvis, the head's against the chest.

    Args:
        joints: (..., 24, 3) metres, y up.
        turned: (..., 24, 3, 3) from the rest frame of the body to the world, for each joint.
    """
    thigh, shank = _unit(joints, _HIPS, _KNEES), _unit(joints, _KNEES, _ANKLES)
    upper, lower = _unit(joints, _SHOULDERS, _ELBOWS), _unit(joints, _ELBOWS, _WRISTS)
    middle = joints[..., _HIPS, :].mean(-2)
    trunk = torch.nn.functional.normalize(joints[..., _NECK, :] - middle, dim=-1)[..., None, :]
    left = torch.nn.functional.normalize(joints[..., _HIPS[0], :] - joints[..., _HIPS[1], :], dim=-1)[..., None, :]
    forward = torch.linalg.cross(left, trunk)
    outward = left * left.new_tensor([[1.0], [-1.0]])
    collar = _unit(joints, _COLLARS, _SHOULDERS)
    up = joints.new_tensor([0.0, 1.0, 0.0]).expand_as(trunk)
    between = turned.transpose(-1, -2)
    found = {
        "knee flexion": _between(thigh, shank),
        "hip flexion": torch.rad2deg(torch.atan2((thigh * forward).sum(-1), -(thigh * trunk).sum(-1))),
        "hip abduction": torch.rad2deg(torch.asin((thigh * outward).sum(-1).clamp(-1, 1))),
        "ankle": _between(shank, _unit(joints, _ANKLES, _FEET)),
        "elbow flexion": _between(upper, lower),
        "arm elevation": _between(upper, -trunk.expand_as(upper)),
        "collar lift": 90 - _between(collar, turned[..., None, _CHEST, :, 1].expand_as(collar)),
        "trunk lean": _between(trunk, up),
        "pelvis pitch": _pitch(turned[..., _PELVIS, :, :])[..., None],
        "chest pitch": _pitch(between[..., _PELVIS, :, :] @ turned[..., _CHEST, :, :])[..., None],
        "head pitch": _pitch(between[..., _CHEST, :, :] @ turned[..., _HEAD, :, :])[..., None],
    }
    return {name: found[name] for name in POSTURE_ANGLES}


def _unit(joints: Tensor, start: list[int], end: list[int]) -> Tensor:
    return torch.nn.functional.normalize(joints[..., end, :] - joints[..., start, :], dim=-1)


def _between(first: Tensor, second: Tensor) -> Tensor:
    """Degrees between unit vectors (..., 3), exact for small angles, too."""
    return 2 * torch.rad2deg(torch.atan2((first - second).norm(dim=-1), (first + second).norm(dim=-1)))


def _pitch(turn: Tensor) -> Tensor:
    """Degrees by which (..., 3, 3) tilts its y axis forward, as seen from its own side."""
    upright, forward = turn[..., :, 1], turn[..., :, 2]
    return torch.rad2deg(torch.atan2(-forward[..., 1], torch.sqrt(upright[..., 1] ** 2 + turn[..., 1, 0] ** 2)))
