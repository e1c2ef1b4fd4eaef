"""Poses that motion capture lacks: gym, floor, hands to the face, desk. Named by hand, blended into drawn motion.

A pose names the joints it sets and leaves the others to the motion it is blended into, so that no two are equal. Angles
are turns about the parent's axes from the canonical T-pose (y up, facing +z, the person's left is +x), whose limbs are
straight; that the default body's rest pose bends knees and elbows is accounted for. They are written as text: "y-40 z-70"
turns by -40 degrees about y, then, in the turned frame, by -70 about z. So a left arm hangs at "z-80" and reaches forward
at "y-90"; a thigh is lifted by "x-90"; a knee bends by "x90".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import roma
import torch
from torch import Tensor

from body.joints import JOINT_MIRROR, JOINT_NAMES
from training.motion.rest import to_default_rest

_AXES: Final = {"x": 0, "y": 1, "z": 2}


@dataclass(frozen=True, slots=True)
class KeyPose:
    """One pose to blend into a motion."""

    name: str
    """Pairs with another pose's ``back``."""
    turns: Mapping[str, str]
    """Turns by joint, in terms of the person's own left and right."""
    root: str | None = None
    """Turns the whole body in the y-up world and keeps the heading of the motion it is blended into; None leaves the
    root alone."""
    back: str | None = None
    """Name of the other end of a repeated movement; None where there is none."""


_STANDING_LEGS: Final = {
    "left_hip": "z4", "right_hip": "z-4", "left_knee": "x4", "right_knee": "x4", "left_ankle": "x0", "right_ankle": "x0",
}  # fmt: skip
_HANGING: Final = {"left_shoulder": "z-78", "right_shoulder": "z78", "left_elbow": "y-10", "right_elbow": "y10"}

