"""Motion files: everything that was estimated of a recording, as one NumPy archive."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from body.errors import BodyError
from body.model import DATA, BodyArrays, load_body
from common.arrays import AnyArray, BoolArray, DoubleArray, FloatArray, Int64Array
from common.errors import UserError
from common.files import write_atomically
from common.npz import NPZ_ERRORS, read_npz

_LOG = logging.getLogger(__name__)

MOTION_VERSION = 2
"""What is written. Version 1 lacks everything in `WORLD_SHAPES` and `MORE_SHAPES`; both are read."""
_READABLE: Final = (1, 2)
_UNIT: Final = 1e-3
"""Tolerance for the length of unit vectors and the entries of rotation matrices."""

ROW_SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "joints_m": (24, 3),
    "joints_px": (24, 2),
    "keypoints_px": (17, 2),
    "keypoint_confidence": (17,),
    "global_orient": (3,),
    "body_pose": (23, 3),
    "betas": (10,),
    "transl": (3,),
}
"""Shape of one row of each float32 array."""
WORLD_SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "world_from_camera": (4, 4),
    "world_global_orient": (3,),
    "world_transl": (3,),
    "world_joints_m": (24, 3),
}
"""Shape of one row of each float32 array that a version 2 file may have: all of these, or none."""
MORE_SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "up": (3,),
    "contact": (4,),
    "floor_sigma_m": (),
    "up_sigma_deg": (),
}
"""Shape of one row of each float32 array that a version 2 file may have, each one by itself."""
ROW_HEAD = np.dtype([("frame", np.int64), ("time_s", np.float64), ("person", np.int64)])
MOTION_ROW = np.dtype(ROW_HEAD.descr + [(name, np.float32, shape) for name, shape in ROW_SHAPES.items()])
"""One person in one frame."""


TOO_LARGE: Final = 1e6
"""Larger metres, radians or degrees come from a damaged file."""
_MAX_FPS: Final = 1e6


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """A motion file. One row for each person in each frame, N rows; a frame where nobody was seen has one row with
    ``person`` -1 and NaN in every float32 array. Frames that the source dropped have no row.

    Arrays that may be None came with version 2 of the format. They are NaN in rows where a value is not known, and a
    file has all four arrays of the world frame or none. World frame: y up, right-handed, metres, the floor at y = 0,
    the origin under the first person when first seen, -z the way the camera looked then (level), x to its right.
    """

    frame: Int64Array
    """int64 (N,) index in the source, not decreasing."""
    time_s: DoubleArray
    """float64 (N,) seconds of the source."""
    person: Int64Array
    """int64 (N,) the same number for as long as a person is tracked."""
    joints_m: FloatArray
    """float32 (N, 24, 3) SMPL joints, metres, camera frame (x right, y down, z forward)."""
    joints_px: FloatArray
    """float32 (N, 24, 2) the same, image pixels."""
    keypoints_px: FloatArray
    """float32 (N, 17, 2) COCO keypoints as detected, image pixels."""
    keypoint_confidence: FloatArray
    """float32 (N, 17) 0..1."""
    global_orient: FloatArray
    """float32 (N, 3) axis-angle, radians: body's rest frame to camera frame."""
    body_pose: FloatArray
    """float32 (N, 23, 3) axis-angle, radians, each joint relative to its parent."""
    betas: FloatArray
    """float32 (N, 10) shape parameters."""
    transl: FloatArray
    """float32 (N, 3) pelvis joint, metres, camera frame."""
    camera_matrix: DoubleArray
    """float64 (3, 3) pixels; NaN where no camera took the motion."""
    fps: float
    """Nominal rate of the source, frames/s."""
    source: str
    """Name of the source."""
    body_sha256: str
    """SHA-256 of the body model that the pose parameters belong to, hexadecimal."""
    version: int
    """Version of this format."""
    up: FloatArray | None = None
    """float32 (N, 3) unit vector against gravity, camera frame."""
    up_sigma_deg: FloatArray | None = None
    """float32 (N,) standard deviation of ``up``, degrees."""
    world_from_camera: FloatArray | None = None
    """float32 (N, 4, 4) rigid transform, camera frame to world frame."""
    world_global_orient: FloatArray | None = None
    """float32 (N, 3) as ``global_orient``, to the world frame."""
    world_transl: FloatArray | None = None
    """float32 (N, 3) as ``transl``, world frame."""
    world_joints_m: FloatArray | None = None
    """float32 (N, 24, 3) as ``joints_m``, world frame."""
    contact: FloatArray | None = None
    """float32 (N, 4) probability, 0..1, that left heel, left toes, right heel and right toes stand on something."""
    floor_sigma_m: FloatArray | None = None
    """float32 (N,) standard deviation of the floor's height, metres."""

    @property
    def has_world(self) -> bool:
        """Whether the motion is known in the world frame."""
        return self.world_transl is not None

    @property
    def people(self) -> list[int]:
        """Numbers of everyone who was seen, ascending."""
        return [int(person) for person in np.unique(self.person[self.person >= 0])]

    def rows(self, chosen: BoolArray | Int64Array) -> Motion:
        """The motion with these rows alone."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "camera_matrix"}
        chosen_rows: dict[str, Any] = {}
        chosen_rows.update((name, value[chosen]) for name, value in values.items() if isinstance(value, np.ndarray))
        return replace(self, **chosen_rows)

    def arrays(self) -> dict[str, AnyArray]:
        """Everything by name, as `save_motion` takes it; arrays that the motion lacks are left out."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: np.asarray(value) for name, value in values.items() if value is not None}


