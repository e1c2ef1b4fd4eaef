"""Saves what was estimated as a motion file, which is written as it goes."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from common.arrays import AnyArray
from common.camera import Camera
from common.errors import UserError
from common.files import check_unclaimed, check_writable, reason_of
from formats.motion import MOTION_VERSION, save_motion
from realtime.outputs.journal import SUFFIX, Journal
from realtime.outputs.motion_rows import RESULT_ROW, columns, fill_rows
from realtime.records import Result

_LOG = logging.getLogger(__name__)

FLUSH_S: Final = 0.5
"""So old the newest row on the disk may be: what a killed program loses."""
_CHUNK_ROWS: Final = 256
_LONGEST_NAME: Final = 255
"""Bytes of a file's name, on all common file systems."""


class MotionWriter:
    """Writes results beside ``path`` as they come (1 kB for each person and frame), and ``path`` itself when it is closed: then
    with the last, best vertical and floor in every frame, where the camera never turned.

    ``path`` is replaced in one step, so it never holds half a recording; without any result it stays as it was. A program
    that is killed leaves ``path`` + ".part", which ``python -m tools.rescue`` makes a motion file of. A disk that gets full
    loses nothing: rows stay in memory, and `close` looks for another place. ``write`` and ``close`` may come from different
    threads; ``fps`` may be corrected until `close`. Raises UserError when ``path`` cannot be written.
    """

    def __init__(self, path: str | Path, camera: Camera, fps: float, source: str, body_sha256: str) -> None:
        self.path = Path(path)
        check_writable(self.path)
        check_unclaimed(_named(self.path, SUFFIX))
        self._before = _state_of(self.path)
        self.fps = fps
        self.frames = 0
        """Frames written so far."""
        self.saved_at: Path | None = None
        """From `close` on: where the motion really is, `path` or another place; None where there is none."""
        self._about: dict[str, Any] = {
            "camera_matrix": camera.matrix,
            "source": np.str_(source),
            "body_sha256": np.str_(body_sha256),
            "version": np.int64(MOTION_VERSION),
        }
        self._lock = threading.Condition()
        self._rows = np.empty(_CHUNK_ROWS, RESULT_ROW)
        self._count = 0
        self._kept: list[AnyArray] = []  # what could not be written
        self._journal: Journal | None = None
        self._is_full = False
        self._flushed_s = 0.0
        self._closed = False
        threading.Thread(target=self._flush_the_last, name="flush motion", daemon=True).start()

    def __enter__(self) -> MotionWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def unfinished(self) -> Path | None:
        """Where the motion is before `close`; None as long as nothing is on the disk."""
        return None if self._journal is None else self._journal.path

    def write(self, result: Result) -> None:
        """Add one frame. Does nothing after ``close``."""
        with self._lock:
            if self._closed:
                return
            for body in result.people or (None,):
                fill_rows(self._next_row(), result, body)
            self.frames += 1
            if time.monotonic() - self._flushed_s > FLUSH_S:
                self._flush()
            elif self._count == 1:
                self._lock.notify()

    def close(self) -> None:
        """Write the file. Does nothing the second time. Raises UserError when it could not be written there, and says where it
        is instead."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._lock.notify()
            self._flush()
            rows = self._all_rows()
            if not len(rows):
                return
            self._save(
                {**columns(rows, self._about["camera_matrix"]), **self._about, "fps": np.asarray(self.fps, np.float64)}
            )

    def _save(self, arrays: Mapping[str, AnyArray]) -> None:
        folders: list[Callable[[], str | Path]] = [os.getcwd, tempfile.gettempdir]
        try:
            if _state_of(self.path) != self._before:
                folders.insert(0, lambda: self.path.parent)
                raise FileExistsError(errno.EEXIST, "written by another program meanwhile")
            save_motion(self.path, arrays)
        except FileExistsError as error:
            why = f"{self.path} was {error.strerror}"
        except OSError as error:
            why = f"cannot write {self.path} ({reason_of(error, self.path)})"
        else:
            self.saved_at = self.path
            self._discard_journal()
            return
        for find in folders:
            with contextlib.suppress(OSError):  # the current folder may be gone
                other = _unused(Path(find(), self.path.name.lstrip(".")))  # to be seen
                save_motion(other, arrays)
                self.saved_at = other
                self._discard_journal()
                raise UserError(f"{why}: the motion is in {other.absolute()} instead")
        if self._journal is not None and self._journal.path.exists() and not self._kept:
            raise UserError(f"{why}: free space, then python -m tools.rescue {self._journal.path}")
        raise UserError(f"{why}, nor anywhere else: the motion is lost")

    def _all_rows(self) -> AnyArray:
        written = np.zeros(0, RESULT_ROW)
        if self._journal is not None:
            written = self._journal.close()
        return np.concatenate([written, *self._kept])

    def _flush_the_last(self) -> None:
        """In a thread: bring rows to the disk that no later one follows, as when a camera is away for an hour."""
        with self._lock:
            while not self._closed:
                self._lock.wait_for(lambda: self._count or self._closed)
                self._lock.wait_for(lambda: self._closed, FLUSH_S)
                if not self._closed:
                    self._flush()

    def _flush(self) -> None:
        """Bring the rows in memory to the disk."""
        rows, self._count, self._flushed_s = self._rows[: self._count], 0, time.monotonic()
        if not len(rows):
            return
        if not self._is_full:
            try:
                if self._journal is None:
                    self._journal = self._start()
                self._journal.append(rows)
                return
            except OSError as error:
                self._is_full = True
                _LOG.warning(
                    f"{self.path} cannot be written as it goes ({reason_of(error, self.path)}): "
                    "the motion stays in memory until the end"
                )
        self._kept.append(rows.copy())

    def _start(self) -> Journal:
        path = _named(self.path, SUFFIX)
        if path.exists():
            with contextlib.suppress(UserError):  # another run has just begun
                check_unclaimed(path)
                _LOG.warning(f"{path} is left of a run that was killed: python -m tools.rescue {path}")
            path = _unused(self.path, SUFFIX)
        return Journal(path, {**self._about, "fps": np.asarray(self.fps, np.float64)})

    def _discard_journal(self) -> None:
        if self._journal is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._journal.path)

    def _next_row(self) -> np.void:
        if self._count == len(self._rows):
            self._flush()
        self._count += 1
        row: np.void = self._rows[self._count - 1]
        return row


def _state_of(path: Path) -> tuple[int, ...] | None:
    """What changes when somebody writes ``path``; None where it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _unused(path: Path, suffix: str = "") -> Path:
    """``path`` + ``suffix``, or the same with a number where that is taken: out.npz, out-2.npz."""
    number, free = 1, _named(path, suffix)
    while free.exists():
        number += 1
        free = _named(path, suffix, f"-{number}")
    return free


def _named(path: Path, suffix: str, number: str = "") -> Path:
    """``path`` with ``number`` before its own ending and ``suffix`` behind it; too long a name loses the end of its stem."""
    ending = f"{number}{path.suffix}{suffix}"
    stem = path.stem
    while len(os.fsencode(stem + ending)) > _LONGEST_NAME:  # a character has up to four bytes
        stem = stem[:-1]
    return path.with_name(stem + ending)
