"""Tiny skeletons with round numbers, and writers of the files that motion capture comes in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from body.joints import JOINT_NAMES, PARENTS
from common.arrays import DoubleArray
from training.motion import rotations as rot
from training.motion.clip import Clip

Vector = tuple[float, float, float]

_STEPS: dict[str, Vector] = {
    "pelvis": (0, 0, 0), "hip": (0.1, -0.085, 0), "spine1": (0, 0.1, 0), "knee": (0, -0.4, 0), "spine2": (0, 0.15, 0),
    "ankle": (0, -0.415, 0), "spine3": (0, 0.1, 0), "foot": (0, -0.05, 0.12), "neck": (0, 0.2, 0),
    "collar": (0.07, 0.1, 0), "head": (0, 0.1, 0), "shoulder": (0.1, 0.05, 0), "elbow": (0.3, 0, 0),
    "wrist": (0.25, 0, 0), "hand": (0.08, 0, 0),
}  # fmt: skip


def canonical_rest() -> DoubleArray:
    """Return resting joints (24, 3) of a body in the exact canonical T-pose, pelvis at the origin, metres."""
    rest = np.zeros((len(JOINT_NAMES), 3))
    for joint, (name, parent) in enumerate(zip(JOINT_NAMES, PARENTS, strict=True)):
        side, _, part = name.rpartition("_")
        step = np.array(_STEPS[part]) * (-1 if side == "right" else 1, 1, 1)
        rest[joint] = (rest[parent] if parent >= 0 else 0.0) + step
    return rest


# name, parent, offset in centimetres; the zero pose is the canonical T-pose.
GENERIC: tuple[tuple[str, str, Vector], ...] = (
    ("Hips", "", (0, 0, 0)),
    ("Spine", "Hips", (0, 10, 0)),
    ("Spine1", "Spine", (0, 15, 0)),
    ("Spine2", "Spine1", (0, 10, 0)),
    ("Neck", "Spine2", (0, 20, 0)),
    ("Head", "Neck", (0, 10, 0)),
    *(
        (f"{side}{name}", parent.format(side), (sign * x, y, z))
        for side, sign in (("Left", 1.0), ("Right", -1.0))
        for name, parent, (x, y, z) in (
            ("UpLeg", "Hips", (10.0, -8.5, 0.0)),
            ("Leg", "{}UpLeg", (0.0, -40.0, 0.0)),
            ("Foot", "{}Leg", (0.0, -41.5, 0.0)),
            ("ToeBase", "{}Foot", (0.0, -5.0, 12.0)),
            ("Shoulder", "Spine2", (7.0, 10.0, 0.0)),
            ("Arm", "{}Shoulder", (10.0, 5.0, 0.0)),
            ("ForeArm", "{}Arm", (30.0, 0.0, 0.0)),
            ("Hand", "{}ForeArm", (25.0, 0.0, 0.0)),
        )
    ),
)

_SIN_20, _COS_20 = float(np.sin(np.pi / 9)), float(np.cos(np.pi / 9))

# The bones of the CMU skeletons: name in the ASF, name in the BVH, parent in the ASF, direction, length.
CMU: tuple[tuple[str, str, str, Vector, float], ...] = (
    ("lowerback", "LowerBack", "root", (0, 1, 0), 2.0),
    ("upperback", "Spine", "lowerback", (0, 1, 0), 2.0),
    ("thorax", "Spine1", "upperback", (0, 1, 0), 2.0),
    ("lowerneck", "Neck", "thorax", (0, 1, 0), 1.5),
    ("upperneck", "Neck1", "lowerneck", (0, 1, 0), 1.5),
    ("head", "Head", "upperneck", (0, 1, 0), 1.5),
    *(
        (f"{short}{asf}", bvh.format(Side=side, S=side[0]), parent.format(short), (sign * x, y, z), length)
        for short, side, sign in (("l", "Left", 1.0), ("r", "Right", -1.0))
        for asf, bvh, parent, (x, y, z), length in (
            ("hipjoint", "{S}HipJoint", "root", (0.6, -0.8, 0.0), 2.5),
            ("femur", "{Side}UpLeg", "{}hipjoint", (_SIN_20, -_COS_20, 0.0), 7.0),
            ("tibia", "{Side}Leg", "{}femur", (_SIN_20, -_COS_20, 0.0), 7.5),
            ("foot", "{Side}Foot", "{}tibia", (0.0, -0.6, 0.8), 2.0),
            ("toes", "{Side}ToeBase", "{}foot", (0.0, 0.0, 1.0), 1.0),
            ("clavicle", "{Side}Shoulder", "thorax", (0.8, 0.6, 0.0), 3.5),
            ("humerus", "{Side}Arm", "{}clavicle", (1.0, 0.0, 0.0), 5.0),
            ("radius", "{Side}ForeArm", "{}humerus", (1.0, 0.0, 0.0), 3.5),
            ("wrist", "{Side}Hand", "{}radius", (1.0, 0.0, 0.0), 1.5),
        )
    ),
)


def cmu_as_bvh() -> tuple[tuple[str, str, Vector], ...]:
    """Return the CMU skeleton as BVH joints in its own unit: a joint stands at the end of its bone's parent."""
    ends = {asf: np.array(direction) * length for asf, _, _, direction, length in CMU}
    names = {"root": "Hips"} | {asf: bvh for asf, bvh, *_ in CMU}
    joints: list[tuple[str, str, Vector]] = [("Hips", "", (0, 0, 0))]
    for _, bvh, parent, _, _ in CMU:
        x, y, z = ends.get(parent, np.zeros(3))
        joints.append((bvh, names[parent], (float(x), float(y), float(z))))
    return tuple(joints)


