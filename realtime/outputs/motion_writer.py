"""Collects what was estimated and saves it as a motion file."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from common.camera import Camera
from common.errors import UserError
from common.files import check_writable
from formats.motion import ROW, ROW_SHAPES, VERSION, save_motion
from realtime.records import Result


class MotionWriter:
    """Collects results in memory (1 kB for each person and frame) and writes ``path`` when it is closed.

    ``path`` is replaced in one step, so it never holds half a recording; without any result it stays as it was. ``write``
    and ``close`` may come from different threads. Raises UserError when ``path`` cannot be written.
    """

    def __init__(self, path: str | Path, camera: Camera, fps: float, source: str, body_sha256: str) -> None:
        self.path = Path(path)
        check_writable(self.path)
        self._about: dict[str, Any] = {
            "camera_matrix": camera.matrix,
            "fps": np.float64(fps),
            "source": np.str_(source),
            "body_sha256": np.str_(body_sha256),
            "version": np.int64(VERSION),
        }
        self._lock = threading.Lock()
        self._rows = np.empty(1024, ROW)
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
                    for name in ROW_SHAPES:
                        row[name] = np.nan
                    continue
                row["person"] = body.person
                row["joints_m"], row["joints_px"] = body.joints, result.camera.project(body.joints)
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
            arrays: dict[str, Any] = {name: np.ascontiguousarray(rows[name]) for name in ROW.names or ()}
            try:
                save_motion(self.path, {**arrays, **self._about})
            except OSError as error:
                raise UserError(f"cannot write {self.path} ({error.strerror}): the motion is lost") from None

    def _next_row(self) -> np.void:
        if self._count == len(self._rows):
            larger = np.empty(2 * len(self._rows), ROW)
            larger[: self._count] = self._rows
            self._rows = larger
        self._count += 1
        row: np.void = self._rows[self._count - 1]
        return row
