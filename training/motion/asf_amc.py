"""Reading Acclaim skeletons (.asf) and motion (.amc), the original files of the CMU database.

An ASF bone has a direction and a length in the skeleton's zero pose (in the world), and an ``axis``: the frame C in
which its degrees of freedom are measured. With the motion's rotation M the bone turns by ``C M inverse(C)`` against its
parent. ``XYZ`` means that x is applied first: ``Rz Ry Rx``. The bone begins where its parent ends.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from common.arrays import DoubleArray
from training.motion import rotations as rot
from training.motion.clip import Clip, MotionError
from training.motion.retarget import clip_from_source
from training.motion.source import SourceMotion, check_proportion, pose_skeleton

CMU_FPS: Final = 120.0
"""AMC files do not say their frame rate. CMU captured at 120 Hz (a few subjects, such as 60 and 61, at 60 Hz)."""

_INCH: Final = 0.0254

_CHANNELS: Final = frozenset({"tx", "ty", "tz", "rx", "ry", "rz", "l"})

_CMU_NAMES: Final = {
    "root": "Hips", "lowerback": "LowerBack", "upperback": "Spine", "thorax": "Spine1", "lowerneck": "Neck",
    "upperneck": "Neck1", "head": "Head",
    "lhipjoint": "LHipJoint", "lfemur": "LeftUpLeg", "ltibia": "LeftLeg", "lfoot": "LeftFoot", "ltoes": "LeftToeBase",
    "rhipjoint": "RHipJoint", "rfemur": "RightUpLeg", "rtibia": "RightLeg", "rfoot": "RightFoot",
    "rtoes": "RightToeBase",
    "lclavicle": "LeftShoulder", "lhumerus": "LeftArm", "lradius": "LeftForeArm", "lwrist": "LeftHand",
    "rclavicle": "RightShoulder", "rhumerus": "RightArm", "rradius": "RightForeArm", "rwrist": "RightHand",
}  # fmt: skip
"""The same bones in the MotionBuilder-friendly conversion, whose zero pose is that of the original skeletons."""


@dataclass(frozen=True)
class Bone:
    """One bone of an ASF skeleton."""

    name: str
    """Name as the file writes it."""
    parent: int
    """Index of the parent bone; -1 for the root."""
    step: DoubleArray
    """(3,) vector from the bone's beginning to its end in the zero pose, metres, world axes."""
    frame: DoubleArray
    """(4,) quaternion (w, x, y, z) of the frame C in which its channels are measured, see the module."""
    channels: tuple[str, ...]
    """Its degrees of freedom in the order of the motion file: "tx", "ry", ..."""


@dataclass(frozen=True)
class AcclaimSkeleton:
    """An ASF skeleton."""

    bones: tuple[Bone, ...]
    """Parents come before their children; the first is the root, with a step of zero."""
    metres_per_unit: float
    """Scales the root's translation."""
    degrees: bool
    """Whether angles are in degrees; else radians."""
    root_rotation: str
    """Order in which the root's rotations are applied, as "xyz"."""


def parse_asf(path: str | Path) -> AcclaimSkeleton:
    """Read a skeleton.

    Its unit of length is taken as inches divided by the file's ``length`` (0.45 at CMU).

    Raises:
        MotionError: Not an ASF file, or damaged.
    """
    path = Path(path)
    try:
        return _skeleton(_sections(path.read_text(encoding="utf-8", errors="replace")))
    except OSError as error:
        raise MotionError(f"{path}: cannot be read ({error})") from error
    except (ValueError, IndexError, KeyError) as error:
        raise MotionError(f"{path}: not an ASF skeleton, or damaged ({error})") from error


def parse_amc(path: str | Path, skeleton: AcclaimSkeleton, fps: float = CMU_FPS) -> SourceMotion:
    """Read a motion for a skeleton.

    Args:
        path: The .amc file.
        skeleton: Of the same subject.
        fps: Frames a second, which the file does not say.

    Returns:
        Joints named after the bones that they begin; the root is named "root".

    Raises:
        MotionError: Not an AMC file, damaged, or of another skeleton.
    """
    path = Path(path)
    try:
        frames = _frames(path.read_text(encoding="utf-8", errors="replace"), skeleton)
        check_proportion(len(frames["root"]), len(skeleton.bones), path.stat().st_size)
    except OSError as error:
        raise MotionError(f"{path}: cannot be read ({error})") from error
    except (ValueError, IndexError, KeyError) as error:
        raise MotionError(f"{path}: not an AMC motion of this skeleton, or damaged ({error})") from error
    return _pose(skeleton, frames, fps)


