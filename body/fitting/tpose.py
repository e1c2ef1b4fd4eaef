"""From MakeHuman's A-pose to SMPL's T-pose, and SMPL's 24 joints of a MakeHuman mesh."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from body.fitting.geometry import rotation_about, shortest_rotation, unit
from body.fitting.source import Rig
from body.joints import JOINT_NAMES
from common.arrays import DoubleArray

LIMB_DIRECTION: Final = {
    # Rest directions of the left limbs (x left, y up, z front); the right side is mirrored. They fix what a zero
    # rotation means, so that poses made for SMPL look the same here.
    "upper_arm": (1, -0.05, -0.10),
    "forearm": (1, 0.03, 0.0),
    "hand": (1, -0.05, -0.12),
    "thigh": (0.085, -1, -0.01),
    "shin": (-0.035, -1, -0.10),
}
CLAVICLE_RAISE, TOES_OUT, LEAN_BACK = np.radians(14), np.radians(11), np.radians(5)
FINGERS: Final = (2, 3, 4, 5)
HIP_INWARD: Final = 0.78
"""Factor that moves MakeHuman's hip pivots inward; they lie too far out."""


class Rigid(NamedTuple):
    """Rigid transform x -> rotation @ x + shift."""

    rotation: DoubleArray
    """(3, 3) rotation matrix."""
    shift: DoubleArray
    """(3,) translation, metres."""

    def __call__(self, point: DoubleArray) -> DoubleArray:
        """Transform ``point`` (3,)."""
        moved: DoubleArray = self.rotation @ point + self.shift
        return moved


def _about(rotation: DoubleArray, start: DoubleArray, end: DoubleArray) -> Rigid:
    """Rotation about the point ``start``, which moves to ``end``."""
    return Rigid(rotation, end - rotation @ start)


def pose_bones(rig: Rig, vertices: DoubleArray) -> tuple[dict[str, Rigid], DoubleArray]:
    """Bring one mesh (N, 3) to the T-pose.

    Returns:
        The motion of each group of bones (``bone_group``), and the joints (24, 3) in the T-pose.
    """
    motion = {"pelvis": Rigid(np.eye(3), np.zeros(3))}
    joints = np.zeros((len(JOINT_NAMES), 3))
    below = "pelvis"
    for group, bone, lean in (
        ("lumbar", "spine04", 0.5),
        ("chest", "spine02", 1.0),
        ("neck", "neck01", 0.5),
        ("head", "head", 0),
    ):
        pivot = rig.head(bone, vertices)
        motion[group] = _about(
            rotation_about((1, 0, 0), -LEAN_BACK * lean), pivot, pivot if below == "pelvis" else motion[below](pivot)
        )
        below = group
    for side in "LR":
        found = {**_arm(rig, vertices, side, motion), **_leg(rig, vertices, side, motion)}
        for name, place in found.items():
            joints[JOINT_NAMES.index(("left_" if side == "L" else "right_") + name)] = place
    _spine(joints, neck=motion["chest"](rig.head("neck01", vertices)), head=motion["neck"](rig.head("head", vertices)))
    return motion, joints


def _outward(side: str) -> float:
    return 1.0 if side == "L" else -1.0


def _direction(name: str, side: str) -> DoubleArray:
    return unit(np.array(LIMB_DIRECTION[name]) * [_outward(side), 1, 1])


