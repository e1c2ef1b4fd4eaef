"""Skin weights: MakeHuman's bones merged into the groups of the T-pose step and into SMPL's 24 joints."""

from __future__ import annotations

from typing import Final

import numpy as np

from body.fitting.source import Rig
from body.joints import JOINT_MIRROR, JOINT_NAMES
from common.arrays import DoubleArray, Int64Array

SPINE: Final[dict[str, tuple[str, dict[str, float]]]] = {
    "root": ("pelvis", {"pelvis": 1}),
    "pelvis": ("pelvis", {"pelvis": 1}),
    "spine05": ("pelvis", {"pelvis": 1}),
    "spine04": ("lumbar", {"pelvis": 0.5, "spine1": 0.5}),
    "spine03": ("lumbar", {"spine1": 1}),
    "spine02": ("chest", {"spine2": 1}),
    "spine01": ("chest", {"spine3": 1}),
    "breast": ("chest", {"spine3": 1}),
    "neck01": ("neck", {"neck": 1}),
    "neck02": ("neck", {"neck": 1}),
    "neck03": ("neck", {"neck": 0.5, "head": 0.5}),
}

LIMB_GROUPS: Final = (
    # (beginning of the bone's name, group, joint); the first that fits counts
    ("clavicle", "clavicle", "collar"),
    ("shoulder01", "clavicle", "collar"),
    ("upperarm", "upper_arm", "shoulder"),
    ("lowerarm01", "forearm_upper", "elbow"),
    ("lowerarm", "forearm_lower", "elbow"),
    ("wrist", "hand", "wrist"),
    ("metacarpal", "hand", "wrist"),
    ("finger1", "hand", "wrist"),
    ("finger2", "finger2", "hand"),
    ("finger3", "finger3", "hand"),
    ("finger4", "finger4", "hand"),
    ("finger5", "finger5", "hand"),
    ("upperleg", "thigh", "hip"),
    ("lowerleg", "shin", "knee"),
    ("foot", "foot", "ankle"),
    ("toe", "foot", "foot"),
)

INFLUENCES: Final = 4
SMALLEST_WEIGHT: Final = 0.004


def bone_group(bone: str) -> tuple[str, dict[str, float]]:
    """The T-pose group of a MakeHuman bone, and the joints it is shared among."""
    name, _, side = bone.partition(".")
    if side in ("L", "R"):
        prefix = "left_" if side == "L" else "right_"
        for start, group, joint in LIMB_GROUPS:
            if name.startswith(start):
                return group + side, {prefix + joint: 1.0}
    return SPINE.get(name, ("head", {"head": 1.0}))  # what is left is face, jaw, eyes and tongue


def merged_weights(rig: Rig, count: int) -> tuple[list[str], DoubleArray, DoubleArray]:
    """Names of the groups, weights (count, groups) for the T-pose, and weights (count, 24) for SMPL's joints.

    Rows sum to 1. Helper vertices that no bone holds follow the head, where they are not seen.
    """
    names = sorted({bone_group(bone)[0] for bone in rig.bones})
    groups, joints = np.zeros((count, len(names))), np.zeros((count, len(JOINT_NAMES)))
    for bone in rig.bones:
        group, shares = bone_group(bone)
        weight = rig.weight(bone, count)
        groups[:, names.index(group)] += weight
        for joint, share in shares.items():
            joints[:, JOINT_NAMES.index(joint)] += share * weight
    free = joints.sum(1) <= 0.5
    groups[free], joints[free] = 0, 0
    groups[free, names.index("head")] = joints[free, JOINT_NAMES.index("head")] = 1
    return names, groups / groups.sum(1, keepdims=True), joints / joints.sum(1, keepdims=True)


def strongest(weights: DoubleArray, mirror: Int64Array) -> DoubleArray:
    """(V, 24) symmetric weights with at most the four largest of each row, tiny ones dropped, rows summing to 1.

    On the middle line the fourth and fifth are often a left joint and its right twin, equally strong; then both go, since
    keeping one would pull the middle to its side.
    """
    both = 0.5 * (weights + weights[mirror][:, list(JOINT_MIRROR)])
    fifth = np.sort(both, 1)[:, -INFLUENCES - 1, None]
    kept = np.where((both > fifth + 1e-9) & (both >= SMALLEST_WEIGHT), both, 0)
    scaled: DoubleArray = kept / kept.sum(1, keepdims=True)
    return scaled