KEY_POSES: Final[tuple[KeyPose, ...]] = (
    # Gym: pairs are the two ends of one repetition.
    KeyPose("squat up", {**_STANDING_LEGS, "left_shoulder": "y-80 z-10", "right_shoulder": "y80 z10"}, "x3", "squat down"),
    KeyPose("squat down", {
        "left_hip": "z16 x-105", "right_hip": "z-16 x-105", "left_knee": "x118", "right_knee": "x118",
        "left_ankle": "x-28", "right_ankle": "x-28", "spine1": "x14", "spine2": "x8",
        "left_shoulder": "y-85 z4", "right_shoulder": "y85 z-4", "left_elbow": "y-8", "right_elbow": "y8",
    }, "x18"),
    KeyPose("lunge up", {**_STANDING_LEGS, **_HANGING}, "x0", "lunge down"),
    KeyPose("lunge down", {
        "left_hip": "x-88", "left_knee": "x90", "left_ankle": "x-6", "right_hip": "x12", "right_knee": "x96",
        "right_ankle": "x20", "spine1": "x4", **_HANGING,
    }, "x4"),
    KeyPose("press down", {
        **_STANDING_LEGS, "left_shoulder": "y7 z-57 x-57", "right_shoulder": "y-7 z57 x-57", "left_elbow": "y-148",
        "right_elbow": "y148",
    }, "x0", "press up"),
    KeyPose("press up", {
        **_STANDING_LEGS, "left_collar": "z18", "right_collar": "z-18", "left_shoulder": "z64 y-10",
        "right_shoulder": "z-64 y10", "left_elbow": "y-8", "right_elbow": "y8",
    }, "x-3"),
    KeyPose("jack closed", {**_STANDING_LEGS, **_HANGING}, "x0", "jack open"),
    KeyPose("jack open", {
        "left_hip": "z26", "right_hip": "z-26", "left_knee": "x4", "right_knee": "x4", "left_collar": "z14",
        "right_collar": "z-14", "left_shoulder": "z62", "right_shoulder": "z-62", "left_elbow": "y-12",
        "right_elbow": "y12",
    }, "x0"),
    KeyPose("deadlift up", {**_STANDING_LEGS, **_HANGING}, "x0", "deadlift down"),
    KeyPose("deadlift down", {
        "left_hip": "z6 x-88", "right_hip": "z-6 x-88", "left_knee": "x38", "right_knee": "x38", "spine1": "x8",
        "neck": "x-22", "left_shoulder": "y-62 z-30 ", "right_shoulder": "y62 z30", "left_elbow": "y-4",
        "right_elbow": "y4", "left_ankle": "x-10", "right_ankle": "x-10",
    }, "x62"),
    KeyPose("curl down", {**_STANDING_LEGS, **_HANGING}, "x0", "curl up"),
    KeyPose("curl up", {
        **_STANDING_LEGS, "left_shoulder": "z-78", "right_shoulder": "z78", "left_elbow": "y-138",
        "right_elbow": "y138",
    }, "x0"),
    KeyPose("warrior", {
        "left_hip": "z52 x-52", "left_knee": "x72", "right_hip": "z-44", "right_knee": "x3", "left_shoulder": "z0",
        "right_shoulder": "z0", "left_elbow": "y-3", "right_elbow": "y3", "head": "y60",
    }, "x0"),
    KeyPose("tree", {
        "left_hip": "z48 x-48", "left_knee": "x126", "right_hip": "z-3", "right_knee": "x2", "left_shoulder": "z72",
        "right_shoulder": "z-72", "left_elbow": "y-22", "right_elbow": "y22", "left_collar": "z16",
        "right_collar": "z-16",
    }, "x0"),
    # On the floor.
    KeyPose("push-up top", {
        "left_shoulder": "y-86", "right_shoulder": "y86", "left_elbow": "y-4", "right_elbow": "y4", "left_hip": "x4",
        "right_hip": "x4", "left_knee": "x2", "right_knee": "x2", "neck": "x-20", "left_ankle": "x-35",
        "right_ankle": "x-35",
    }, "x72", "push-up bottom"),
    KeyPose("push-up bottom", {
        "left_shoulder": "y-5 x70 ", "right_shoulder": "y5 x70", "left_elbow": "y-96", "right_elbow": "y96",
        "left_hip": "x2", "right_hip": "x2", "left_knee": "x2", "right_knee": "x2", "neck": "x-24",
        "left_ankle": "x-35", "right_ankle": "x-35",
    }, "x86"),
    KeyPose("forearm plank", {
        "left_shoulder": "y-80", "right_shoulder": "y80", "left_elbow": "y-88", "right_elbow": "y88", "left_hip": "x0",
        "right_hip": "x0", "left_knee": "x2", "right_knee": "x2", "neck": "x-18",
    }, "x84"),
    KeyPose("all fours", {
        "left_shoulder": "y-84", "right_shoulder": "y84", "left_elbow": "y-4", "right_elbow": "y4", "left_hip": "x-84",
        "right_hip": "x-84", "left_knee": "x88", "right_knee": "x88", "neck": "x-24",
    }, "x82"),
    KeyPose("sit-up down", {
        "left_hip": "z6 x-52", "right_hip": "z-6 x-52", "left_knee": "x98", "right_knee": "x98", "left_shoulder": "z40 y-20",
        "right_shoulder": "z-40 y20", "left_elbow": "y-135", "right_elbow": "y135",
    }, "x-88", "sit-up up"),
    KeyPose("sit-up up", {
        "left_hip": "z6 x-112", "right_hip": "z-6 x-112", "left_knee": "x102", "right_knee": "x102", "spine1": "x16",
        "spine2": "x12", "spine3": "x8", "left_shoulder": "z40 y-30", "right_shoulder": "z-40 y30",
        "left_elbow": "y-135", "right_elbow": "y135",
    }, "x-18"),
    KeyPose("lying on the back", {
        "left_hip": "z8", "right_hip": "z-8", "left_knee": "x6", "right_knee": "x6", "left_shoulder": "z-58",
        "right_shoulder": "z58", "left_elbow": "y-14", "right_elbow": "y14",
    }, "x-90"),
    KeyPose("lying on the side", {
        "left_hip": "x-42", "right_hip": "x-30", "left_knee": "x64", "right_knee": "x48",
        "left_shoulder": "y-70 z-20", "right_shoulder": "y95", "left_elbow": "y-70", "right_elbow": "y80",
    }, "z90"),
    KeyPose("sitting cross-legged", {
        "left_hip": "z42 x-95 y72", "right_hip": "z-42 x-95 y-72", "left_knee": "x122", "right_knee": "x122",
        "left_shoulder": "z-62 y-24", "right_shoulder": "z62 y24", "left_elbow": "y-48", "right_elbow": "y48",
        "spine1": "x6",
    }, "x0"),
    KeyPose("sitting, legs straight", {
        "left_hip": "z6 x-88", "right_hip": "z-6 x-88", "left_knee": "x6", "right_knee": "x6",
        "left_shoulder": "z-62 y18", "right_shoulder": "z62 y-18", "left_elbow": "y-6", "right_elbow": "y6",
    }, "x-8"),
    KeyPose("kneeling", {
        "left_hip": "z6 x-4", "right_hip": "z-6 x-4", "left_knee": "x94", "right_knee": "x94", "left_ankle": "x30",
        "right_ankle": "x30",
    }, "x0", "sitting on heels"),
    KeyPose("sitting on heels", {
        "left_hip": "z8 x-66", "right_hip": "z-8 x-66", "left_knee": "x142", "right_knee": "x142", "left_ankle": "x36",
        "right_ankle": "x36", "spine1": "x6",
    }, "x4"),
    KeyPose("crouching", {
        "left_hip": "z14 x-122", "right_hip": "z-14 x-122", "left_knee": "x138", "right_knee": "x138",
        "left_ankle": "x-18", "right_ankle": "x-18", "spine1": "x20", "spine2": "x12",
    }, "x24"),
    KeyPose("bridge", {
        "left_hip": "z6 x-8", "right_hip": "z-6 x-8", "left_knee": "x92", "right_knee": "x92", "left_shoulder": "z-66",
        "right_shoulder": "z66", "left_elbow": "y-6", "right_elbow": "y6", "neck": "x28",
    }, "x-118"),
    # Hands, mostly of somebody at a desk.
    KeyPose("hand on the chin", {"left_shoulder": "y-60 z-46 x-25", "left_elbow": "y-138", "head": "x6"}),
    KeyPose("hand on the cheek", {"left_shoulder": "y-43 z-17 x-47", "left_elbow": "y-149", "head": "z-8"}),
    KeyPose("phone at the ear", {"left_shoulder": "y-42 z-15 x-72", "left_elbow": "y-150", "head": "z-6"}),
    KeyPose("scratching the head", {"left_collar": "z14", "left_shoulder": "y-62 z10 x-80", "left_elbow": "y-140"}),
    KeyPose("hands behind the head", {
        "left_collar": "z20", "right_collar": "z-20", "left_shoulder": "y-8 z28 x-96", "right_shoulder": "y8 z-28 x-96",
        "left_elbow": "y-146", "right_elbow": "y146",
    }),
    KeyPose("hands before the face", {
        "left_shoulder": "y-73 z-32 x-55", "right_shoulder": "y73 z32 x-55", "left_elbow": "y-129", "right_elbow": "y129",
        "head": "x14",
    }),
    KeyPose("arms crossed", {
        "left_shoulder": "y-41 z-76 x34", "right_shoulder": "y44 z74 x30", "left_elbow": "y-107", "right_elbow": "y112",
    }),
    KeyPose("hands on the hips", {
        "left_shoulder": "y-27 z-47 x79", "right_shoulder": "y27 z47 x79", "left_elbow": "y-82", "right_elbow": "y82",
    }),
    KeyPose("drinking", {"left_shoulder": "y-68 z-29 x-43", "left_elbow": "y-123", "head": "x-12"}),
    KeyPose("typing", {
        "left_shoulder": "y-22 z-68", "right_shoulder": "y22 z68", "left_elbow": "y-82", "right_elbow": "y82",
        "neck": "x8", "head": "x6",
    }),
    KeyPose("pointing", {"left_shoulder": "y-82 z4", "left_elbow": "y-4", "left_wrist": "z0"}),
    KeyPose("waving", {"left_shoulder": "z6 x-84", "left_elbow": "y-96"}, None, "waving out"),
    KeyPose("waving out", {"left_shoulder": "z6 x-84", "left_elbow": "y-48"}),
    KeyPose("clapping", {
        "left_shoulder": "y-52 z-42", "right_shoulder": "y52 z42", "left_elbow": "y-78", "right_elbow": "y78",
    }, None, "clapping apart"),
    KeyPose("clapping apart", {
        "left_shoulder": "y-24 z-48", "right_shoulder": "y24 z48", "left_elbow": "y-68", "right_elbow": "y68",
    }),
)  # fmt: skip


