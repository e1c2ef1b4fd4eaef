"""The part of CUDA that engines need, independent of the Python package that wraps the driver.

Everything here works in the primary context, the one that TensorRT uses as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from common.arrays import AnyArray
from engines.engine import EngineError


class CudaError(EngineError):
    """The driver refused a call. The message is one line."""


class OutOfGpuMemoryError(CudaError):
    """The GPU, or the pinned memory of the host, is full."""


class Event(Protocol):
    """A mark in a stream's work."""

    def record(self, stream: Stream) -> None:
        """Put the mark behind all that is queued on ``stream``; it is no longer where it was before."""

    def is_done(self) -> bool:
        """Whether the GPU has come to the mark, or it was never put. Does not wait. Raises `CudaError` when work failed."""

    def synchronise(self) -> None:
        """Sleep until the GPU has come to the mark. Raises `CudaError` when work before it failed."""

    def ms_since(self, earlier: Event) -> float:
        """Milliseconds that the GPU took from ``earlier`` to this mark. Both must be timed and done. Raises `CudaError`."""

    def close(self) -> None:
        """Give the event back. Closing twice is harmless."""


class Stream(Protocol):
    """Work that the GPU does in order, beside that of other streams."""

    @property
    def handle(self) -> int:
        """The driver's handle, as TensorRT takes it."""

    def synchronise(self) -> None:
        """Sleep until everything queued so far is done. Raises `CudaError` when any of it failed."""

    def wait_for(self, event: Event) -> None:
        """Let what is queued from now on wait, on the GPU, until ``event`` is reached where it is marked now."""

    def close(self) -> None:
        """Give the stream back. Closing twice is harmless."""


class DeviceMemory(Protocol):
    """A block of GPU memory."""

    @property
    def address(self) -> int:
        """Where the block begins, as the driver and TensorRT take it."""

    def close(self) -> None:
        """Free the block. Closing twice is harmless."""


class PinnedMemory(Protocol):
    """Page-locked host memory, which the GPU reads and writes while the CPU does something else.

    ``bytes`` is a flat uint8 array over it. It, and every view of it, dies with `close`.
    """

    @property
    def address(self) -> int:
        """Where the GPU finds the block, which it can read and write without a copy."""

    @property
    def bytes(self) -> AnyArray:
        """The block as a flat uint8 array."""

    def close(self) -> None:
        """Free the block. Closing twice is harmless."""


class Graph(Protocol):
    """Recorded work that one call queues again."""

    def launch(self, stream: Stream) -> None:
        """Queue the recorded work on ``stream``."""

    def close(self) -> None:
        """Give the graph back. Closing twice is harmless."""


class Cuda(Protocol):
    """The CUDA driver through one Python package. All calls but `activate` must be made in a thread that called `activate`.

    Raises `CudaError`, and `OutOfGpuMemoryError` where memory is asked for.
    """

    name: str
    """The Python package behind it."""

    def activate(self) -> None:
        """Make the primary context current in this thread. It is pushed once, and popped when the thread ends."""

    def stream(self, urgent: bool = False) -> Stream:
        """Make a stream of its own; the GPU takes the work of an ``urgent`` one first, where this package can say so."""

    def event(self, timed: bool = False) -> Event:
        """Make an event; a ``timed`` one knows when the GPU has come to it, which costs a little."""

    def device_memory(self, size: int) -> DeviceMemory:
        """Allocate ``size`` bytes on the GPU."""

    def pinned_memory(self, size: int) -> PinnedMemory:
        """Allocate ``size`` bytes of page-locked host memory."""

    def copy_in(self, memory: DeviceMemory, pinned: AnyArray, stream: Stream) -> None:
        """Queue a copy of ``pinned`` (contiguous) to the start of ``memory``."""

    def copy_out(self, pinned: AnyArray, memory: DeviceMemory, stream: Stream) -> None:
        """Queue a copy of the start of ``memory`` into ``pinned`` (contiguous)."""

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph | None:
        """Record what ``work`` queues on ``stream``, without doing it. None where there are no graphs.

        Raises `CudaError` when ``work`` does something that cannot be recorded; the stream can be used again.
        """
