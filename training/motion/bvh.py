"""Reading Biovision hierarchy (.bvh) files.

A BVH joint lists its channels in the order in which the rotations are multiplied: ``Zrotation Yrotation Xrotation`` is
``Rz Ry Rx``, angles in degrees. Position channels replace the joint's OFFSET on their axes. The format names no unit of
length; see ``UNITS``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from common.arrays import DoubleArray
from training.motion import rotations as rot
from training.motion.clip import Clip, MotionError
from training.motion.retarget import clip_from_source
from training.motion.source import SourceMotion, check_proportion, pose_skeleton

UNITS: Final = {"m": 1.0, "cm": 0.01, "inch": 0.0254, "cmu": 0.0254 / 0.45}
"""Metres in one unit of length. "cmu" is the unit of the CMU database and of its straight conversions."""

_MAX_BYTES: Final = 1 << 30


@dataclass
class _Joint:
    """One joint of the hierarchy."""

    name: str
    """Name as the file writes it."""
    parent: int
    """Index of the parent joint; -1 for the root."""
    offset: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    """(3,) offset from the parent joint, in the file's unit of length."""
    channels: list[str] = field(default_factory=list)
    """Names of its channels in the order of the motion rows, in lower case: "zrotation"."""


def parse_bvh(path: str | Path, metres_per_unit: float = 1.0, fps: float | None = None) -> SourceMotion:
    """Read a BVH file: any channel order, any nesting; end sites are passed over.

    Args:
        path: The file.
        metres_per_unit: Length of the file's unit; see ``UNITS``.
        fps: Overrides the file's frame time, which some collections state wrongly.

    Raises:
        MotionError: Not a BVH file, damaged or cut off.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise MotionError(f"{path}: larger than {_MAX_BYTES >> 20} MiB, hardly one take of motion")
        head, found, tail = path.read_text(encoding="utf-8", errors="replace").partition("MOTION")
        if not found or "HIERARCHY" not in head:
            raise MotionError(f"{path}: no HIERARCHY and MOTION; not a BVH file")
        joints = _parse_hierarchy(head)
        values, file_fps = _parse_motion(tail, sum(len(joint.channels) for joint in joints))
        check_proportion(len(values), len(joints), path.stat().st_size)
    except OSError as error:
        raise MotionError(f"{path}: cannot be read ({error})") from error
    except (ValueError, IndexError) as error:
        message = str(error)
        raise MotionError(message if message.startswith(str(path)) else f"{path}: damaged BVH ({message})") from error
    return _pose(joints, values, metres_per_unit, fps or file_fps)


def read_bvh(path: str | Path, *, subject: str = "", metres_per_unit: float = 1.0, fps: float | None = None) -> Clip:
    """Read a BVH file and retarget it to the 24 joints at the file's frame rate.

    The unit matters little: a clip's stride always belongs to legs of one length (``training.motion.clip``).

    Raises:
        MotionError: As ``parse_bvh``; or the joint names belong to no known naming.
    """
    path = Path(path)
    return clip_from_source(parse_bvh(path, metres_per_unit, fps), path, subject)


def _parse_hierarchy(text: str) -> list[_Joint]:
    tokens = text.split()
    joints: list[_Joint] = []
    # One entry per open brace: the joint's index, or None inside of an end site.
    stack: list[int | None] = []
    pending: int | None = None
    at = tokens.index("HIERARCHY") + 1
    while at < len(tokens):
        token = tokens[at].upper()
        if token in ("ROOT", "JOINT"):
            if (token == "ROOT") != (not stack):
                raise ValueError(f"{tokens[at + 1]!r} is in the wrong place (one ROOT, JOINTs inside of it)")
            parent = stack[-1] if stack else -1
            if parent is None:
                raise ValueError(f"joint {tokens[at + 1]!r} lies inside of an end site")
            brace = tokens.index("{", at)
            joints.append(_Joint(" ".join(tokens[at + 1 : brace]), parent))
            pending, at = len(joints) - 1, brace
        elif token == "END":
            pending, at = None, tokens.index("{", at)
        elif token == "{":
            stack.append(pending)
            at += 1
        elif token == "}":
            stack.pop()
            at += 1
        elif token == "OFFSET":
            offset = [float(value) for value in tokens[at + 1 : at + 4]]
            if len(offset) != 3 or not np.isfinite(offset).all():
                raise ValueError("an OFFSET is not three numbers")
            current = stack[-1]
            if current is not None:
                joints[current].offset = offset
            at += 4
        elif token == "CHANNELS":
            count = int(tokens[at + 1])
            channels = [name.lower() for name in tokens[at + 2 : at + 2 + count]]
            for name in channels:
                if name[:1] not in ("x", "y", "z") or name[1:] not in ("position", "rotation"):
                    raise ValueError(f"unknown channel {name!r}")
            current = stack[-1]
            if current is not None:
                joints[current].channels = channels
            at += 2 + count
        else:
            raise ValueError(f"unexpected {tokens[at]!r} in the hierarchy")
    if stack or not joints:
        raise ValueError("the hierarchy is empty or a brace is missing")
    if sum(joint.parent < 0 for joint in joints) > 1:
        raise ValueError("more than one ROOT; split the file by person")
    return joints


def _parse_motion(text: str, channels: int) -> tuple[DoubleArray, float]:
    lines = text.strip().split("\n", 2)
    if len(lines) < 3 or ":" not in lines[0] or ":" not in lines[1]:
        raise ValueError("no frames")
    frames, frame_time = int(lines[0].split(":")[1]), float(lines[1].split(":")[1])
    values = np.array(lines[2].split(), dtype=np.float64)
    if frames < 1 or channels < 1 or values.size != frames * channels:
        raise ValueError(f"{values.size} numbers for {frames} frames of {channels} channels; cut off?")
    if not (math.isfinite(frame_time) and frame_time > 0.0 and np.isfinite(values).all()):
        raise ValueError("the frame time or a value is not a usable number")
    return values.reshape(frames, channels), 1.0 / frame_time


def _pose(joints: list[_Joint], values: DoubleArray, metres_per_unit: float, fps: float) -> SourceMotion:
    offsets = np.array([joint.offset for joint in joints]) * metres_per_unit
    rotations = np.zeros((len(values), len(joints), 4))
    translations = np.tile(offsets, (len(values), 1, 1))
    column = 0
    for index, joint in enumerate(joints):
        order, angles = "", []
        for channel in joint.channels:
            if channel.endswith("position"):
                translations[:, index, "xyz".index(channel[0])] = values[:, column] * metres_per_unit
            else:
                order += channel[0]
                angles.append(np.deg2rad(values[:, column]))
            column += 1
        rotations[:, index] = rot.from_euler(order, np.stack(angles, axis=-1)) if order else (1.0, 0.0, 0.0, 0.0)
    names, parents = [joint.name for joint in joints], [joint.parent for joint in joints]
    return pose_skeleton(names, parents, offsets, rotations, translations, fps)