def save_motion(path: Path, arrays: Mapping[str, AnyArray]) -> None:
    """Write ``arrays``, named as the fields of `Motion`, whole or not at all.

    Arrays of `WORLD_SHAPES` and `MORE_SHAPES` may be left out. Raises ``OSError`` when that fails.
    """
    with write_atomically(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_motion(path: str | Path) -> Motion:
    """Read a motion file, of version 1 or 2.

    Raises UserError for a missing or damaged file, another format, a newer version, and for arrays of another shape or dtype
    than `Motion` says, or with values that cannot be.
    """
    path = Path(path)
    try:
        arrays = read_npz(path, {field.name for field in fields(Motion)})
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except NPZ_ERRORS as error:
        raise UserError(f"{path} is damaged or no motion file ({' '.join(str(error).split())})") from None
    _validate(arrays, path)
    arrays = _without_absurd_rows(arrays, path)
    fps = float(arrays["fps"])
    scalars: dict[str, Any] = {
        "fps": fps if 0 < fps <= _MAX_FPS else math.nan,  # as where it is not known
        "source": str(arrays["source"]),
        "body_sha256": str(arrays["body_sha256"]),
        "version": int(arrays["version"]),
    }
    everything: dict[str, Any] = {**arrays, **scalars}
    return Motion(**everything)


def _without_absurd_rows(arrays: dict[str, AnyArray], path: Path) -> dict[str, AnyArray]:
    """``arrays`` without the rows of people whose numbers are not finite, which are logged."""
    sound = np.ones(len(arrays["frame"]), np.bool_)
    for name in ("joints_m", "global_orient", "body_pose", "betas", "transl"):
        within = np.abs(arrays[name]) < TOO_LARGE  # not so for NaN
        sound &= within.reshape(len(sound), math.prod(within.shape[1:])).all(1)
    bad = (arrays["person"] >= 0) & ~sound
    if not bad.any():
        return arrays
    _LOG.warning(f"{path}: {bad.sum()} rows hold numbers that are not finite or impossible, and are left out")
    return {name: array[~bad] if array.ndim and len(array) == len(bad) and name != "camera_matrix" else array
            for name, array in arrays.items()}  # fmt: skip


def body_of(motion: Motion, path: Path | None = None) -> BodyArrays:
    """The body that a motion's pose parameters belong to: the file ``path``, or a body that ships with the project.

    Raises `BodyError` if it is another body, by its hash.
    """
    for candidate in [path] if path is not None else sorted(DATA.glob("*.npz")):
        arrays = load_body(candidate)
        if arrays.sha256 == motion.body_sha256:
            return arrays
    what = f"{path} is not the body" if path is not None else "no shipped body is the one"
    raise BodyError(f"{what} that the motion of {motion.source} was made with: name its file, or record it again")


def _validate(arrays: Mapping[str, AnyArray], path: Path) -> None:
    """Raise UserError unless ``arrays`` are those of a motion file."""
    optional = {**WORLD_SHAPES, **MORE_SHAPES}
    missing = [field.name for field in fields(Motion) if field.name not in arrays and field.name not in optional]
    if missing:
        raise UserError(f"{path} is no motion file: it lacks {', '.join(missing)}; record one with --save")
    version = arrays["version"]
    if version.shape != () or version.dtype.kind not in "iu":
        raise UserError(f"{path} is no motion file: its version is no number")
    if int(version) not in _READABLE:
        raise UserError(
            f"{path} has format version {int(version)}, this program reads {' and '.join(map(str, _READABLE))}: "
            "use a matching one"
        )
    count = len(arrays["frame"]) if arrays["frame"].ndim == 1 else -1
    want: dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]] = {
        name: ((count, *MOTION_ROW[name].shape), MOTION_ROW[name].base) for name in MOTION_ROW.names or ()
    }
    want |= {"camera_matrix": ((3, 3), np.dtype(np.float64)), "fps": ((), np.dtype(np.float64))}
    want |= {name: ((count, *shape), np.dtype(np.float32)) for name, shape in optional.items() if name in arrays}
    for name, (shape, dtype) in want.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            raise UserError(
                f"{path} is no valid motion file: {name} is {array.dtype} {array.shape}, wanted {dtype} {shape}"
            )
    for name in ("source", "body_sha256"):
        if arrays[name].shape != () or arrays[name].dtype.kind != "U":
            raise UserError(f"{path} is no valid motion file: {name} is no text")
    lacking = [name for name in WORLD_SHAPES if name not in arrays]
    if 0 < len(lacking) < len(WORLD_SHAPES):
        raise UserError(
            f"{path} is no valid motion file: it has part of the world frame but lacks {', '.join(lacking)}"
        )
    for name, why in _impossible(arrays).items():
        raise UserError(f"{path} is no valid motion file: {name} {why}")


