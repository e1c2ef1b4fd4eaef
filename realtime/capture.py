"""The capture thread: reads a source and decides which of its frames are processed."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from realtime.frame_ring import FrameRing
from realtime.measure import Meter
from realtime.queues import DropPolicy, SingleSlotQueue
from realtime.records import Frame
from realtime.sources.source import Source


class Capture:
    """Reads frames into a ring and hands each on, or drops it: frames are dropped here and nowhere else.

    Args:
        source: opened.
        frames: where the images are written.
        meter: counts frames and drops.
        policy: whether each frame waits for its turn (files) or a newer one replaces it (cameras).
        max_frames: stop after so many frames. None: at the end of the source.
        max_seconds: stop after so many seconds of the source's own time.
        paced: a file is not read faster than it plays, because somebody is watching.
    """

    def __init__(
        self,
        source: Source,
        frames: FrameRing,
        meter: Meter,
        policy: DropPolicy,
        max_frames: int | None,
        max_seconds: float | None,
        paced: bool,
    ) -> None:
        self._source, self._frames, self._meter, self._policy = source, frames, meter, policy
        self._max_frames, self._max_seconds, self._paced = max_frames, max_seconds, paced
        self._running = threading.Event()
        self._running.set()
        self._stop = threading.Event()
        self._first_s: float | None = None
        self._began_ns = 0
        self.waiting: SingleSlotQueue[Frame] = SingleSlotQueue()
        """The next frame to be processed, held; closed after the last one."""

    def pause(self, paused: bool) -> None:
        """Hand on no more frames, or go on. A live source keeps being read, so that it does not fall behind."""
        if paused:
            self._running.clear()
        else:
            self._running.set()

    @property
    def paused(self) -> bool:
        """Whether no frames are handed on."""
        return not self._running.is_set()

    def stop(self) -> None:
        """End early, also in the middle of a read."""
        self._stop.set()
        self._running.set()
        self._source.close()
        self._frames.close()
        self.waiting.close()

    def run(self) -> None:
        """Read until the source ends, a limit is reached or `stop` is called."""
        taken = 0
        try:
            while not self._stop.is_set():
                if self._policy is DropPolicy.WAIT:
                    self._running.wait()
                with self._meter.stage("capture"):
                    frame, ended = self._frames.capture(self._source.read_into, self._policy)
                if ended:
                    break
                self._meter.frames_in += 1
                # A file that is paused stops before it reads; what it has read by then must not be lost.
                if frame is None or (self.paused and self._policy is DropPolicy.NEWEST):
                    self._meter.frames_dropped += 1
                    if frame is not None:
                        self._frames.release(frame)
                    continue
                if self._first_s is None:
                    self._first_s, self._began_ns = frame.time_s, frame.captured_ns
                played_s = frame.time_s - self._first_s
                if self._max_seconds is not None and played_s >= self._max_seconds:
                    self._meter.frames_in -= 1
                    self._frames.release(frame)
                    break
                self._hand_on(self._in_its_time(frame, played_s) if self._paced else frame)
                taken += 1
                if self._max_frames is not None and taken >= self._max_frames:
                    break
        finally:
            self.waiting.close()

    def _in_its_time(self, frame: Frame, played_s: float) -> Frame:
        """Wait until a player would show ``frame``, ``played_s`` after the first one, and set its capture time to that
        moment."""
        early_s = played_s - (time.monotonic_ns() - self._began_ns) * 1e-9
        if early_s > 0:
            self._stop.wait(early_s)
        else:  # slower than it plays: go on from here instead of playing faster to catch up
            self._began_ns -= round(early_s * 1e9)
        return replace(frame, captured_ns=time.monotonic_ns())

    def _hand_on(self, frame: Frame) -> None:
        if self._policy is DropPolicy.WAIT:
            self.waiting.put(frame)
            return
        dropped = self.waiting.replace(frame)
        if dropped is not None:
            self._meter.frames_dropped += 1
            self._frames.release(dropped)
