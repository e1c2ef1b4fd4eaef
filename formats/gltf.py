"""A saved motion as an animated glTF 2.0 file, for Blender, game engines and browsers:

    run_camera.py --source VIDEO --save MOTION.npz
    python -m formats.convert MOTION.npz OUT.glb

Everyone in the recording becomes a mesh with a skeleton of 24 joints, moved by linear blend skinning; what the body adds
where joints bend (pose correctives) has no place in the format and is left out. A person has one shape, the median of all
frames, and looks as in the window: see `formats.gltf_look`. The recording's camera is in the file: through it, meshes are
where the people are in the video. In the camera's frame it is at the origin and looks along -z with y up; in the world's it
is where it was, and moves if it moved.
"""

from __future__ import annotations

import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np

from body.joints import JOINT_NAMES, JOINTS, PARENTS
from body.model import BodyArrays
from body.rotations import matrix_to_axis_angle
from common.arrays import AnyArray, FloatArray, Int32Array
from formats.axes import Y_UP, quaternions
from formats.endings import MeshLook, ReferenceFrame
from formats.gltf_look import MeshSurface, material_of, palette_png, surface_of, texture_sampler
from formats.motion import Motion
from formats.tracks import LOST_S, MotionTrack, MotionTracks, rate_of, tracks_of

_INFLUENCES: Final = 4
"""Joints that move one vertex, the format's number."""
_STILL: Final = 1e-5
"""A camera whose transform changes by no more, metres or entries of the rotation, stands still."""
_FLOAT, _USHORT, _UINT, _UBYTE = 5126, 5123, 5125, 5121
_VERTEX_DATA, _FACE_DATA = 34962, 34963


