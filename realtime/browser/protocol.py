"""What travels to the page: the body once, then poses and video frames as compact binary messages.

All numbers are little-endian. Every binary message of the WebSocket begins with its kind:

    POSE   sequence, times, camera, world frame, then `PERSON_DTYPE` for everybody: 500 bytes a person
    VIDEO  sequence and size, a coarse flow field for everybody, the frame's own POSE message, then a JPEG

The body (``/body.bin``) is a list of named arrays. Rotations and places are those of `realtime.records.BodyEstimate`:
camera frame (x right, y down, z forward), metres, axis-angle in radians. ``static/protocol.js`` is the other side.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from body.joints import COCO_EDGES, COCO_NAMES, JOINT_NAMES, PARENTS
from body.model import BodyArrays
from body.suit.parts import PALETTE, SuitPart, part_colours
from common.arrays import AnyArray, FloatArray
from realtime.draw.mannequin import Mannequin
from realtime.records import Flow, Result

_VERSION: Final = 1
"""Grows when a message changes: a page that was loaded from an older program reloads itself."""
POSE: Final = 1
"""Kind of a message with everybody's pose."""
VIDEO: Final = 2
"""Kind of a message with a frame of the video."""

PERSON_DTYPE: Final = np.dtype(
    [
        ("person", "<i4"),
        ("transl", "<f4", (3,)),
        ("rotations", "<f4", (24, 3)),
        ("betas", "<f4", (10,)),
        ("keypoints", "<f4", (17, 2)),
        ("confidence", "u1", (17,)),
        ("padding", "u1", (3,)),
    ]
)
"""One person of a pose message. ``keypoints`` are pixels of the source's frame, ``confidence`` is in 255ths."""

_POSE_HEAD: Final = struct.Struct("<3Ii3d4f12f2f")
"""Kind, sequence, people, whether the world frame is known; captured, finished and sent, ms of the server's clock; fx, fy,
cx, cy, pixels; world_from_camera, three rows of four; time_s, seconds of the source, and a spare."""
_VIDEO_HEAD: Final = struct.Struct("<5I2Hf")
"""Kind, sequence, number of flow fields, bytes of the pose message, bytes of the JPEG, its width and height, its pixels for
one of the source's."""
_FLOW_HEAD: Final = struct.Struct("<i4f")
"""Person, the box' centre and side in pixels of the source, and pixels for one step of the field."""

_FLOW_CELLS: Final = 16
"""A flow field is sent as the means over so many cells along each side: 532 bytes."""

MAX_CORRECTIVES: Final = 160_000
"""Entries of pose correctives that a page gets, the largest ones. The free body has fewer; of SMPL's 4.3 million, which a
phone could not add up 30 times a second, the rest is left out."""

_BONES: Final = 4
"""Joints that may move a vertex: what WebGL's skinning has room for."""


def pose_message(result: Result, clock_ns: int, sent_ns: int) -> bytes:
    """Everybody's pose in one frame. ``clock_ns`` is when the server's clock was 0, ``sent_ns`` is now, both monotonic."""
    camera, world = result.camera, result.world
    matrix = np.eye(4, dtype=np.float32)[:3] if world is None else world.world_from_camera[:3]
    times = ((at - clock_ns) / 1e6 for at in (result.frame.captured_ns, result.finished_ns, sent_ns))
    head = _POSE_HEAD.pack(
        POSE,
        result.frame.sequence,
        len(result.people),
        world is not None,
        *times,
        *(camera.fx, camera.fy, camera.cx, camera.cy),
        *matrix.ravel().tolist(),
        *(result.frame.time_s, 0.0),
    )
    people = np.zeros(len(result.people), PERSON_DTYPE)
    for row, body in zip(people, result.people, strict=True):
        row["person"], row["transl"], row["betas"] = body.person, body.transl, body.betas
        row["rotations"][0], row["rotations"][1:] = body.global_orient, body.body_pose
        row["keypoints"] = np.nan_to_num(body.keypoints.points)
        row["confidence"] = np.clip(np.nan_to_num(body.keypoints.confidence) * 255, 0, 255)
    return head + people.tobytes()


def video_message(result: Result, pose: bytes, jpeg: bytes, width: int, height: int) -> bytes:
    """A frame of the video as ``jpeg`` of ``width`` x ``height`` pixels, with the flow that was measured up to it and its
    `pose_message`: what is drawn over a frame must be its own, and a viewer may have missed that one."""
    scale = width / result.frame.image.shape[1]
    sizes = len(result.flows), len(pose), len(jpeg), width, height
    return b"".join(
        (_VIDEO_HEAD.pack(VIDEO, result.frame.sequence, *sizes, scale), *map(_flow, result.flows), pose, jpeg)
    )


def _flow(flow: Flow) -> bytes:
    """Means over cells, in steps of a 127th of the largest: pixels of the source's frame."""
    means = cv2.resize(flow.field, (_FLOW_CELLS, _FLOW_CELLS), interpolation=cv2.INTER_AREA)
    means = np.nan_to_num(means) * (flow.box.size / len(flow.field))
    step = max(float(np.abs(means).max()), 1e-6) / 127
    steps: bytes = np.rint(means / step).astype(np.int8).tobytes()
    return _FLOW_HEAD.pack(flow.person, *flow.box, step) + steps