def write_bvh(
    path: Path,
    joints: Sequence[tuple[str, str, Vector]],
    frames: Sequence[Mapping[str, Sequence[float]]],
    *,
    order: str = "ZXY",
    root: Vector = (0, 100, 0),
    frame_time: float = 1 / 30,
) -> None:
    """Write frames of ``{joint: angles in degrees in the order of the channels}``; joints left out are not turned."""
    lines: list[str] = ["HIERARCHY"]
    written: list[str] = []

    def emit(name: str, offset: Vector, depth: int) -> None:
        indent = "\t" * depth
        written.append(name)
        rotations = " ".join(f"{axis}rotation" for axis in order)
        lines.extend([f"{indent}{'JOINT' if depth else 'ROOT'} {name}", f"{indent}{{"])
        lines.append(f"{indent}\tOFFSET {offset[0]!r} {offset[1]!r} {offset[2]!r}")
        place = "" if depth else "Xposition Yposition Zposition "
        lines.append(f"{indent}\tCHANNELS {3 if depth else 6} {place}{rotations}")
        children = [(child, step) for child, parent, step in joints if parent == name]
        for child, step in children:
            emit(child, step, depth + 1)
        if not children:
            lines.extend([f"{indent}\tEnd Site", f"{indent}\t{{", f"{indent}\t\tOFFSET 0 0 1", f"{indent}\t}}"])
        lines.append(f"{indent}}}")

    emit(joints[0][0], joints[0][2], 0)
    lines.extend(["MOTION", f"Frames: {len(frames)}", f"Frame Time: {frame_time!r}"])
    for frame in frames:
        angles = [value for name in written for value in frame.get(name, (0.0,) * len(order))]
        lines.append(" ".join(repr(float(value)) for value in [*root, *angles]))
    path.write_text("\n".join(lines) + "\n")


