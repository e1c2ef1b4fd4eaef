"""Live sources: a thread of their own empties the device, so that the reader always gets the newest frame.

A driver or a network library queues frames: who reads slower than they come falls seconds behind. And a device that
hangs cannot be interrupted from outside. So one thread owns the device from opening to release and does nothing but
empty it; readers wait on a condition that `close` can signal.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator

from typing_extensions import override

from common.arrays import ImageArray
from common.errors import UserError
from realtime.sources.pixels import fit_into
from realtime.sources.source import FrameTimestamp, Source, State

_LOG = logging.getLogger(__name__)

_JOIN_S = 0.7
_STALLED_S = 2.0
_FIRST_GAP_S = 0.5
_LARGEST_GAP_S = 5.0


class ThreadedCapture(Source):
    """A live source whose subclass delivers frames from a thread.

    ``open`` waits at most ``open_timeout_s`` seconds (None: for ever) for the first frame, which gives the size. Frames
    of another size are fitted into it, with a warning. A source that breaks off is tried again for ``retry_s`` seconds,
    None: until it is closed.
    """

    def __init__(self, name: str, open_timeout_s: float | None, retry_s: float | None = None) -> None:
        super().__init__(name, live=True)
        self._open_timeout_s = open_timeout_s
        self._retry_s = retry_s
        self._is_lost = False
        self._is_trying = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._ended = False
        self._error: BaseException | None = None
        self._newest: ImageArray | None = None
        self._timestamp = FrameTimestamp(-1, 0, 0.0)
        self._read_index = -1
        self._published_ns = 0
        self._size_noticed = False

    @override
    def open(self) -> None:
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._run, name=f"grab {self.name}", daemon=True)
        self._thread.start()
        try:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._newest is not None or self._ended or self._closing, self._open_timeout_s
                )
                if self._newest is None and not self._closing:
                    raise self._error or UserError(
                        f"{self.name} delivers no frames: check that it is on and not in use"
                    )
        except BaseException:
            self.close()
            raise

    @override
    @property
    def state(self) -> State:
        if self._newest is None or self._is_trying:
            return "connecting"
        if self._is_lost:
            return "lost"
        return "live" if time.monotonic_ns() - self._published_ns < _STALLED_S * 1e9 else "stalled"

    @override
    def read_into(self, buffer: ImageArray) -> FrameTimestamp | None:
        self._check(buffer)
        with self._changed:
            self._changed.wait_for(lambda: self._timestamp.index > self._read_index or self._ended or self._closing)
            if self._closing:
                return None
            if self._timestamp.index > self._read_index and self._newest is not None:
                self._read_index = self._timestamp.index
                fit_into(self._newest, buffer)
                return self._timestamp
            if self._error is not None:
                raise self._error
            return None

    @override
    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        # A device that hangs is let go by its own thread when it wakes up: freeing it from here would crash.
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)

    @abstractmethod
    def _deliver(self) -> None:
        """Open the device, `_publish` frames until ``_closing``, release it. Runs in the thread.

        Returns at the end of a source that has one. Raises UserError.
        """

    def _publish(self, image: ImageArray, captured_ns: int, time_s: float, skipped: int = 0) -> ImageArray | None:
        """Make ``image``, uint8 (h, w, 3) BGR, the newest frame. ``skipped`` frames before it were dropped here. Returns
        an array that may be overwritten now."""
        height, width = image.shape[:2]
        with self._changed:
            if self.size == (0, 0):
                self.size = (width, height)
            elif self.size != (width, height) and not self._size_noticed:
                self._size_noticed = True
                _LOG.warning(
                    f"{self.name} changes from {self.size[0]}x{self.size[1]} to {width}x{height}; "
                    "frames are fitted into the first size"
                )
            retired, self._newest = self._newest, image
            self._is_lost = self._is_trying = False
            self._published_ns = time.monotonic_ns()
            self._timestamp = FrameTimestamp(self._timestamp.index + 1 + skipped, captured_ns, time_s)
            self._changed.notify_all()
        return retired if retired is not None and retired.shape == image.shape else None

    def _pause(self, seconds: float) -> bool:
        """Wait in the thread, or until ``close``. Returns whether to go on."""
        with self._changed:
            return not self._changed.wait_for(lambda: self._closing, seconds)

    def _attempts(self) -> Iterator[float]:
        """Seconds since the source was lost, whenever it should be tried again: after growing gaps. Ends when the source is
        closed, and when trying is over."""
        lost_ns = time.monotonic_ns()
        gap_s = _FIRST_GAP_S
        self._is_lost = True
        while True:
            self._is_trying = False
            past_s = (time.monotonic_ns() - lost_ns) * 1e-9
            left_s = _LARGEST_GAP_S if self._retry_s is None else self._retry_s - past_s
            if left_s <= 0 or not self._pause(min(gap_s, left_s)):
                return
            self._is_trying = True  # until a frame comes, or the next gap begins
            yield (time.monotonic_ns() - lost_ns) * 1e-9
            gap_s = min(2 * gap_s, _LARGEST_GAP_S)

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            self._deliver()
        except BaseException as raised:  # handed to the reader, whatever it is
            error = raised
        with self._changed:
            self._error = error
            self._ended = True
            self._changed.notify_all()
