"""Reading skeletal animations of glTF binaries (.glb): hand-keyed rigs with Blender's or Unreal's joint names.

A glTF animation moves nodes by keys of their own times; here they are sampled at one frame rate. The rest pose is that of the
skin's bind matrices, brought to the world by the transform of what the skeleton hangs on: nodes at rest often stand in the
first frame of some animation instead. Rigs that scale their bones lose the scale: only rotations and positions are read.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from common.arrays import DoubleArray
from training.motion.clip import Clip, MotionError
from training.motion.retarget import clip_from_source, subject_of
from training.motion.source import SourceMotion, check_proportion

GLB_FPS: Final = 30.0
_MAX_BYTES: Final = 1 << 30
_MAGIC, _JSON, _BINARY = 0x46546C67, 0x4E4F534A, 0x004E4942

_LIMBS: Final = {
    "Shoulder": ("shoulder", "clavicle"), "Arm": ("upper_arm", "upperarm"), "ForeArm": ("forearm", "lowerarm"),
    "Hand": ("hand", "hand"), "UpLeg": ("thigh", "thigh"), "Leg": ("shin", "calf"), "Foot": ("foot", "foot"),
    "ToeBase": ("toe", "ball"),
}  # fmt: skip
_NAMES: Final[dict[str, str]] = {
    **{"hips": "Hips", "spine.001": "Spine", "spine.002": "Spine1", "spine.003": "Spine2"},
    **{"pelvis": "Hips", "spine_01": "Spine", "spine_02": "Spine1", "spine_03": "Spine2"},
    **{"neck": "Neck", "neck_01": "Neck", "head": "Head"},
    **{
        name: f"{side}{part}"
        for side in ("Left", "Right")
        for part, (blender, unreal) in _LIMBS.items()
        for name in (f"{blender}.{side[0].lower()}", f"{unreal}_{side[0].lower()}")
    },
}
"""Joints of Blender's Rigify ("DEF-upper_arm.L") and of Unreal ("upperarm_l") by MotionBuilder's names, which are known."""

_TYPES: Final[dict[int, Any]] = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
_WIDTHS: Final = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True)
class Glb:
    """A glTF binary."""

    description: dict[str, Any]
    """Its JSON."""
    binary: bytes
    """The bytes that the JSON's buffers refer to."""

    def values(self, number: int) -> DoubleArray:
        """The numbers (N, K) of an accessor; normalised integers as fractions."""
        accessor = self.description["accessors"][number]
        view = self.description["bufferViews"][accessor["bufferView"]]
        kind, width = np.dtype(_TYPES[accessor["componentType"]]), _WIDTHS[accessor["type"]]
        start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
        stride, count = view.get("byteStride", kind.itemsize * width), accessor["count"]
        if stride < kind.itemsize * width or min(start, count) < 0:
            raise ValueError("numbers that overlap")
        rows = np.ndarray((count, width), kind, self.binary, start, (stride, kind.itemsize))
        values = rows.astype(np.float64)
        if accessor.get("normalized") and kind.kind in "iu":
            values = np.maximum(values / np.iinfo(kind).max, -1.0)
        return values


def read_glb(path: str | Path, *, subject: str = "", fps: float = GLB_FPS) -> list[Clip]:
    """Read all animations of a file, each as a clip named after the file and itself.

    Args:
        path: The .glb file; its joints are named as Blender's Rigify or Unreal name them.
        subject: The person; the file's folder where empty.
        fps: Frame rate at which the keys are sampled.

    Raises:
        MotionError: Not a glTF binary, damaged, without animations, or its joints are not known.
    """
    path = Path(path)
    try:
        glb = parse_glb(path)
        animations = glb.description.get("animations", [])
        if not animations or not glb.description.get("skins"):
            raise MotionError(f"{path}: no animated skeleton inside")
        sources = [(str(each.get("name", number)), _source(glb, each, fps)) for number, each in enumerate(animations)]
    except OSError as error:
        raise MotionError(f"{path}: cannot be read ({error})") from error
    except MotionError as error:
        message = str(error)
        raise MotionError(message if message.startswith(str(path)) else f"{path}: {message}") from error
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        OverflowError,
        struct.error,
        RecursionError,
        np.linalg.LinAlgError,
    ) as error:
        raise MotionError(f"{path}: damaged glTF ({error!r})") from error
    who = subject or subject_of(path)
    return [clip_from_source(source, path.with_name(f"{path.stem} {name}"), who) for name, source in sources]


