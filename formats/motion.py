"""Motion files: everything that was estimated of a recording, as one NumPy archive."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from body.errors import BodyError
from body.model import DATA, BodyArrays, load_body
from common.arrays import AnyArray, FloatArray
from common.errors import UserError
from common.files import write_atomically

VERSION = 1

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
ROW_HEAD = np.dtype([("frame", np.int64), ("time_s", np.float64), ("person", np.int64)])
ROW = np.dtype(ROW_HEAD.descr + [(name, np.float32, shape) for name, shape in ROW_SHAPES.items()])
"""One person in one frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """A motion file. One row for each person in each frame, N rows; a frame where nobody was seen has one row with
    ``person`` -1 and NaN in every float32 array. Frames that the source dropped have no row.

    ``frame`` (N,) int64 index in the source, not decreasing; ``time_s`` (N,) float64 seconds of the source; ``person``
    (N,) int64, the same number for as long as a person is tracked. float32: ``joints_m`` (N, 24, 3) metres, camera frame
    (x right, y down, z forward); ``joints_px`` (N, 24, 2) the same in image pixels; ``keypoints_px`` (N, 17, 2) COCO
    keypoints as detected, pixels; ``keypoint_confidence`` (N, 17) in 0..1; ``global_orient`` (N, 3) and ``body_pose``
    (N, 23, 3) axis-angle, radians; ``betas`` (N, 10); ``transl`` (N, 3) pelvis, metres, camera frame.

    ``camera_matrix`` (3, 3) float64 pixels; ``fps`` nominal rate of the source; ``source`` its name; ``body_sha256`` of
    the body model that the pose parameters belong to; ``version`` of this format.
    """

    frame: NDArray[np.int64]
    time_s: NDArray[np.float64]
    person: NDArray[np.int64]
    joints_m: FloatArray
    joints_px: FloatArray
    keypoints_px: FloatArray
    keypoint_confidence: FloatArray
    global_orient: FloatArray
    body_pose: FloatArray
    betas: FloatArray
    transl: FloatArray
    camera_matrix: NDArray[np.float64]
    fps: float
    source: str
    body_sha256: str
    version: int


def save_motion(path: Path, arrays: Mapping[str, AnyArray]) -> None:
    """Write ``arrays``, named as the fields of `Motion`, whole or not at all. Raises ``OSError`` when that fails."""
    with write_atomically(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


def load_motion(path: str | Path) -> Motion:
    """Read a motion file. Raises UserError for a missing or damaged file, another format or a newer version."""
    path = Path(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, np.lib.npyio.NpzFile):  # an .npy file gives the array itself
            raise UserError(f"{path} is no motion file: it holds a single array")
        with loaded as archive:
            missing = [field.name for field in fields(Motion) if field.name not in archive.files]
            if missing:
                raise UserError(f"{path} is no motion file: it lacks {', '.join(missing)}; record one with --save")
            arrays = {field.name: archive[field.name] for field in fields(Motion)}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is damaged or no motion file ({' '.join(str(error).split())})") from None
    _validate(arrays, path)
    scalars: dict[str, Any] = {
        "fps": float(arrays["fps"]),
        "source": str(arrays["source"]),
        "body_sha256": str(arrays["body_sha256"]),
        "version": int(arrays["version"]),
    }
    everything: dict[str, Any] = {**arrays, **scalars}
    return Motion(**everything)


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


def _validate(arrays: dict[str, NDArray[np.generic]], path: Path) -> None:
    version = arrays["version"]
    if version.shape != () or version.dtype.kind not in "iu":
        raise UserError(f"{path} is no motion file: its version is no number")
    if int(version) != VERSION:
        raise UserError(f"{path} has format version {int(version)}, this program reads {VERSION}: use a matching one")
    count = len(arrays["frame"]) if arrays["frame"].ndim == 1 else -1
    want: dict[str, tuple[tuple[int, ...], np.dtype[np.generic]]] = {
        name: ((count, *ROW[name].shape), ROW[name].base) for name in ROW.names or ()
    }
    want |= {"camera_matrix": ((3, 3), np.dtype(np.float64)), "fps": ((), np.dtype(np.float64))}
    for name, (shape, dtype) in want.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != dtype:
            raise UserError(
                f"{path} is no valid motion file: {name} is {array.dtype} {array.shape}, wanted {dtype} {shape}"
            )
    for name in ("source", "body_sha256"):
        if arrays[name].shape != () or arrays[name].dtype.kind != "U":
            raise UserError(f"{path} is no valid motion file: {name} is no text")