def _impossible(arrays: Mapping[str, AnyArray]) -> dict[str, str]:
    """Arrays of version 2 that hold something impossible, and what; NaN is allowed everywhere."""
    found: dict[str, str] = {}
    for name in arrays.keys() & {*WORLD_SHAPES, *MORE_SHAPES}:
        if np.isinf(arrays[name]).any():
            found[name] = "holds infinite values"
    if "up" in arrays:
        lengths = np.linalg.norm(arrays["up"], axis=1)
        if (np.abs(lengths - 1) > _UNIT).any():
            found["up"] = "holds vectors that are not of length 1"
    if "world_from_camera" in arrays:
        transforms = arrays["world_from_camera"].astype(np.float64)
        turns = transforms[np.isfinite(transforms).all((1, 2))][:, :3, :3]
        turned = turns @ turns.transpose(0, 2, 1)
        last = transforms[np.isfinite(transforms).all((1, 2))][:, 3]
        if (
            (np.abs(turned - np.eye(3)) > _UNIT).any()
            or (np.linalg.det(turns) < 0).any()
            or (last != (0, 0, 0, 1)).any()
        ):
            found["world_from_camera"] = "holds matrices that are not a rotation and a shift"
    if "contact" in arrays and ((arrays["contact"] < 0) | (arrays["contact"] > 1)).any():
        found["contact"] = "holds values outside of 0..1"
    for name in arrays.keys() & {"floor_sigma_m", "up_sigma_deg"}:
        if (arrays[name] < 0).any():
            found[name] = "holds negative values"
    return found