def parse_glb(path: Path) -> Glb:
    """Split a glTF binary into its description and its bytes. Raises `ValueError` or `struct.error` for other files."""
    if path.stat().st_size > _MAX_BYTES:
        raise MotionError(f"{path}: larger than {_MAX_BYTES >> 20} MiB")
    data = path.read_bytes()
    magic, version, _ = struct.unpack_from("<III", data)
    if magic != _MAGIC or version != 2:
        raise MotionError(f"{path}: not a glTF 2 binary; export the rig as .glb")
    chunks: dict[int, bytes] = {}
    at = 12
    while at + 8 <= len(data):
        size, kind = struct.unpack_from("<II", data, at)
        if at + 8 + size > len(data):
            raise ValueError("cut off")
        chunks.setdefault(kind, data[at + 8 : at + 8 + size])
        at += 8 + size
    if _JSON not in chunks or _BINARY not in chunks:
        raise MotionError(f"{path}: keys are not inside of the file; export the rig as .glb with its buffers")
    return Glb(json.loads(chunks[_JSON]), chunks[_BINARY])


def _source(glb: Glb, animation: dict[str, Any], fps: float) -> SourceMotion:
    nodes = glb.description["nodes"]
    parent = _parents(nodes)
    joint_of = {
        known: index
        for index, node in enumerate(nodes)
        if (known := _NAMES.get(str(node.get("name", "")).removeprefix("DEF-").lower())) is not None
    }
    if "Hips" not in joint_of:
        raise MotionError(
            "no joint named hips or pelvis; joints should be named as Blender's Rigify or Unreal name them"
        )
    order = _parents_first(joint_of, parent)
    above = [_above(joint_of[name], parent, set(joint_of.values())) for name in order]
    parents = [-1 if index is None else [joint_of[name] for name in order].index(index) for index in above]
    moved = _worlds(nodes, parent, _animated(glb, animation, fps), joint_of.values())
    bind = _bind_poses(glb, joint_of, parent)
    places = np.stack([bind[name][:3, 3] for name in order])
    offsets = np.stack([place - (places[up] if up >= 0 else 0.0) for place, up in zip(places, parents, strict=True)])
    rotations = np.stack(
        [(_rotation(moved[joint_of[name]]) * _rotation(bind[name]).inv()).as_quat(scalar_first=True) for name in order],
        1,
    )
    positions = np.stack([moved[joint_of[name]][:, :3, 3] for name in order], 1)
    return SourceMotion(tuple(order), tuple(parents), offsets, rotations, positions, fps)


def _parents(nodes: list[dict[str, Any]]) -> dict[int, int]:
    """Every node's parent. Raises ValueError where nodes hang on each other in a circle."""
    parent = {int(child): index for index, node in enumerate(nodes) for child in node.get("children", [])}
    hanging: set[int] = set()
    for node in range(len(nodes)):
        way: list[int] = []
        while node in parent and node not in hanging:
            if len(way) > len(nodes):
                raise ValueError("nodes that hang on each other")
            way.append(node)
            node = parent[node]
        hanging.update(way)
    return parent


def _parents_first(joint_of: dict[str, int], parent: dict[int, int]) -> list[str]:
    def depth(name: str) -> int:
        count, at = 0, joint_of[name]
        while at in parent:
            at, count = parent[at], count + 1
        return count

    return sorted(joint_of, key=depth)


def _above(node: int, parent: dict[int, int], joints: set[int]) -> int | None:
    """The nearest ancestor that is one of ``joints``."""
    while node in parent:
        node = parent[node]
        if node in joints:
            return node
    return None


