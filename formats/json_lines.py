"""Motion as lines of JSON: the same schema in a file (.jsonl) and on the wire (``--send udp://`` and ``ws://``).

The first line is a header, every other line one frame; each has ``"type"`` and ``"version"``. Axis-angle rotations, radians;
metres; pixels; camera frame (x right, y down, z forward), and the world frame (y up) where names begin with ``world_``.
A value that is not known is null; NaN and Infinity, which are no JSON, are never written.

    {"type": "header", "version": 1, "schema": "motionmesh", "source": ..., "fps": ..., "camera_matrix": [[3] * 3],
     "body_sha256": ..., "joints": [24 names], "parents": [24], "keypoints": [17 names]}
    {"type": "frame", "version": 1, "frame": 12, "time_s": 0.4, "world_from_camera": [[4] * 4], "up": [3],
     "up_sigma_deg": ..., "floor_sigma_m": ...,
     "people": [{"person": 0, "global_orient": [3], "body_pose": [[3] * 23], "betas": [10], "transl": [3],
                 "joints_m": [[3] * 24], "joints_px": [[2] * 24], "keypoints_px": [[2] * 17], "keypoint_confidence": [17],
                 "world_global_orient": [3], "world_transl": [3], "world_joints_m": [[3] * 24], "contact": [4]}]}

Of a frame, only what is known is there: a file of version 1 has no ``world_`` and no ``up``. Later versions of the schema
may add names; readers skip names that they do not know.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

from body.joints import COCO_NAMES, JOINT_NAMES, PARENTS
from common.arrays import AnyArray, DoubleArray
from common.errors import UserError, one_line
from common.files import JSON_ERRORS
from formats.motion import MORE_SHAPES, MOTION_VERSION, ROW_SHAPES, WORLD_SHAPES, Motion

SCHEMA_VERSION: Final = 1
SCHEMA_NAME: Final = "motionmesh"
_MAX_NUMBER: Final = 1e12
_FRAME_ARRAYS: Final = ("world_from_camera", "up", "up_sigma_deg", "floor_sigma_m")
"""Arrays that are the same for everyone in a frame."""
_OPTIONAL: Final = {**WORLD_SHAPES, **MORE_SHAPES}
_PERSON_ARRAYS: Final = (*ROW_SHAPES, *(name for name in _OPTIONAL if name not in _FRAME_ARRAYS))


def line_of(message: Mapping[str, Any]) -> str:
    """The message as one line without its end. Raises ``ValueError`` for NaN and infinity."""
    return json.dumps(message, separators=(",", ":"), allow_nan=False)


def to_json_values(values: AnyArray | np.floating[Any], decimals: int | None = None) -> Any:
    """Nested lists of an array, or one number, with None for what is not finite.

    Without ``decimals``, float32 values are written with as many digits as they have, and come back the same.
    """
    values = np.asarray(values)  # one number of an array is none, and would come as a float that cannot be None
    exact = values.astype(str) if values.dtype == np.float32 and decimals is None else values
    numbers = exact.astype(np.float64)
    if decimals is not None:
        numbers = np.round(numbers, decimals, out=numbers)
    if np.isfinite(numbers).all():
        return numbers.tolist()
    holed = numbers.astype(object)
    holed[~np.isfinite(numbers)] = None
    return holed.tolist()


def header_of(source: str, fps: float, camera_matrix: DoubleArray, body_sha256: str) -> dict[str, Any]:
    """The header message. ``fps`` is null where it is not known."""
    return {
        "type": "header",
        "version": SCHEMA_VERSION,
        "schema": SCHEMA_NAME,
        "source": source,
        "fps": to_json_values(np.asarray(fps, np.float64)),
        "camera_matrix": to_json_values(np.asarray(camera_matrix, np.float64)),
        "body_sha256": body_sha256,
        "joints": list(JOINT_NAMES),
        "parents": list(PARENTS),
        "keypoints": list(COCO_NAMES),
    }


def frame_of(frame: int, time_s: float, people: Iterable[Mapping[str, Any]], **shared: Any) -> dict[str, Any]:
    """The message of one frame; ``shared`` is what is the same for everyone in it."""
    head = {"type": "frame", "version": SCHEMA_VERSION, "frame": frame, "time_s": time_s}
    return {**head, **shared, "people": list(people)}


def to_jsonl(motion: Motion) -> bytes:
    """The content of a .jsonl file: everything in the motion."""
    present = {name: getattr(motion, name) for name in (*ROW_SHAPES, *_OPTIONAL)}
    present = {name: values for name, values in present.items() if values is not None}
    lines = [line_of(header_of(motion.source, motion.fps, motion.camera_matrix, motion.body_sha256))]
    times = to_json_values(motion.time_s)
    for number, group in groupby(range(len(motion.frame)), key=lambda row: int(motion.frame[row])):
        rows = list(group)
        shared = {name: to_json_values(present[name][rows[0]]) for name in _FRAME_ARRAYS if name in present}
        people = [
            {"person": int(motion.person[row])}
            | {name: to_json_values(present[name][row]) for name in _PERSON_ARRAYS if name in present}
            for row in rows
            if motion.person[row] >= 0
        ]
        lines.append(line_of(frame_of(number, times[rows[0]], people, **shared)))
    return ("\n".join(lines) + "\n").encode()


def from_jsonl(path: Path) -> Motion:
    """The motion of a .jsonl file, or of a recorded stream (every line after a header that repeats it is a frame).

    Raises `UserError` for a file that cannot be read, is damaged, or has a newer version.
    """
    header: dict[str, Any] | None = None
    rows: list[tuple[dict[str, Any], dict[str, Any] | None]] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for message in _messages(lines):
                if message["version"] > SCHEMA_VERSION:
                    raise UserError(
                        f"{path} has schema version {message['version']}, this program reads {SCHEMA_VERSION}"
                    )
                if message["type"] == "header":
                    header = header or message
                elif message["type"] == "frame":
                    rows += [(message, person) for person in message["people"] or (None,)]
        if header is None:
            raise UserError(f"{path} is no motion in JSON lines: it has no header")
        return _motion(header, rows)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except JSON_ERRORS as error:
        raise UserError(f"{path} is damaged or no motion in JSON lines ({one_line(error)})") from None


def _messages(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.strip():
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError("a line is no object")
            yield message


def _motion(header: dict[str, Any], rows: list[tuple[dict[str, Any], dict[str, Any] | None]]) -> Motion:
    arrays: dict[str, AnyArray] = {}
    for name, shape in (ROW_SHAPES | _OPTIONAL).items():
        found = [(frame if name in _FRAME_ARRAYS else person or {}).get(name) for frame, person in rows]
        if name not in ROW_SHAPES and all(value is None for value in found):
            continue
        values = np.full((len(rows), *shape), np.nan, np.float32)
        for row, value in enumerate(found):
            if value is not None:
                exact = np.array(value, np.float64)  # None becomes NaN
                if (np.abs(exact) > _MAX_NUMBER).any():
                    raise ValueError(f"{name} holds impossible numbers")
                given = exact.astype(np.float32)
                if given.shape != shape:
                    raise ValueError(f"{name} has shape {given.shape}, wanted {shape}")
                values[row] = given
        arrays[name] = values
    return Motion(
        frame=np.array([frame["frame"] for frame, _ in rows], np.int64),
        time_s=np.array([frame["time_s"] for frame, _ in rows], np.float64),
        person=np.array([-1 if person is None else person["person"] for _, person in rows], np.int64),
        camera_matrix=np.array(header["camera_matrix"], np.float64).reshape(3, 3),
        fps=float("nan") if header["fps"] is None else float(header["fps"]),
        source=str(header["source"]),
        body_sha256=str(header["body_sha256"]),
        version=MOTION_VERSION,
        **arrays,
    )