def write_asf(path: Path, axes: Mapping[str, Vector] | None = None, length: float = 0.45) -> None:
    """Write the CMU skeleton; every bone but the hip joints has ``rx ry rz``; ``axes`` are degrees, by bone."""
    bones = []
    for number, (name, _, _, (x, y, z), size) in enumerate(CMU, start=1):
        a, b, c = (axes or {}).get(name, (0, 0, 0))
        dof = "" if name.endswith("hipjoint") else "     dof rx ry rz\n     limits (-180 180)\n            (-180 180)\n"
        bones.append(
            f"  begin\n     id {number}\n     name {name}\n     direction {x!r} {y!r} {z!r}\n     length {size!r}\n"
            f"     axis {a} {b} {c}  XYZ\n{dof}  end\n"
        )
    children: dict[str, list[str]] = {}
    for name, _, parent, *_ in CMU:
        children.setdefault(parent, []).append(name)
    hierarchy = "".join(f"    {parent} {' '.join(names)}\n" for parent, names in children.items())
    path.write_text(
        f"# comment\n:version 1.10\n:name test\n:units\n  mass 1.0\n  length {length}\n  angle deg\n"
        ":documentation\n   made up\n:root\n   order TX TY TZ RX RY RZ\n   axis XYZ\n   position 0 0 0\n"
        f"   orientation 0 0 0\n:bonedata\n{''.join(bones)}:hierarchy\n  begin\n{hierarchy}  end\n"
    )


def write_amc(
    path: Path, frames: Sequence[Mapping[str, Sequence[float]]], root: Sequence[float] = (0, 15, 0, 0, 0, 0)
) -> None:
    """Write frames of ``{bone: (rx, ry, rz) in degrees}``; bones left out are not turned."""
    lines = ["# comment", ":FULLY-SPECIFIED", ":DEGREES"]
    for number, frame in enumerate(frames, start=1):
        lines.append(str(number))
        lines.append("root " + " ".join(repr(float(value)) for value in root))
        for name, *_ in CMU:
            if not name.endswith("hipjoint"):
                lines.append(f"{name} " + " ".join(repr(float(value)) for value in frame.get(name, (0, 0, 0))))
    path.write_text("\n".join(lines) + "\n")


def random_clip(name: str, subject: str, frames: int = 20, seed: int = 0, free: bool = True) -> Clip:
    """Return a smooth made-up clip at 30 fps."""
    rng = np.random.default_rng(seed)
    time = np.linspace(0.0, 1.0, frames)[:, None, None]
    rotations = rng.normal(size=(1, 24, 3)) * 0.5 + time * rng.normal(size=(1, 24, 3))
    rotations = rot.to_axis_angle(rot.from_axis_angle(rotations))
    pelvis = np.array([0.0, 0.95, 0.0]) + time[:, 0] * rng.normal(size=3)
    return Clip(
        name, subject, "walk", "made up", "train", 30.0,
        rotations.astype(np.float32), pelvis.astype(np.float32), float(frames), free,
    )  # fmt: skip


def write_packed_folder(folder: Path, clips: Sequence[tuple[Clip, str]]) -> None:
    """Write clips with their sources in the layout of a packed folder, by plain arithmetic."""
    angles, lengths, entries, start = [], [], [], 0
    for clip, source in clips:
        units = np.round(clip.rotations.astype(np.float64) * 32767 / np.pi).astype(np.int64)
        steps = np.diff(units, axis=0, prepend=np.zeros((1, 24, 3), np.int64))
        # Differences that do not fit into 16 bits are stored modulo 2^16.
        angles.append(((steps + 32768) % 65536 - 32768).astype(np.int16))
        tenths = np.round(clip.pelvis.astype(np.float64) * 1e4).astype(np.int64)
        lengths.append(np.diff(tenths, axis=0, prepend=np.zeros((1, 3), np.int64)).astype(np.int32))
        entry = {key: getattr(clip, key) for key in ("name", "subject", "category", "licence", "split", "weight")}
        entries.append({**entry, "source": source, "frames": clip.frames, "shard": "a.npz", "start": start})
        start += clip.frames
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "a.npz", d_aa=np.concatenate(angles).transpose(1, 2, 0), d_trans=np.concatenate(lengths).T)
    index = {"fps": 30, "joints": list(JOINT_NAMES), "parents": list(PARENTS), "clips": entries}
    (folder / "index.json").write_text(json.dumps(index))