def _animated(glb: Glb, animation: dict[str, Any], fps: float) -> dict[tuple[int, str], DoubleArray]:
    """Sampled keys (N, 3 or 4) by node and path ("rotation", "translation" or "scale")."""
    samplers = [(glb.values(each["input"])[:, 0], each) for each in animation["samplers"]]
    end = max(float(times[-1]) for times, _ in samplers)
    frames = max(2, round(end * fps) + 1)
    check_proportion(frames, len(glb.description["nodes"]), len(glb.binary))
    at = np.minimum(np.arange(frames) / fps, end)
    found: dict[tuple[int, str], DoubleArray] = {}
    for channel in animation["channels"]:
        times, sampler = samplers[channel["sampler"]]
        keys = glb.values(sampler["output"])
        if sampler.get("interpolation") == "CUBICSPLINE":  # tangent, value, tangent
            keys = keys.reshape(len(times), 3, -1)[:, 1]
        node, path = channel["target"].get("node"), channel["target"]["path"]
        if node is None or path not in ("rotation", "translation", "scale"):
            continue
        times, first = np.unique(times, return_index=True)
        keys = keys[first]
        inside = np.clip(at, times[0], times[-1])
        if path == "rotation" and len(times) > 1:
            sampled = Slerp(times, Rotation.from_quat(keys))(inside).as_quat()
        else:
            sampled = np.stack([np.interp(inside, times, column) for column in keys.T], -1)
        found[node, path] = sampled
    if not found:
        raise MotionError("an animation moves nothing")
    return found


def _worlds(
    nodes: list[dict[str, Any]],
    parent: dict[int, int],
    animated: dict[tuple[int, str], DoubleArray],
    wanted: Iterable[int],
) -> dict[int, DoubleArray]:
    """World matrices (N, 4, 4) of the nodes ``wanted``, and of those that they hang on; N is 1 without animation."""
    count = len(next(iter(animated.values()))) if animated else 1
    worlds: dict[int, DoubleArray] = {}

    def world(index: int) -> DoubleArray:
        if index not in worlds:
            node = nodes[index]
            local = np.tile(np.eye(4), (count, 1, 1))
            if "matrix" in node:
                local[:] = np.reshape(node["matrix"], (4, 4)).T
            else:
                turn, move, size = (
                    animated.get((index, name), np.array([node.get(name, default)], np.float64))
                    for name, default in (("rotation", [0, 0, 0, 1]), ("translation", [0, 0, 0]), ("scale", [1, 1, 1]))
                )
                local[:, :3, :3] = Rotation.from_quat(turn).as_matrix() * size[:, None, :]
                local[:, :3, 3] = move
            worlds[index] = world(parent[index]) @ local if index in parent else local
        return worlds[index]

    for index in wanted:
        world(index)
    return worlds


def _bind_poses(glb: Glb, joint_of: dict[str, int], parent: dict[int, int]) -> dict[str, DoubleArray]:
    """World matrices (4, 4) of the joints in the rest pose."""
    skin = glb.description["skins"][0]
    inverse = glb.values(skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
    bound = {node: np.linalg.inv(matrix) for node, matrix in zip(skin["joints"], inverse, strict=True)}
    carrier = joint_of["Hips"]
    while carrier in bound and carrier in parent:
        carrier = parent[carrier]
    resting = _worlds(glb.description["nodes"], parent, {}, [carrier])
    holder = resting[carrier][0] if carrier not in bound else np.eye(4)
    missing = [name for name, node in joint_of.items() if node not in bound]
    if missing:
        raise MotionError(f"the skin does not use {', '.join(missing)}")
    return {name: holder @ bound[node] for name, node in joint_of.items()}


def _rotation(matrices: DoubleArray) -> Rotation:
    """The rotations of matrices (..., 4, 4) without their scale."""
    turn = matrices[..., :3, :3]
    return Rotation.from_matrix(turn / np.linalg.norm(turn, axis=-2, keepdims=True))