def turn(text: str) -> Tensor:
    """A unit quaternion (4,) (x, y, z, w) from turns such as ``"y-40 z-70"``, degrees. Raises ``ValueError`` for others."""
    total = torch.tensor([0.0, 0.0, 0.0, 1.0])
    for part in text.split():
        if part[0] not in _AXES:
            raise ValueError(f"a turn is an axis and degrees, as in 'x-90', not {part!r}")
        vector = torch.zeros(3)
        vector[_AXES[part[0]]] = torch.deg2rad(torch.tensor(float(part[1:])))
        total = roma.quat_product(total, roma.rotvec_to_unitquat(vector))
    return total


def pose_tables(poses: tuple[KeyPose, ...] = KEY_POSES) -> tuple[Tensor, Tensor, Tensor]:
    """The poses' turns in terms of the default body, which joints they set, and the other ends of movements.

    Returns:
        Quaternions (P, 24, 4), x, y, z, w; bool (P, 24); and (P,) the pose at the other end of each one's movement, itself
        where there is none.

    Raises:
        ValueError: An unknown joint or pose.
    """
    names = [pose.name for pose in poses]
    quaternions = torch.zeros(len(poses), 24, 4)
    quaternions[..., 3] = 1
    used = torch.zeros(len(poses), 24, dtype=torch.bool)
    back = torch.arange(len(poses))
    for row, pose in enumerate(poses):
        turns = dict(pose.turns) | ({} if pose.root is None else {"pelvis": pose.root})
        unknown = turns.keys() - set(JOINT_NAMES)
        if unknown or pose.back not in {None, *names}:
            raise ValueError(f"{pose.name!r} names {unknown or pose.back}, which is no joint or pose")
        for joint, text in turns.items():
            column = JOINT_NAMES.index(joint)
            quaternions[row, column], used[row, column] = turn(text), True
        if pose.back is not None:
            back[row] = names.index(pose.back)
            back[back[row]] = row
    return to_default_rest(quaternions), used, back


