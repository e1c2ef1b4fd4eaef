"""How long the GPU works for a run, beside how long queueing it takes."""

from __future__ import annotations

import time
from typing import NamedTuple

from engines.cuda.port import Cuda, Stream


class RunTimes(NamedTuple):
    """Times of one run, ms."""

    queue_ms: float
    """Duration of queueing copies and networks on the host."""
    gpu_ms: float
    """Duration of copies and networks on the GPU, by events before and after them."""


class RunTimer:
    """Times the work that is queued on a stream between `begin` and `end`. Used in threads in which ``cuda`` is active."""

    def __init__(self, cuda: Cuda) -> None:
        self._marks = cuda.event(timed=True), cuda.event(timed=True)
        self._began_s = self._queued_s = 0.0

    def begin(self, stream: Stream) -> None:
        """What comes next is timed."""
        self._began_s = time.perf_counter()
        self._marks[0].record(stream)

    def end(self, stream: Stream) -> None:
        """All that is timed has been queued."""
        self._marks[1].record(stream)
        self._queued_s = time.perf_counter()

    def times(self) -> RunTimes:
        """Of the last run, which must be done. Raises `engines.cuda.port.CudaError`."""
        return RunTimes(1e3 * (self._queued_s - self._began_s), self._marks[1].ms_since(self._marks[0]))

    def close(self) -> None:
        """Give the events back. Closing twice is harmless."""
        for mark in self._marks:
            mark.close()
