"""Straightening the knees of skeletons whose joint centres bend them.

The knee's centre in CMU's skeletons lies so that flexion reads 0 to 12 degrees too large, by subject: the straightest legs of a
walk, 3 degrees in gait laboratories, show 3 to 16. A network trained on it predicts that nobody has straight legs.

The bias of a walk or run shows in how straight its legs get. Other clips take the median of their subject's walks (of
everybody's, where the subject never walks), and never more than their own straightest frames allow. The bias is taken off
knees up to 60 degrees and fades to 40 % of it at 120. Half of it turns the hip back and half the ankle, so that the foot stays
under the hip and keeps its direction.
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

STRAIGHTEST_DEG: Final = 3.0
"""Flexion that the straightest 3 % of a walk's frames should have."""

LARGEST_DEG: Final = 14.0
"""Largest bias that is corrected, degrees: beyond it the person really walks with bent knees."""

_PERCENT: Final = 3
_LEGS: Final = tuple(
    tuple(JOINT_NAMES.index(f"{side}_{joint}") for joint in ("hip", "knee", "ankle")) for side in ("left", "right")
)
_WALKING: Final = (0.5, 5.0)
_MIN_FRAMES: Final = 20


def flexion(rotations: FloatArray, knee: int) -> DoubleArray:
    """Degrees (N,) between thigh and shank of a canonical clip's rotations (N, 24, 3)."""
    turned = Rotation.from_rotvec(rotations[:, knee].astype(np.float64)).apply([0.0, -1.0, 0.0])
    return np.asarray(np.degrees(np.arccos(np.clip(-turned[:, 1], -1.0, 1.0))))


def straightest(clip: Clip) -> float:
    """Degrees below which the straightest `_PERCENT` of the clip's knees are bent."""
    return float(np.percentile(np.concatenate([flexion(clip.rotations, knee) for _, knee, _ in _LEGS]), _PERCENT))


def walks(clip: Clip) -> bool:
    """Whether the person covers ground on foot all the time: the pelvis upright and 0.5 to 5 m/s fast in the median."""
    if clip.frames < _MIN_FRAMES:
        return False
    speed = np.linalg.norm(np.diff(clip.pelvis[:, [0, 2]], axis=0), axis=-1) * clip.fps
    upright = Rotation.from_rotvec(clip.rotations[:, 0].astype(np.float64)).apply([0.0, 1.0, 0.0])[:, 1]
    return bool(_WALKING[0] < np.median(speed) < _WALKING[1] and np.percentile(upright, 5) > 0.8)


def knee_biases(clips: Sequence[Clip]) -> list[float]:
    """How much too far the knees of each of several canonical clips are bent, degrees; see the module."""
    own = [max(straightest(clip) - STRAIGHTEST_DEG, 0.0) for clip in clips]
    walking = [walks(clip) and bias <= LARGEST_DEG for clip, bias in zip(clips, own, strict=True)]
    told: dict[str, list[float]] = {}
    for clip, bias, tells in zip(clips, own, walking, strict=True):
        if tells:
            told.setdefault(clip.subject, []).append(bias)
    everybody = float(np.median([bias for part in told.values() for bias in part])) if told else 0.0
    of_subject = {subject: float(np.median(part)) for subject, part in told.items()}
    return [
        bias if tells else min(of_subject.get(clip.subject, everybody), bias)
        for clip, bias, tells in zip(clips, own, walking, strict=True)
    ]


def straighten(rotations: FloatArray, bias: float) -> FloatArray:
    """Canonical rotations (N, 24, 3), axis-angle, with knees ``bias`` degrees less bent. No knee bends backwards."""
    straight = rotations.copy()
    for hip, knee, ankle in _LEGS:
        bent = flexion(rotations, knee)
        share = np.clip(1.0 - (bent - 60.0) / 100.0, 0.4, 1.0)
        less = np.radians(np.minimum(bias * share, np.maximum(bent - 1.0, 0.0)))
        turn = np.zeros((len(less), 3))
        turn[:, 0] = less
        before = {joint: Rotation.from_rotvec(rotations[:, joint].astype(np.float64)) for joint in (hip, knee, ankle)}
        half = Rotation.from_rotvec(turn / 2)
        straight[:, hip] = (before[hip] * half).as_rotvec()
        straight[:, knee] = (half.inv() * before[knee] * half.inv()).as_rotvec()
        straight[:, ankle] = (half * before[ankle]).as_rotvec()
    return straight


def straighten_clips(clips: Sequence[Clip], source: str = "CMU") -> list[Clip]:
    """Take the bias of the knees off the clips of one source; the others are passed on."""
    chosen = [clip for clip in clips if clip.source == source]
    biases = iter(knee_biases(chosen))
    return [
        replace(clip, rotations=straighten(clip.rotations, next(biases))) if clip.source == source else clip
        for clip in clips
    ]