def read_amc(path: str | Path, asf: str | Path | None = None, *, subject: str = "", fps: float = CMU_FPS) -> Clip:
    """Read a motion of the CMU database and retarget it to the 24 joints at the given frame rate.

    Args:
        path: The .amc file.
        asf: The skeleton; by default the .asf beside it whose name the motion's begins with ("02.asf" for
            "02_03.amc"), or the only one there.
        subject: The person; taken from the file's name where empty.
        fps: Frames a second.

    Raises:
        MotionError: A file is missing, damaged, or its bones are not CMU's.
    """
    path = Path(path)
    source = parse_amc(path, parse_asf(find_asf(path) if asf is None else asf), fps)
    renamed = replace(source, names=tuple(_CMU_NAMES.get(name, name) for name in source.names))
    return clip_from_source(renamed, path, subject)


def find_asf(path: Path) -> Path:
    """Return the skeleton beside a motion; see ``read_amc``.

    Raises:
        MotionError: There is none, or it is not clear which.
    """
    beside = sorted(file for file in path.parent.iterdir() if file.suffix.lower() == ".asf")
    named = [file for file in beside if path.stem == file.stem or path.stem.startswith(f"{file.stem}_")]
    if len(named) == 1 or len(beside) == 1:
        return (named or beside)[0]
    raise MotionError(f"{path}: no skeleton beside it; put the subject's .asf (as {path.stem.split('_')[0]}.asf) there")


def _sections(text: str) -> dict[str, list[list[str]]]:
    sections: dict[str, list[list[str]]] = {}
    current: list[list[str]] = []
    for line in text.splitlines():
        words = line.partition("#")[0].replace("(", " ").replace(")", " ").split()
        if words and words[0].startswith(":"):
            current = sections.setdefault(words[0][1:].lower(), [])
            words = words[1:]
        if words:
            current.append(words)
    return sections


def _skeleton(sections: dict[str, list[list[str]]]) -> AcclaimSkeleton:
    units = {words[0].lower(): words[1] for words in sections.get("units", []) if len(words) > 1}
    length = float(units.get("length", "1"))
    degrees = units.get("angle", "deg").lower().startswith("deg")
    if not (math.isfinite(length) and length > 0.0):
        raise ValueError("the unit of length is not a usable number")
    metres = _INCH / length
    root = {words[0].lower(): words[1:] for words in sections["root"]}
    rotation = root.get("axis", ["XYZ"])[0].lower()
    orientation = [float(value) for value in root.get("orientation", ["0", "0", "0"])]
    channels = tuple(channel.lower() for channel in root["order"])
    if sorted(rotation) != ["x", "y", "z"]:
        raise ValueError(f"unknown order of the root's axes: {rotation!r}")
    frame = _ordered(rotation, orientation, degrees)
    read = {"root": Bone("root", -1, np.zeros(3), frame, channels)}
    for lines in _bone_blocks(sections["bonedata"]):
        direction = np.array([float(value) for value in lines["direction"][:3]])
        axis = [float(value) for value in lines["axis"][:3]]
        size, bone_length = float(np.linalg.norm(direction)), float(lines["length"][0])
        numbers = [*direction, *axis, bone_length]
        if len(direction) != 3 or len(axis) != 3 or size == 0.0 or not np.isfinite(numbers).all():
            raise ValueError(f"bone {lines['name'][0]!r} has no usable direction, length or axis")
        step = direction * (bone_length * metres / size)
        order = lines["axis"][3].lower() if len(lines["axis"]) > 3 else "xyz"
        dof = tuple(channel.lower() for channel in lines.get("dof", []))
        read[lines["name"][0]] = Bone(lines["name"][0], -1, step, _ordered(order, axis, degrees), dof)
    parent_of = {
        child: words[0]
        for words in sections["hierarchy"]
        if words[0].lower() not in ("begin", "end")
        for child in words[1:]
    }
    unknown = {channel for bone in read.values() for channel in bone.channels} - _CHANNELS
    if unknown:
        raise ValueError(f"unknown degrees of freedom: {', '.join(sorted(unknown))}")
    bones, index = [read["root"]], {"root": 0}
    waiting = [name for name in read if name != "root"]
    while waiting:
        ready = [name for name in waiting if parent_of[name] in index]
        if not ready:
            raise ValueError(f"bones {', '.join(waiting[:4])} do not hang on the root")
        for name in ready:
            index[name] = len(bones)
            bones.append(replace(read[name], parent=index[parent_of[name]]))
        waiting = [name for name in waiting if name not in index]
    return AcclaimSkeleton(tuple(bones), metres, degrees, rotation)


