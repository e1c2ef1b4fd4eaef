"""A clip played as if it were a camera: in real time, and a reader that is too slow misses frames."""

from __future__ import annotations

import threading
import time
from typing import Protocol

from typing_extensions import override

from common.arrays import ImageArray
from realtime.sources.clip import ClipSource
from realtime.sources.source import FrameTimestamp, Source


class Clock(Protocol):
    """A clock that can be waited on. Tests replace it by one that they advance themselves."""

    def now_ns(self) -> int:
        """Monotonic nanoseconds."""
        ...

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Wait on ``condition``, whose lock is held, until it is notified or ``seconds`` are over."""
        ...


class MonotonicClock:
    """The real clock."""

    def now_ns(self) -> int:
        """The monotonic clock, nanoseconds."""
        return time.monotonic_ns()

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Wait for ``condition``, whose lock is held, or ``seconds``."""
        condition.wait(seconds)


class RealtimePlayback(Source):
    """Plays ``clip`` by its own timestamps, from the first read on, never faster.

    A frame whose successor is due already when the reader asks is passed over (decoded, not converted), as a camera
    would have overwritten it. Every read delivers something: a clip that decodes slower than it plays runs late instead
    of skipping for ever.
    """

    def __init__(self, clip: ClipSource, clock: Clock | None = None) -> None:
        super().__init__(clip.name, live=True)
        self._clip = clip
        self._clock: Clock = MonotonicClock() if clock is None else clock
        self._changed = threading.Condition()
        self._closing = False
        self._start_ns: int | None = None

    @override
    def open(self) -> None:
        self._clip.open()
        self.size, self.fps, self.frame_count = self._clip.size, self._clip.fps, self._clip.frame_count

    @override
    def wind(self, seconds: float) -> bool:
        return self._clip.wind(seconds)

    @override
    def place_in_clip(self, timestamp: FrameTimestamp) -> tuple[int, float]:
        return self._clip.place_in_clip(timestamp)

    @override
    def read_into(self, buffer: ImageArray) -> FrameTimestamp | None:
        self._check(buffer)
        asked_ns = self._clock.now_ns()
        timestamp = self._clip.advance()
        if timestamp is not None and self._start_ns is None:
            self._start_ns = asked_ns - round(timestamp.time_s * 1e9)
        while timestamp is not None and self._due_ns(timestamp.time_s + 1.0 / self.fps) <= asked_ns:
            timestamp = self._clip.advance()
        if timestamp is None or not self._clip.render(buffer) or not self._wait_until(self._due_ns(timestamp.time_s)):
            return None
        return timestamp._replace(captured_ns=self._clock.now_ns())

    @override
    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._clip.close()

    def _due_ns(self, time_s: float) -> int:
        assert self._start_ns is not None, "the first frame starts the clock"
        return self._start_ns + round(time_s * 1e9)

    def _wait_until(self, due_ns: int) -> bool:
        """Wait for the moment ``due_ns``. False when the source was closed."""
        with self._changed:
            while not self._closing:
                left_ns = due_ns - self._clock.now_ns()
                if left_ns <= 0:
                    return True
                self._clock.wait(self._changed, left_ns * 1e-9)
        return False