_TABLES: Final = pose_tables()


def blend_key_poses(quaternions: Tensor, times: Tensor, generator: torch.Generator, chance: float = 0.15) -> Tensor:
    """Blend a random key pose into a share ``chance`` of the windows of motion.

    ``quaternions`` (B, T, 24, 4) local (x, y, z, w), the root's in a y-up world; ``times`` (B, T) s. A chosen window moves
    into its pose and out of it, or back and forth between the two ends of an exercise; half of all one-sided poses are
    mirrored; every joint is off by some degrees. Returns new quaternions; the input is left as it is.
    """
    device = quaternions.device
    tables, used_table, back_table = (table.to(device) for table in _TABLES)
    batch, length = times.shape

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device) * (high - low) + low

    chosen = uniform(batch) < chance
    pose = torch.randint(len(tables), (batch,), generator=generator, device=device)
    there, here, used = tables[pose], tables[back_table[pose]], used_table[pose]
    mirror = list(JOINT_MIRROR)
    flip = uniform(batch) < 0.5
    sign = quaternions.new_tensor([1.0, -1.0, -1.0, 1.0])
    there = torch.where(flip[:, None, None], there[:, mirror] * sign, there)
    here = torch.where(flip[:, None, None], here[:, mirror] * sign, here)
    used = torch.where(flip[:, None], used[:, mirror], used)

    # To and fro between the two ends of the movement, in one to five seconds.
    period = torch.exp(uniform(batch, 1, low=0.0, high=1.6))
    phase = (times / period + uniform(batch, 1)) * (2 * torch.pi)
    between = (0.5 - 0.5 * torch.cos(phase))[..., None].expand(batch, length, 24)
    wobble = torch.deg2rad(torch.randn(batch, 24, 3, generator=generator, device=device) * 5.0)
    target = nlerp(here[:, None].expand(batch, length, 24, 4), there[:, None].expand(batch, length, 24, 4), between)
    target = roma.quat_product(target, roma.rotvec_to_unitquat(wobble)[:, None].expand(batch, length, 24, 4))
    # The root keeps its heading: what is left of it when only the turn about the vertical is kept.
    heading = quaternions[:, :1, 0] * quaternions.new_tensor([0.0, 1.0, 0.0, 1.0])
    heading = heading + quaternions.new_tensor([0.0, 1e-6, 0.0, 1e-6])
    heading = torch.nn.functional.normalize(heading, dim=-1).expand(batch, length, 4)
    root = roma.quat_product(heading.contiguous(), target[:, :, 0].contiguous())
    target = torch.cat([root[:, :, None], target[:, :, 1:]], 2)

    # Mostly in the pose; some windows show how it is reached or left.
    ramp = (
        (times - times.mean(1, keepdim=True)) / uniform(batch, 1, low=0.4, high=1.2) * (uniform(batch, 1) - 0.5).sign()
    )
    arriving = torch.sigmoid(ramp * 6 + uniform(batch, 1, low=-3.0, high=3.0))
    amount = torch.where(uniform(batch, 1) < 0.3, arriving, torch.ones_like(arriving)) * chosen[:, None]
    return nlerp(quaternions, target, amount[..., None] * used[:, None])


def nlerp(start: Tensor, end: Tensor, amount: Tensor) -> Tensor:
    """From ``start`` to ``end`` (..., 4) by ``amount`` (...), 0..1, the short way round: a normalised linear blend."""
    end = torch.where((start * end).sum(-1, keepdim=True) < 0, -end, end)
    return torch.nn.functional.normalize(torch.lerp(start, end, amount[..., None]), dim=-1)