def body_message(arrays: BodyArrays, mannequin: Mannequin) -> bytes:
    """The body that all people are made of, for a page that poses it by itself, dressed as ``mannequin`` says.

    Layout: bytes of the description (uint32), the description (JSON: of each array its name, dtype, shape and offset, and
    constants), then the arrays, each at a multiple of four bytes after the description.
    """
    vertices, shape = arrays.v_template, arrays.shapedirs
    if (forms := mannequin.forms) is not None:  # skinning turns these offsets of the rest pose, too
        vertices, shape = vertices.copy(), shape.copy()
        vertices[forms.rows] += forms.mean
        shape[forms.rows] += forms.betas
    weights, posedirs = arrays.weights, arrays.posedirs
    if (seams := mannequin.seams) is not None:  # to the page they are vertices as all others
        vertices, shape, weights, posedirs = map(seams.extend, (vertices, shape, weights, posedirs))
    strongest, bones = _strongest(weights)
    shape_step = float(np.abs(shape).max()) / 32767 or 1.0
    shares = mannequin.shares
    if shares is None:
        shares = np.eye(len(SuitPart), dtype=np.float32)[np.full(len(vertices), SuitPart.SHIRT)]
    fields: dict[str, AnyArray] = {
        "vertices": vertices,
        "shape": np.rint(shape / shape_step).astype(np.int16),
        "joints": arrays.at_rest(arrays.joint_regressor).astype(np.float32),
        "faces": mannequin.faces.astype(np.uint16 if len(vertices) < 1 << 16 else np.uint32),
        "bones": bones,
        "weights": strongest,
        **_correctives(posedirs),
        "suit": np.rint(shares * 255).astype(np.uint8),
    }
    constants = {
        "shape_step": shape_step,
        "corrective_step": float(np.abs(arrays.posedirs).max()) / 32767 or 1.0,
        "beta_limit": min(arrays.beta_limit, 1e9),
        "parents": PARENTS,
    }
    return _pack(fields, constants)


def _pack(fields: Mapping[str, AnyArray], constants: Mapping[str, object]) -> bytes:
    listed: list[dict[str, object]] = []
    blocks: list[bytes] = []
    offset = 0
    for name, array in fields.items():
        block = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        listed.append({"name": name, "dtype": array.dtype.name, "shape": array.shape, "offset": offset})
        blocks.append(block + bytes(-len(block) % 4))
        offset += len(blocks[-1])
    text = json.dumps({"version": _VERSION, "arrays": listed, **constants}).encode()
    text += b" " * (-len(text) % 4)
    return b"".join((struct.pack("<I", len(text)), text, *blocks))


def _strongest(weights: FloatArray) -> tuple[FloatArray, NDArray[np.uint8]]:
    """The largest four weights of each vertex, which then sum to 1, and their joints: (V, 4) each."""
    bones = np.argsort(-weights, axis=1, kind="stable")[:, :_BONES]
    kept = np.take_along_axis(weights, bones, 1)
    return (kept / kept.sum(1, keepdims=True)).astype(np.float32), bones.astype(np.uint8)


def _correctives(posedirs: FloatArray) -> dict[str, AnyArray]:
    """Where each vertex' entries begin, which of the 207 features they follow, and by how many steps they move it."""
    size = np.abs(posedirs).max(1)
    least = np.partition(size, -MAX_CORRECTIVES, axis=None)[-MAX_CORRECTIVES] if size.size > MAX_CORRECTIVES else 0
    vertex, feature = np.nonzero(size > least)
    step = float(np.abs(posedirs).max()) / 32767 or 1.0
    return {
        "corrective_starts": np.searchsorted(vertex, np.arange(len(posedirs) + 1)).astype(np.uint32),
        "corrective_features": feature.astype(np.uint8),
        "corrective_steps": np.rint(posedirs[vertex, :, feature] / step).astype(np.int16),
    }


def hello_message(
    source: str, fps: float, live: bool, size: tuple[int, int], sha256: str, mannequin: Mannequin
) -> dict[str, Any]:
    """What a page is told first, as text: names and tables that never change. ``sha256`` is the body's hash."""
    return {
        "type": "hello",
        "version": _VERSION,
        "source": source,
        "fps": fps,
        "live": live,
        "size": size,
        "body": sha256,
        "joints": JOINT_NAMES,
        "keypoints": COCO_NAMES,
        "edges": COCO_EDGES,
        "look": "solid" if mannequin.edges is None else "wire",
        "parts": [_parts(mannequin, person) for person in range(len(PALETTE))],
    }


def _parts(mannequin: Mannequin, person: int) -> list[list[int]]:
    """RGB of each `SuitPart` of a person's suit, 0..255; without a suit the same for all."""
    if mannequin.shares is None:
        return [np.rint(mannequin.colours(person)[::-1]).astype(int).tolist()] * len(SuitPart)
    return [list(map(int, colour[::-1])) for colour in part_colours(person)]