def _arm(rig: Rig, vertices: DoubleArray, side: str, motion: dict[str, Rigid]) -> dict[str, DoubleArray]:
    def head(bone: str) -> DoubleArray:
        return rig.head(f"{bone}.{side}", vertices)

    clavicle, shoulder, elbow, wrist = head("clavicle"), head("upperarm01"), head("lowerarm01"), head("wrist")
    knuckles = np.mean([head(f"finger{finger}-1") for finger in FINGERS], 0)
    across = head("finger2-1") - head("finger5-1")

    clavicle_at = motion["chest"](clavicle)
    rotation = rotation_about((0, 0, 1), _outward(side) * CLAVICLE_RAISE) @ motion["chest"].rotation
    motion["clavicle" + side] = _about(rotation, clavicle, clavicle_at)
    shoulder_at = motion["clavicle" + side](shoulder)
    rotation = shortest_rotation(elbow - shoulder, _direction("upper_arm", side))
    motion["upper_arm" + side] = _about(rotation, shoulder, shoulder_at)
    elbow_at = motion["upper_arm" + side](elbow)
    along = _direction("forearm", side)
    rotation = shortest_rotation(rotation @ (wrist - elbow), along) @ rotation
    wrist_at = _about(rotation, elbow, elbow_at)(wrist)

    # The forearm twists until the palm looks down; the twist grows towards the wrist.
    palm = rotation @ across
    palm = palm - palm @ along * along
    front = np.array([0.0, 0, 1])
    front = front - front @ along * along
    twist = float(np.arctan2(np.cross(palm, front) @ along, palm @ front))
    for share, group in ((0.3, "forearm_upper"), (0.75, "forearm_lower")):
        motion[group + side] = _about(rotation_about(along, share * twist) @ rotation, elbow, elbow_at)
    rotation = rotation_about(along, twist) @ rotation
    rotation = shortest_rotation(rotation @ (knuckles - wrist), _direction("hand", side)) @ rotation
    motion["hand" + side] = _about(rotation, wrist, wrist_at)
    for finger in FINGERS:  # MakeHuman's are relaxed; straighten them by half
        base, tip = head(f"finger{finger}-1"), head(f"finger{finger}-3")
        along = unit(rotation @ (tip - base))
        straight = shortest_rotation(along, along + 1.5 * _direction("hand", side)) @ rotation
        motion[f"finger{finger}" + side] = _about(straight, base, motion["hand" + side](base))
    collar = 0.6 * clavicle_at + 0.4 * shoulder_at
    hand = motion["hand" + side](knuckles)
    return {"collar": collar, "shoulder": shoulder_at, "elbow": elbow_at, "wrist": wrist_at, "hand": hand}


def _leg(rig: Rig, vertices: DoubleArray, side: str, motion: dict[str, Rigid]) -> dict[str, DoubleArray]:
    hip, knee, ankle = (rig.head(f"{bone}.{side}", vertices) for bone in ("upperleg01", "lowerleg01", "foot"))
    hip = hip * [HIP_INWARD, 1, 1]
    toes = np.mean([rig.head(f"toe{toe}-1.{side}", vertices) for toe in (1, 2, 3, 4, 5)], 0)
    motion["thigh" + side] = _about(shortest_rotation(knee - hip, _direction("thigh", side)), hip, hip)
    knee_at = motion["thigh" + side](knee)
    motion["shin" + side] = _about(shortest_rotation(ankle - knee, _direction("shin", side)), knee, knee_at)
    ankle_at = motion["shin" + side](ankle)
    motion["foot" + side] = _about(rotation_about((0, 1, 0), _outward(side) * TOES_OUT), ankle, ankle_at)
    return {"hip": hip, "knee": knee_at, "ankle": ankle_at, "foot": motion["foot" + side](toes)}


def _spine(joints: DoubleArray, neck: DoubleArray, head: DoubleArray) -> None:
    """Fill in pelvis, spine, neck and head.

    MakeHuman's spine helpers jump with age and weight, so the spine is placed by fixed fractions between hips and neck.
    """
    at = JOINT_NAMES.index
    hips = 0.5 * (joints[at("left_hip")] + joints[at("right_hip")])
    size = (neck - hips)[1] / 0.565  # 1 for a trunk of SMPL's mean length
    pelvis = hips + 0.132 * (neck - hips) + [0, 0, -0.020 * size]
    joints[at("pelvis")], joints[at("neck")], joints[at("head")] = pelvis, neck, head
    for name, share, forward in (("spine1", 0.20, 0.0), ("spine2", 0.44, -0.016), ("spine3", 0.60, -0.032)):
        joints[at(name)] = pelvis + share * (neck - pelvis) + [0, 0, forward * size]
