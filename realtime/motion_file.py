"""Motion files: everything that was estimated of a recording, as one NumPy archive."""

from __future__ import annotations

import os
import threading
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from body.errors import BodyError
from body.model import DATA, BodyArrays, load_body
from realtime.errors import UserError
from realtime.recording import check_writable
from realtime.records import Camera, FloatArray, Result

VERSION = 1

# Shape of one row of each array in float32.
_ROWS: dict[str, tuple[int, ...]] = {
    "joints_m": (24, 3),
    "joints_px": (24, 2),
    "keypoints_px": (17, 2),
    "keypoint_confidence": (17,),
    "global_orient": (3,),
    "body_pose": (23, 3),
    "betas": (10,),
    "transl": (3,),
}
_HEAD = np.dtype([("frame", np.int64), ("time_s", np.float64), ("person", np.int64)])
_ROW = np.dtype(_HEAD.descr + [(name, np.float32, shape) for name, shape in _ROWS.items()])


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


class MotionWriter:
    """Collects results in memory (1 kB for each person and frame) and writes ``path`` when it is closed.

    ``path`` is replaced in one step, so it never holds half a recording; without any result it stays as it was. ``write``
    and ``close`` may come from different threads. Raises UserError when ``path`` cannot be written.
    """

    def __init__(self, path: str | Path, camera: Camera, fps: float, source: str, body_sha256: str) -> None:
        self.path = Path(path)
        check_writable(self.path)
        self._about = {
            "camera_matrix": camera.matrix,
            "fps": np.float64(fps),
            "source": np.str_(source),
            "body_sha256": np.str_(body_sha256),
            "version": np.int64(VERSION),
        }
        self._lock = threading.Lock()
        self._rows = np.empty(1024, _ROW)
        self._count = 0
        self._closed = False

    def __enter__(self) -> MotionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, result: Result) -> None:
        """Add one frame. Does nothing after ``close``."""
        with self._lock:
            if self._closed:
                return
            for body in result.people or (None,):
                row = self._next_row()
                row["frame"], row["time_s"] = result.frame.sequence, result.frame.time_s
                if body is None:
                    row["person"] = -1
                    for name in _ROWS:
                        row[name] = np.nan
                    continue
                row["person"] = body.person
                row["joints_m"], row["joints_px"] = body.joints, _project(body.joints, result.camera)
                row["keypoints_px"], row["keypoint_confidence"] = body.keypoints.points, body.keypoints.confidence
                row["global_orient"], row["body_pose"] = body.global_orient, body.body_pose
                row["betas"], row["transl"] = body.betas, body.transl

    def close(self) -> None:
        """Write the file. Does nothing the second time. Raises UserError when that fails (disk full)."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._count:
                return
            rows = self._rows[: self._count]
            arrays: dict[str, Any] = {name: np.ascontiguousarray(rows[name]) for name in _ROW.names or ()}
            try:
                self._save({**arrays, **self._about})
            except OSError as error:
                raise UserError(f"cannot write {self.path} ({error.strerror}): the motion is lost") from None

    def _next_row(self) -> np.void:
        if self._count == len(self._rows):
            larger = np.empty(2 * len(self._rows), _ROW)
            larger[: self._count] = self._rows
            self._rows = larger
        self._count += 1
        row: np.void = self._rows[self._count - 1]
        return row

    def _save(self, arrays: dict[str, Any]) -> None:
        """Write beside the target, then put it in place: a crash in between leaves the old file."""
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            with partial.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
            os.replace(partial, self.path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise


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
        name: ((count, *_ROW[name].shape), _ROW[name].base) for name in _ROW.names or ()
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


def _project(joints: FloatArray, camera: Camera) -> NDArray[np.float64]:
    """(24, 3) metres in the camera frame to (24, 2) pixels; NaN for joints that are not in front of the camera."""
    z = np.where(joints[:, 2:] > 1e-6, joints[:, 2:], np.nan).astype(np.float64)
    return joints[:, :2] / z * (camera.fx, camera.fy) + (camera.cx, camera.cy)
