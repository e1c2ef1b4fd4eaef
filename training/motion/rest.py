"""The default body's rest pose, and rotations from the canonical T-pose re-expressed for it.

A person who stands straight has zero rotations in the canonical T-pose, not on the default body: its knees are bent by 8
degrees and its elbows by 7 while all its rotations are zero. Angles that are written by hand must therefore be converted.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import roma
import torch
from torch import Tensor

from body.joints import JOINT_NAMES
from body.model import load_body
from common.arrays import DoubleArray
from training.motion.clip import rest_turns


@cache
def default_rest_joints() -> DoubleArray:
    """Joints (24, 3) of the default body at rest, metres. Not to be written to."""
    arrays = load_body()
    joints: DoubleArray = (arrays.joint_regressor @ arrays.v_template).astype(np.float64)
    joints.flags.writeable = False
    return joints


@cache
def _turns() -> tuple[Tensor, Tensor]:
    before, after = rest_turns(default_rest_joints())
    # numpy's quaternions have w first here, roma's last
    return tuple(torch.from_numpy(part).roll(-1, -1).float() for part in (before, after))  # type: ignore[return-value]


def to_default_rest(quaternions: Tensor, joints: list[int] | None = None) -> Tensor:
    """Local rotations that mean turns from the canonical T-pose, as the default body's: the same bone directions.

    Args:
        quaternions: (..., J, 4), x, y, z, w.
        joints: which J of the 24 joints they are; all by default.
    """
    before, after = _turns()
    chosen = slice(None) if joints is None else joints
    first, last = (part.to(quaternions)[chosen].expand_as(quaternions) for part in (before, after))
    return roma.quat_composition([first, quaternions, last])


def rest_bones(joint: str, child: str, grandchild: str, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Unit directions (3,) of a limb's two bones in the default body's rest pose: from ``joint`` to ``child``, and on."""
    rest = torch.from_numpy(default_rest_joints().copy()).float().to(device)
    a, b, c = (rest[JOINT_NAMES.index(name)] for name in (joint, child, grandchild))
    return torch.nn.functional.normalize(b - a, dim=0), torch.nn.functional.normalize(c - b, dim=0)