class _File:
    """The file's binary part and the descriptions that grow with it."""

    def __init__(self) -> None:
        self.blob = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: AnyArray, kind: str, target: int | None = None, bounds: bool = False) -> int:
        """An accessor's number. ``values`` (N,) or (N, K), of the dtype to be stored; ``bounds`` adds its least and largest
        values, which the format wants of positions and times."""
        content = np.ascontiguousarray(values)
        component = {"f4": _FLOAT, "u2": _USHORT, "u4": _UINT, "u1": _UBYTE}[content.dtype.str[1:]]
        view = self.add_view(content.tobytes(), target)
        accessor: dict[str, Any] = {"bufferView": view, "componentType": component}
        accessor |= {"count": len(content), "type": kind}
        if bounds:
            rows = content.reshape(len(content), -1)
            accessor |= {"min": rows.min(0).tolist(), "max": rows.max(0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def add_view(self, content: bytes, target: int | None = None) -> int:
        """A buffer view's number, of ``content``."""
        self.blob.extend(b"\0" * (-len(self.blob) % 4))
        view = {"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(content)}
        self.views.append(view if target is None else {**view, "target": target})
        self.blob.extend(content)
        return len(self.views) - 1


def to_glb(motion: Motion, arrays: BodyArrays, tracks: MotionTracks | None = None, look: MeshLook = "suit") -> bytes:
    """The content of a .glb file.

    ``arrays`` is the body of the motion's pose parameters. ``tracks`` are the people to write and the frame to write them
    in; None for everyone, in the world's frame where it is known. ``look`` is how they look. Raises `UserError` where nobody
    is in the motion.
    """
    people, frame, _ = tracks or tracks_of(motion)
    start, end = float(np.nanmin(motion.time_s)), float(np.nanmax(motion.time_s))
    file = _File()
    document: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "motionmesh"},
        "scene": 0,
        "scenes": [{"nodes": []}],
        "nodes": [],
        "materials": [],
        "meshes": [],
        "skins": [],
        "animations": [{"name": Path(motion.source).stem or "motion", "channels": [], "samplers": []}],
    }
    _add_camera(document, file, motion, frame, start)
    surface = surface_of(arrays, look)
    if surface.texture_coordinates is not None:
        document |= {"samplers": [texture_sampler()], "images": [], "textures": []}
    for track in people:
        first = _add_person(document, file, arrays, surface, track)
        _animate(document, file, track, first, start, end, 1 / rate_of([track], motion.fps))
    document |= {
        "buffers": [{"byteLength": len(file.blob)}],
        "bufferViews": file.views,
        "accessors": file.accessors,
    }
    return _packed(document, bytes(file.blob))


def _add_camera(document: dict[str, Any], file: _File, motion: Motion, frame: ReferenceFrame, start: float) -> None:
    if not np.isfinite(motion.camera_matrix).all():
        return  # the motion comes from a format without one
    width, height = 2 * motion.camera_matrix[0, 2] + 1, 2 * motion.camera_matrix[1, 2] + 1
    lens = {
        "yfov": float(2 * np.arctan2(height / 2, motion.camera_matrix[1, 1])),
        "aspectRatio": float(width / height),
        "znear": 0.05,
    }
    document["cameras"] = [{"type": "perspective", "perspective": lens}]
    node: dict[str, Any] = {"name": "camera", "camera": 0}
    number = _add_node(document, node, in_scene=True)
    if frame == "camera" or motion.world_from_camera is None:
        return
    _, rows = np.unique(motion.time_s, return_index=True)  # one row a frame, ascending
    rows = rows[np.isfinite(motion.world_from_camera[rows]).all((1, 2)) & np.isfinite(motion.time_s[rows])]
    transforms = motion.world_from_camera[rows].astype(np.float64)
    if not len(rows):
        return
    turns = quaternions(matrix_to_axis_angle(transforms[:, None, :3, :3] @ Y_UP))[:, 0]
    node |= {"translation": transforms[0, :3, 3].tolist(), "rotation": turns[0].tolist()}
    if len(rows) > 1 and np.abs(transforms - transforms[0]).max() > _STILL:
        keys = file.add((motion.time_s[rows] - start).astype(np.float32), "SCALAR", bounds=True)
        _add_channel(document, file, number, "translation", transforms[:, :3, 3].astype(np.float32), "VEC3", keys)
        _add_channel(document, file, number, "rotation", turns, "VEC4", keys)


def _add_node(document: dict[str, Any], node: dict[str, Any], in_scene: bool = False) -> int:
    """The node's number."""
    document["nodes"].append(node)
    number = len(document["nodes"]) - 1
    if in_scene:
        document["scenes"][0]["nodes"].append(number)
    return number


def _add_person(
    document: dict[str, Any], file: _File, arrays: BodyArrays, surface: MeshSurface, track: MotionTrack
) -> int:
    """Skeleton and mesh in the rest pose; the number of the pelvis' node, behind which the other joints' come."""
    betas = arrays.clamp_betas(track.betas)
    vertices = surface.at_rest(arrays, betas)
    joints = (arrays.joint_regressor @ (arrays.v_template + arrays.shapedirs @ betas)).astype(np.float32)
    mesh, skin = len(document["meshes"]), len(document["skins"])
    # The mesh is a node of its own beside the skeleton: the format moves it by its joints alone, whatever it hangs on.
    first = len(document["nodes"]) + 1
    _add_node(document, {"name": f"person {track.person}", "children": [first]}, in_scene=True)
    for joint, name in enumerate(JOINT_NAMES):
        parent = PARENTS[joint]
        offset = joints[joint] - joints[parent] if parent >= 0 else joints[joint]
        children = [first + child for child in range(JOINTS) if PARENTS[child] == joint]
        node: dict[str, Any] = {"name": name, "translation": offset.tolist()}
        _add_node(document, {**node, "children": children} if children else node)
    _add_node(document, {"name": f"body {track.person}", "mesh": mesh, "skin": skin}, in_scene=True)

    bones = np.argsort(-surface.weights, axis=1, kind="stable")[:, :_INFLUENCES]
    weights = np.take_along_axis(surface.weights, bones, 1).astype(np.float32)
    bones = np.where(weights > 0, bones, 0)
    faces = surface.faces.astype(np.uint16 if len(vertices) < 65535 else np.uint32).ravel()
    attributes = {
        "POSITION": file.add(vertices, "VEC3", _VERTEX_DATA, bounds=True),
        "NORMAL": file.add(_normals(vertices, surface.faces), "VEC3", _VERTEX_DATA),
        "JOINTS_0": file.add(bones.astype(np.uint8), "VEC4", _VERTEX_DATA),
        "WEIGHTS_0": file.add(weights / weights.sum(1, keepdims=True), "VEC4", _VERTEX_DATA),
    }
    texture = None
    if surface.texture_coordinates is not None:
        attributes["TEXCOORD_0"] = file.add(surface.texture_coordinates, "VEC2", _VERTEX_DATA)
        texture = len(document["textures"])
        document["images"].append({"bufferView": file.add_view(palette_png(track.person)), "mimeType": "image/png"})
        document["textures"].append({"sampler": 0, "source": texture})
    document["materials"].append(material_of(track.person, texture))
    primitive = {"attributes": attributes, "indices": file.add(faces, "SCALAR", _FACE_DATA), "material": mesh}
    document["meshes"].append({"primitives": [primitive]})
    unbind = np.tile(np.eye(4, dtype=np.float32), (JOINTS, 1, 1))
    unbind[:, 3, :3] = -joints  # column-major: the last column is the last row in memory
    document["skins"].append(
        {
            "joints": list(range(first, first + JOINTS)),
            "skeleton": first,
            "inverseBindMatrices": file.add(unbind.reshape(JOINTS, 16), "MAT4"),
        }
    )
    return first


def _animate(
    document: dict[str, Any], file: _File, track: MotionTrack, first: int, start: float, end: float, frame_s: float
) -> None:
    # float32 times near each other must not become one
    seconds, rows = np.unique((track.time_s - start).astype(np.float32), return_index=True)
    keys = file.add(seconds, "SCALAR", bounds=True)
    turns = quaternions(track.rotations[rows])
    _add_channel(document, file, first, "translation", track.pelvis[rows].astype(np.float32), "VEC3", keys)
    for joint in range(JOINTS):
        _add_channel(document, file, first + joint, "rotation", turns[:, joint], "VEC4", keys)
    shown = _shown(seconds, end - start, frame_s)
    if len(shown) > 1:
        keys = file.add(np.array([when for when, _ in shown], np.float32), "SCALAR", bounds=True)
        sizes = np.array([[float(here)] * 3 for _, here in shown], np.float32)
        _add_channel(document, file, first - 1, "scale", sizes, "VEC3", keys, "STEP")


def _add_channel(
    document: dict[str, Any],
    file: _File,
    node: int,
    path: str,
    values: FloatArray,
    kind: str,
    keys: int,
    how: str = "LINEAR",
) -> None:
    """Animate one property of a node; ``keys`` is the accessor of the times."""
    animation = document["animations"][0]
    animation["samplers"].append({"input": keys, "output": file.add(values, kind), "interpolation": how})
    target = {"node": node, "path": path}
    animation["channels"].append({"sampler": len(animation["samplers"]) - 1, "target": target})


def _shown(seconds: FloatArray, end: float, frame_s: float) -> list[tuple[float, bool]]:
    """When somebody who is seen at ``seconds`` appears (True) and vanishes (False); the first entry is for the start."""
    changes = [(0.0, True)] if seconds[0] <= 0 else [(0.0, False), (float(seconds[0]), True)]
    for before, after in pairwise(seconds.tolist()):
        if after - before > LOST_S:
            changes += [(before + frame_s, False), (after, True)]
    if end - seconds[-1] > LOST_S:
        changes.append((float(seconds[-1]) + frame_s, False))
    return changes


def _normals(vertices: FloatArray, faces: Int32Array) -> FloatArray:
    corners = vertices[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], across)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return normals


def _packed(document: dict[str, Any], blob: bytes) -> bytes:
    """The two chunks of a .glb file behind its header."""
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    blob += b"\0" * (-len(blob) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(blob), b"BIN\0") + blob
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
