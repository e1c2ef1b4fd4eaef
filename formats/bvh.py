"""Biovision Hierarchy (.bvh): one person's skeleton and its rotations, both ways.

The skeleton is SMPL's, with its joint names; the rest pose is the body's T-pose, facing +z. y is up; lengths are metres (the
format names no unit). The root has six channels, every other joint three rotations Z, X, Y in degrees, which apply in that
order (R = Rz Rx Ry). The format knows one constant rate and one shape.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from body.joints import JOINT_NAMES, PARENTS
from body.model import BodyArrays
from common.arrays import DoubleArray, FloatArray
from common.errors import UserError
from formats.euler import euler_degrees
from formats.motion import TOO_LARGE
from formats.skeleton import rest_joints, rest_offsets
from formats.tracks import MotionTrack

_ORDER: Final = "ZXY"
_CHANNELS: Final = frozenset(f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation"))
_TIPS: Final = {
    "head": "HeadTop",
    "left_hand": "lmiddle",
    "right_hand": "rmiddle",
    "left_foot": "LBigToe",
    "right_foot": "RBigToe",
}
"""Landmark of the surface at the end of each joint without children."""
_TIP_M: Final = 0.1
"""Length of a last bone where the body has no landmark for its end."""
_SHORTEST_S: Final = 1e-5
_LONGEST_S: Final = 1e5
_ALIKE_M: Final = 0.02
"""Largest difference of a file's bones from the body's at which its shape is taken from them."""


def to_bvh(track: MotionTrack, arrays: BodyArrays, rate: float) -> bytes:
    """The content of a .bvh file. ``track`` has one row every ``1 / rate`` seconds."""
    offsets = rest_offsets(arrays, track.betas)
    lines = ["HIERARCHY"]
    _joint_lines(lines, 0, 0, offsets, _tips(arrays, track.betas))
    lines += ["MOTION", f"Frames: {len(track.time_s)}", f"Frame Time: {1 / rate:.9f}"]
    order = _depth_first()
    angles = euler_degrees(track.rotations, _ORDER)
    # The root's position is its offset plus its channels in some readers, its channels alone in others: the offset is 0.
    table = np.concatenate([track.pelvis, angles[:, order].reshape(len(angles), -1)], 1)
    lines += [" ".join(f"{value:.6f}" for value in row) for row in table.tolist()]
    return ("\n".join(lines) + "\n").encode("ascii")


def _depth_first() -> list[int]:
    def below(joint: int) -> list[int]:
        return [joint, *(deeper for child in _children(joint) for deeper in below(child))]

    return below(0)


def _children(joint: int) -> list[int]:
    return [child for child, parent in enumerate(PARENTS) if parent == joint]


def _tips(arrays: BodyArrays, betas: FloatArray) -> dict[int, DoubleArray]:
    """The end of each joint without children, relative to it, metres."""
    joints = rest_joints(arrays, betas)
    surface = arrays.v_template + arrays.shapedirs @ arrays.clamp_betas(betas)
    found = {}
    for name, landmark in _TIPS.items():
        joint = JOINT_NAMES.index(name)
        if landmark == "HeadTop":
            found[joint] = surface[surface[:, 1].argmax()] - joints[joint]
        elif landmark in arrays.landmarks:
            found[joint] = surface[arrays.landmarks[landmark]] - joints[joint]
        else:
            way = joints[joint] - joints[PARENTS[joint]]
            found[joint] = way / np.linalg.norm(way) * _TIP_M
    return found


def _joint_lines(lines: list[str], joint: int, depth: int, offsets: DoubleArray, tips: dict[int, DoubleArray]) -> None:
    indent = "\t" * depth
    inside = indent + "\t"
    rotations = " ".join(f"{axis}rotation" for axis in _ORDER)
    offset = np.zeros(3) if depth == 0 else offsets[joint]
    channels = f"6 Xposition Yposition Zposition {rotations}" if depth == 0 else f"3 {rotations}"
    lines += [f"{indent}{'JOINT' if depth else 'ROOT'} {JOINT_NAMES[joint]}", indent + "{"]
    lines += [f"{inside}OFFSET {_three(offset)}", f"{inside}CHANNELS {channels}"]
    for child in _children(joint):
        _joint_lines(lines, child, depth + 1, offsets, tips)
    if joint in tips:
        lines += [f"{inside}End Site", inside + "{", f"{inside}\tOFFSET {_three(tips[joint])}", inside + "}"]
    lines.append(indent + "}")


def _three(values: DoubleArray) -> str:
    return " ".join(f"{value:.6f}" for value in values)


class _Words:
    """The words of a .bvh file, one after the other."""

    def __init__(self, text: str) -> None:
        self._words = text.split()
        self._at = 0

    def next(self) -> str:
        if self._at >= len(self._words):
            raise ValueError("it ends too early")
        self._at += 1
        return self._words[self._at - 1]

    def expect(self, *words: str) -> None:
        for word in words:
            if (found := self.next()).lower() != word.lower():
                raise ValueError(f"found {found!r} where {word!r} belongs")

    def number(self) -> float:
        value = float(self.next())
        if not math.isfinite(value):
            raise ValueError("it holds a number that is not finite")
        return value

    def numbers(self, count: int) -> DoubleArray:
        words = self._words[self._at : self._at + count]
        if len(words) < count:
            raise ValueError("it has fewer numbers than its header says")
        self._at += count
        return np.array(words, np.float64)


def from_bvh(path: Path, arrays: BodyArrays) -> tuple[MotionTrack, float]:
    """The person of a .bvh file whose joints have SMPL's names, and the frame rate; the y-up frame and the units (metres) are
    taken as the file has them. Any channel order is read. The shape is the one of ``arrays`` that has the file's bones.

    Raises `UserError` for a file that cannot be read, is damaged, or has another skeleton.
    """
    try:
        words = _Words(path.read_text(encoding="utf-8"))
        names, offsets, channels = _hierarchy(words)
        words.expect("MOTION", "Frames:")
        count = int(words.next())
        words.expect("Frame", "Time:")
        step = words.number()
        if count < 1 or not _SHORTEST_S <= step <= _LONGEST_S:
            raise ValueError("it has no frames, or no time between them")
        if any(name not in _CHANNELS for own in channels for name in own) or sum(map(len, channels)) < len(JOINT_NAMES):
            raise ValueError("its joints have other channels than positions and rotations")
        table = words.numbers(count * sum(map(len, channels))).reshape(count, -1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged or no .bvh file ({error})") from None
    if not all((np.abs(numbers) < TOO_LARGE).all() for numbers in (table, *offsets)):
        raise UserError(f"{path} holds numbers that are not finite or impossible: export it again")
    if sorted(names) != sorted(JOINT_NAMES):
        raise UserError(f"{path} has another skeleton than SMPL's 24 joints with their names: retarget it first")
    rotations = np.zeros((count, len(JOINT_NAMES), 3))
    pelvis: DoubleArray = np.tile(offsets[0], (count, 1))
    column = 0
    for name, own in zip(names, channels, strict=True):
        values = table[:, column : column + len(own)]
        column += len(own)
        turns = [number for number, channel in enumerate(own) if channel.endswith("rotation")]
        if turns:
            axes = "".join(own[number][0].upper() for number in turns)
            rotations[:, JOINT_NAMES.index(name)] = Rotation.from_euler(
                axes, values[:, turns], degrees=True
            ).as_rotvec()
        for number, channel in enumerate(own):
            if channel.endswith("position") and name == names[0]:
                pelvis[:, "XYZ".index(channel[0].upper())] += values[:, number]
    rest = np.array([offsets[names.index(name)] for name in JOINT_NAMES])
    time_s: DoubleArray = np.arange(count, dtype=np.float64) * step
    return MotionTrack(0, time_s, rotations, pelvis, _shape_of(rest, arrays), np.ones(count, np.bool_)), 1 / step


def _hierarchy(words: _Words) -> tuple[list[str], list[DoubleArray], list[list[str]]]:
    """Names, offsets and channels of all joints, in file order."""
    names: list[str] = []
    offsets: list[DoubleArray] = []
    channels: list[list[str]] = []
    parents: list[str] = []
    words.expect("HIERARCHY", "ROOT")
    waiting, depth = True, 0
    while waiting or depth:
        waiting = False
        names.append(words.next())
        words.expect("{", "OFFSET")
        offsets.append(words.numbers(3))
        words.expect("CHANNELS")
        channels.append([words.next() for _ in range(int(words.next()))])
        joint = JOINT_NAMES.index(names[-1]) if names[-1] in JOINT_NAMES else -1
        above = parents[-1] if parents else ""
        if joint < 0 or (JOINT_NAMES[PARENTS[joint]] if PARENTS[joint] >= 0 else "") != above:
            raise ValueError(f"its joint {names[-1]!r} under {above!r} is not of SMPL's skeleton: retarget it first")
        parents.append(names[-1])
        depth += 1
        while depth:
            word = words.next()
            if word == "JOINT":
                break
            if word == "End":
                words.expect("Site", "{", "OFFSET")
                words.numbers(3)
                words.expect("}")
            elif word == "}":
                depth -= 1
                parents.pop()
            else:
                raise ValueError(f"found {word!r} in its hierarchy")
    return names, offsets, channels


def _shape_of(offsets: DoubleArray, arrays: BodyArrays) -> FloatArray:
    """(10,) the betas whose bones are ``offsets`` (24, 3), or zeros where no shape of this body has them."""
    rest = arrays.at_rest(arrays.joint_regressor)
    parents = np.array(PARENTS[1:])
    bones = rest[1:] - rest[parents]
    flat = bones.reshape(-1, bones.shape[-1])
    wanted = offsets[1:].ravel()
    betas = np.linalg.lstsq(flat[:, 1:], wanted - flat[:, 0], rcond=None)[0]
    betas = arrays.clamp_betas(betas)
    off = np.abs(flat @ np.append(1.0, betas) - wanted).max()
    return betas if off < _ALIKE_M else np.zeros_like(betas)
