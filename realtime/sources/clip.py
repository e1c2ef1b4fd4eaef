"""Clips: sources that are decoded when they are asked, so that every frame arrives."""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod

from typing_extensions import override

from common.arrays import ImageArray
from common.files import readable
from realtime.sources.source import FrameTimestamp, Source

_LOG = logging.getLogger(__name__)


class ClipSource(Source):
    """A source whose reading is split in two: `advance` finds the next frame, `render` converts it.

    A paced reader (see `realtime.sources.playback`) advances over frames that are late without paying for their
    conversion. A lock keeps ``close`` from freeing a decoder that another thread is in: a step takes milliseconds.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, live=False)
        self._lock = threading.Lock()
        self._is_open = False
        self._closed = False
        self._piece = 0
        self.remarks_made: set[str] = set()
        """What was said of the clip, by this one and by those that played it before: nothing is said again."""

    def _say(self, remark: str) -> None:
        """Log a one-line warning, unless it was made before."""
        if remark not in self.remarks_made:
            self.remarks_made.add(remark)
            _LOG.warning(readable(remark))

    @override
    def open(self) -> None:
        with self._lock:
            if not self._is_open and not self._closed:
                try:
                    self._open()
                except BaseException:
                    self._release()
                    raise
                self._is_open = True

    @override
    def close(self) -> None:
        self._closed = True  # before the lock: a reader that skips through damaged data looks at it
        with self._lock:
            self._is_open = False
            self._release()

    def advance(self) -> FrameTimestamp | None:
        """Go to the next frame. Returns its timestamp, or None at the end and after ``close``."""
        with self._lock:
            step = self._advance() if self._is_open else None
        return None if step is None else FrameTimestamp(step[0], time.monotonic_ns(), step[1], self._piece)

    def render(self, buffer: ImageArray) -> bool:
        """Write the frame that `advance` found into ``buffer``, uint8 (height, width, 3) BGR. False after ``close``.

        Raises ValueError for a buffer of another size.
        """
        self._check(buffer)
        with self._lock:
            if self._is_open:
                self._render(buffer)
            return self._is_open

    @override
    def read_into(self, buffer: ImageArray) -> FrameTimestamp | None:
        self._check(buffer)
        timestamp = self.advance()
        return timestamp if timestamp is not None and self.render(buffer) else None

    @abstractmethod
    def _open(self) -> None:
        """Open, and set ``size``, ``fps`` and ``frame_count``. Raises UserError."""

    @abstractmethod
    def _release(self) -> None:
        """Free what `_open` took, also after a half-done one."""

    @abstractmethod
    def _advance(self) -> tuple[int, float] | None:
        """Index and time in seconds of the next frame, None at the end."""

    @abstractmethod
    def _render(self, buffer: ImageArray) -> None:
        """Write the present frame into ``buffer``."""