def _bone_blocks(lines: list[list[str]]) -> list[dict[str, list[str]]]:
    blocks: list[dict[str, list[str]]] = []
    for words in lines:
        if words[0].lower() == "begin":
            blocks.append({})
        elif words[0].lower() != "end":
            blocks[-1].setdefault(words[0].lower(), words[1:])
    return blocks


def _ordered(order: str, angles: list[float], degrees: bool) -> DoubleArray:
    """Return the rotation that applies the axes of ``order`` one after the other; ``angles`` stay in x, y, z order."""
    values = np.array([angles["xyz".index(axis)] for axis in order])
    return rot.from_euler(order[::-1], np.deg2rad(values[::-1]) if degrees else values[::-1])


def _frames(text: str, skeleton: AcclaimSkeleton) -> dict[str, DoubleArray]:
    counts = {bone.name: len(bone.channels) for bone in skeleton.bones if bone.channels}
    values: dict[str, list[list[float]]] = {name: [] for name in counts}
    frame = 0
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words or words[0].startswith(":"):
            continue
        if len(words) == 1 and words[0].isdigit():
            frame += 1
            continue
        rows = values[words[0]]
        if len(words) - 1 != counts[words[0]] or len(rows) != frame - 1:
            raise ValueError(f"frame {frame}: {words[0]!r} should stand once, with {counts[words[0]]} numbers")
        rows.append([float(word) for word in words[1:]])
    if frame == 0 or any(len(rows) != frame for rows in values.values()):
        raise ValueError(f"{frame} frames, and a bone is missing in one; cut off?")
    arrays = {name: np.array(rows, np.float64) for name, rows in values.items()}
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise ValueError("a value is not finite")
    return arrays


def _pose(skeleton: AcclaimSkeleton, frames: dict[str, DoubleArray], fps: float) -> SourceMotion:
    count = len(frames["root"])
    bones = skeleton.bones
    # A joint stands at the beginning of its bone, which is the end of the parent's: the step is the parent's.
    offsets = np.array([np.zeros(3) if bone.parent < 0 else bones[bone.parent].step for bone in bones])
    local = np.zeros((count, len(bones), 4))
    local[..., 0] = 1.0
    translations = np.tile(offsets, (count, 1, 1))
    for index, bone in enumerate(bones):
        if not bone.channels:
            continue
        columns = dict(zip(bone.channels, frames[bone.name].T, strict=True))
        order = [channel[1] for channel in bone.channels if channel.startswith("r")]
        if index == 0:
            order = list(skeleton.root_rotation)
            for axis, letter in enumerate("xyz"):
                translations[:, 0, axis] = columns.get(f"t{letter}", np.zeros(count)) * skeleton.metres_per_unit
        angles = np.stack([columns.get(f"r{axis}", np.zeros(count)) for axis in reversed(order)], axis=-1)
        motion = rot.from_euler("".join(reversed(order)), np.deg2rad(angles) if skeleton.degrees else angles)
        local[:, index] = rot.multiply(rot.multiply(bone.frame, motion), rot.inverse(bone.frame))
    parents = [bone.parent for bone in bones]
    return pose_skeleton([bone.name for bone in bones], parents, offsets, local, translations, fps)
