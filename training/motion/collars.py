"""How collar bones follow the arms, for skeletons that have none or never move them.

A raised arm lifts its shoulder and takes it back. Measured by markers on two sets of people (ACCAD, 2 people; UI-PRMD, 8; a
linear fit of the collar's angles over the upper arm's elevation e and swing s to the front, degrees, in the frame of the
chest): lift 0.31 e + 5 and 0.28 e + 12, front -0.10 e + 0.08 s - 5 and -0.13 e + 0.2 s - 7. An arm that hangs (e = -83) has
its shoulder 20 and 11 degrees lower than in the T-pose, one at the horizontal 9 and 13 higher.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from body.joints import JOINT_NAMES
from common.arrays import DoubleArray, FloatArray
from training.motion.clip import Clip

SIDES: Final = (("left", 1.0), ("right", -1.0))

_FOLLOWS_DEG: Final = 1.0
"""Collars count as made by a law if they are nowhere further from it."""


def collar_turns(arm: Rotation, sign: float) -> Rotation:
    """The collar's rotation against the chest that goes with an upper arm's.

    Args:
        arm: N rotations of the upper arm against the chest; at rest the arm is along ``sign`` times x.
        sign: 1 for the left arm, -1 for the right one.
    """
    elevation, swing = _arm_angles(arm, sign)
    lift = np.clip(0.30 * (elevation + 25.0), -18.0, 30.0)
    front = np.clip(-0.11 * elevation + 0.08 * swing - 5.5, -18.0, 12.0)
    return _turn(lift, front, sign)


def earlier_turns(arm: Rotation, sign: float) -> Rotation:
    """The law of earlier packs, which was not measured: shoulders hardly sink with hanging arms, and come forward with
    raised ones."""
    elevation, swing = _arm_angles(arm, sign)
    return _turn(np.clip(0.25 * (elevation + 10.0), -6.0, 25.0), np.clip(0.15 * swing, -8.0, 15.0), sign)


def _arm_angles(arm: Rotation, sign: float) -> tuple[DoubleArray, DoubleArray]:
    direction = arm.apply([sign, 0.0, 0.0])
    height = np.clip(direction[:, 1], -1.0, 1.0)
    # An arm straight up or down has no front: the swing fades out, and its angle never jumps at the back.
    swing = np.degrees(np.arctan2(direction[:, 2], np.maximum(np.abs(direction[:, 0]), 0.35)))
    return np.degrees(np.arcsin(height)), swing * np.sqrt(1.0 - height**2)


def _turn(lift: DoubleArray, front: DoubleArray, sign: float) -> Rotation:
    return Rotation.from_euler("YZ", np.stack([-sign * front, sign * lift], -1), degrees=True)


def follow_measured_law(clips: Sequence[Clip]) -> list[Clip]:
    """Replace collars made by the earlier law by the measured one's; measured collars stay as they are.

    The upper arms keep their directions.

    Args:
        clips: Canonical clips.
    """
    return [_corrected(clip) for clip in clips]


def _corrected(clip: Clip) -> Clip:
    rotations: FloatArray | None = None
    few = slice(None, None, max(clip.frames // 16, 1))
    for side, sign in SIDES:
        joints = [JOINT_NAMES.index(f"{side}_{part}") for part in ("collar", "shoulder")]
        turns = clip.rotations[:, joints].astype(np.float64)
        # A few frames suffice to recognise most measured clips.
        if not (_follows_earlier_law(turns[few], sign) and _follows_earlier_law(turns, sign)):
            break  # neither side or both
        rotations = clip.rotations.copy() if rotations is None else rotations
        arm = Rotation.from_rotvec(turns[:, 0]) * Rotation.from_rotvec(turns[:, 1])
        turned = collar_turns(arm, sign)
        rotations[:, joints[0]] = turned.as_rotvec()
        rotations[:, joints[1]] = (turned.inv() * arm).as_rotvec()
    return clip if rotations is None else replace(clip, rotations=rotations)


def _follows_earlier_law(turns: DoubleArray, sign: float) -> bool:
    """Whether the collars of ``turns`` (N, 2, 3), axis-angle of collar and shoulder, are what `earlier_turns` makes."""
    collar = Rotation.from_rotvec(turns[:, 0])
    off = (collar.inv() * earlier_turns(collar * Rotation.from_rotvec(turns[:, 1]), sign)).magnitude()
    return bool(np.degrees(np.percentile(off, 95)) < _FOLLOWS_DEG)
