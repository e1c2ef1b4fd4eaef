"""Animations of glTF binaries: rest poses, keys and what is wrong with a file."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body.joints import JOINT_NAMES
from training.motion.clip import MotionError
from training.motion.glb import read_glb

from .skeletons import GENERIC

UNREAL = {
    "Hips": "pelvis", "Spine": "spine_01", "Spine1": "spine_02", "Spine2": "spine_03", "Neck": "neck_01", "Head": "head",
    "UpLeg": "thigh", "Leg": "calf", "Foot": "foot", "ToeBase": "ball", "Shoulder": "clavicle", "Arm": "upperarm",
    "ForeArm": "lowerarm", "Hand": "hand",
}  # fmt: skip
RIGIFY = UNREAL | {
    "Hips": "hips", "Spine": "spine.001", "Spine1": "spine.002", "Spine2": "spine.003", "Neck": "neck", "Leg": "shin",
    "ToeBase": "toe", "Shoulder": "shoulder", "Arm": "upper_arm", "ForeArm": "forearm",
}  # fmt: skip


def named(name: str, names: dict[str, str], blender: bool) -> str:
    for side in ("Left", "Right"):
        if name.startswith(side):
            part = names[name.removeprefix(side)]
            return f"DEF-{part}.{side[0]}" if blender else f"{part}_{side[0].lower()}"
    return f"DEF-{names[name]}" if blender else names[name]


def write_glb(
    path: Path, turns: dict[str, list[list[float]]], times: list[float], *, blender: bool = True, cut: int = 0
) -> None:
    """The generic skeleton under an armature that is scaled and turned, with rotation keys (x, y, z, w) by joint. Every joint
    has a frame of its own, as rigs have."""
    data = bytearray()
    description: dict[str, Any] = {"asset": {"version": "2.0"}, "bufferViews": [], "accessors": [], "nodes": []}

    def accessor(values: Any, kind: str) -> int:
        array = np.asarray(values, np.float32)
        description["bufferViews"].append({"buffer": 0, "byteOffset": len(data), "byteLength": array.nbytes})
        data.extend(array.tobytes())
        description["accessors"].append(
            {
                "bufferView": len(description["bufferViews"]) - 1,
                "componentType": 5126,
                "count": len(array),
                "type": kind,
            }
        )
        return len(description["accessors"]) - 1

    armature = Rotation.from_euler("x", -90, degrees=True)
    nodes = description["nodes"]
    nodes.append({"name": "Armature", "rotation": armature.as_quat().tolist(), "scale": [0.01] * 3, "children": []})
    index = {name: number for number, (name, _, _) in enumerate(GENERIC, start=1)}
    own = {name: Rotation.random(rng=number) for name, number in index.items()}
    place: dict[str, np.ndarray] = {}
    inverse = []
    for name, parent, step in GENERIC:
        place[name] = (place[parent] if parent else np.array([0.0, 100, 0])) + step
        frame = own[name]
        up = own[parent] if parent else armature
        local = up.inv() * frame
        move = (up.inv() if parent else armature.inv()).apply(place[name] - (place[parent] if parent else 0))
        nodes.append({"name": named(name, RIGIFY if blender else UNREAL, blender), "rotation": local.as_quat().tolist(),
                      "translation": move.tolist(), "children": []})  # fmt: skip
        nodes[index[parent] if parent else 0]["children"].append(index[name])
        bound = np.eye(4)
        bound[:3, :3] = (armature.inv() * frame).as_matrix()
        bound[:3, 3] = armature.inv().apply(place[name])
        inverse.append(np.linalg.inv(bound).T.reshape(16))
    description["skins"] = [{"joints": list(index.values()), "inverseBindMatrices": accessor(inverse, "MAT4")}]
    samplers, channels = [], []
    for name, keys in turns.items():
        # A key turns the joint in the world, on top of the rest pose.
        parent = next(parent for joint, parent, _ in GENERIC if joint == name)
        up = own[parent] if parent else armature
        local = [(up.inv() * Rotation.from_quat(key) * own[name]).as_quat() for key in keys]
        samplers.append({"input": accessor(np.array(times)[:, None], "SCALAR"), "output": accessor(local, "VEC4")})
        channels.append({"sampler": len(samplers) - 1, "target": {"node": index[name], "path": "rotation"}})
    description["animations"] = [{"name": "wave", "samplers": samplers, "channels": channels}]
    description["buffers"] = [{"byteLength": len(data)}]
    text = json.dumps(description).encode()
    text += b" " * (-len(text) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(data), 0x004E4942) + bytes(data)
    whole = struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body
    path.write_bytes(whole[: len(whole) - cut])


def key(axis: str, degrees: float) -> list[float]:
    values: list[float] = Rotation.from_euler(axis, degrees, degrees=True).as_quat().tolist()
    return values


@pytest.mark.parametrize("blender", [True, False])
def test_keys_become_the_joints_rotations_at_the_asked_rate(tmp_path: Path, blender: bool) -> None:
    path = tmp_path / "rig.glb"
    moves = {"LeftLeg": [key("x", 0), key("x", 90)], "RightForeArm": [key("y", 0), key("y", 60)]}
    write_glb(path, moves, [0.0, 1.0], blender=blender)
    (clip,) = read_glb(path, fps=10.0)
    assert clip.name == "rig wave"
    assert clip.frames == 11
    knee = np.degrees(clip.rotations[:, JOINT_NAMES.index("left_knee"), 0])
    np.testing.assert_allclose(knee, np.linspace(0, 90, 11), atol=1e-3)
    elbow = np.degrees(clip.rotations[:, JOINT_NAMES.index("right_elbow"), 1])
    np.testing.assert_allclose(elbow, np.linspace(0, 60, 11), atol=1e-3)
    still = [JOINT_NAMES.index(name) for name in ("pelvis", "left_hip", "right_knee", "neck", "head", "left_elbow")]
    np.testing.assert_allclose(clip.rotations[:, still], 0, atol=1e-5)


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rig.glb"
    moves = {"LeftLeg": [key("x", 0), key("x", 90)]}
    write_glb(path, moves, [0.0, 1.0], cut=40)
    with pytest.raises(MotionError, match=r"rig\.glb.*cut off"):
        read_glb(path)
    write_glb(path, moves, [0.0, 1.0])
    path.write_bytes(path.read_bytes().replace(b"DEF-hips", b"DEF-hupf"))
    with pytest.raises(MotionError, match="hips or pelvis"):
        read_glb(path)
    write_glb(path, {}, [0.0])
    with pytest.raises(MotionError, match=r"rig\.glb"):
        read_glb(path)
    path.write_bytes(b"GLB? " * 10)
    with pytest.raises(MotionError, match="not a glTF 2"):
        read_glb(path)
    with pytest.raises(MotionError, match="cannot be read"):
        read_glb(tmp_path / "none.glb")
