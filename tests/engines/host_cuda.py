"""CUDA in host memory, in Python: a `Cuda` port whose streams do nothing until they are waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.arrays import AnyArray
from engines.cuda.port import CudaError, OutOfGpuMemoryError
from engines.cuda.threads import OncePerThread


class HostCuda:
    """``limit`` is the size of the GPU's memory, bytes; ``graphs`` whether it can capture.

    ``captures`` counts graphs, ``launches`` their runs, ``waits`` those for a stream, ``copies`` the queued or recorded ones;
    ``clock_ms`` is the time of events: a copy takes a millisecond, all else takes none;
    ``urgent`` says of each stream whether it is; ``left`` lists the threads that gave
    the context back. Also the `Device` of a TensorRT double.
    """

    name = "host"

    def __init__(self, limit: int = 1 << 30, graphs: bool = True) -> None:
        self.limit, self.graphs = limit, graphs
        self.memory: dict[int, NDArray[np.uint8]] = {}
        self.queues: dict[int, list[Callable[[], None]]] = {}
        self.pinned: list[NDArray[np.uint8]] = []
        self.recording: list[Callable[[], None]] | None = None
        self.captures = self.launches = self.waits = self.copies = self.clock_ms = 0
        self.urgent: list[bool] = []
        self.refuse_capture = False
        self._current = threading.local()
        self._next = 1 << 52
        self.activate = OncePerThread(self._push, self._pop)
        self.left: list[int] = []

    def _push(self) -> None:
        self._current.depth = getattr(self._current, "depth", 0) + 1
        assert self._current.depth == 1, "pushed more than once"

    def _pop(self) -> None:
        self.left.append(threading.get_ident())

    def need_context(self) -> None:
        if not getattr(self._current, "depth", 0):
            raise CudaError("CUDA cannot do this: invalid device context")

    def stream(self, urgent: bool = False) -> _Stream:
        self.need_context()
        self.urgent.append(urgent)
        self._next += 512
        self.queues[self._next] = []
        return _Stream(self, self._next)

    def event(self, timed: bool = False) -> _Event:
        self.need_context()
        return _Event(self, timed)

    def device_memory(self, size: int) -> _Block:
        self.need_context()
        if sum(block.size for block in self.memory.values()) + size > self.limit:
            raise OutOfGpuMemoryError(f"CUDA cannot allocate {size / 1e6:.1f} MB on the GPU: out of memory")
        address = self._next = self._next + 512
        self._next += size
        self.memory[address] = np.full(size, 0xCD, np.uint8)
        return _Block(self, address)

    def pinned_memory(self, size: int) -> _Pinned:
        self.need_context()
        block = np.full(size, 0xCE, np.uint8)
        self.pinned.append(block)
        return _Pinned(self, block)

    def copy_in(self, memory: Any, pinned: AnyArray, stream: Any) -> None:
        self.need_context()
        self.copies += 1
        flat = pinned.reshape(-1).view(np.uint8)
        assert flat.base is not None, "a temporary would be gone before the copy"
        self.enqueue(stream.handle, lambda: self._copy(self.view(memory.address, flat.size), flat))

    def copy_out(self, pinned: AnyArray, memory: Any, stream: Any) -> None:
        self.need_context()
        self.copies += 1
        flat = pinned.reshape(-1).view(np.uint8)
        self.enqueue(stream.handle, lambda: self._copy(flat, self.view(memory.address, flat.size)))

    def _copy(self, to: NDArray[np.uint8], source: NDArray[np.uint8]) -> None:
        np.copyto(to, source)
        self.clock_ms += 1

    def capture(self, stream: Any, work: Callable[[], None]) -> _Graph | None:
        if not self.graphs:
            return None
        self.recording = []
        try:
            work()
            if self.refuse_capture:
                raise CudaError("CUDA cannot record a graph: operation not permitted when stream is capturing")
            self.captures += 1
            return _Graph(self, self.recording)
        finally:
            self.recording = None

    def view(self, address: int, size: int) -> NDArray[np.uint8]:
        for start, block in self.memory.items():
            if start <= address and address + size <= start + block.size:
                return block[address - start : address - start + size]
        for block in self.pinned:  # the GPU sees it where the host does
            start = block.ctypes.data
            if start <= address and address + size <= start + block.size:
                return block[address - start : address - start + size]
        raise CudaError(f"illegal address {address}")

    def enqueue(self, stream_handle: int, work: Callable[[], None]) -> bool:
        (self.queues[stream_handle] if self.recording is None else self.recording).append(work)
        return True


class _Stream:
    def __init__(self, cuda: HostCuda, handle: int) -> None:
        self._cuda, self.handle = cuda, handle

    def synchronise(self) -> None:
        self._cuda.need_context()
        self._cuda.waits += 1
        queue = self._cuda.queues[self.handle]
        while queue:
            queue.pop(0)()

    def wait_for(self, event: Any) -> None:
        self._cuda.enqueue(self.handle, event.synchronise_without_waiting(event.marks))

    def close(self) -> None:
        self._cuda.need_context()
        self._cuda.queues.pop(self.handle, None)


class _Event:
    def __init__(self, cuda: HostCuda, timed: bool) -> None:
        self._cuda, self._timed, self._at_ms = cuda, timed, 0
        self.marks, self._reached, self._handle = 0, 0, 0

    def record(self, stream: Any) -> None:
        self._cuda.need_context()
        assert self._cuda.recording is None, "a recorded graph would mark nothing"
        self.marks += 1
        self._handle, mark = stream.handle, self.marks
        self._cuda.enqueue(stream.handle, lambda: self._reach(mark))

    def _reach(self, mark: int) -> None:
        self._reached, self._at_ms = mark, self._cuda.clock_ms

    def ms_since(self, earlier: Any) -> float:
        if not (self._timed and earlier._timed and self.is_done() and earlier.is_done()):
            raise CudaError("CUDA cannot tell the time: invalid resource handle")
        return float(self._at_ms - earlier._at_ms)

    def is_done(self) -> bool:
        self._cuda.need_context()
        return self._reached == self.marks

    def synchronise(self) -> None:
        self._cuda.need_context()
        self._cuda.waits += 1
        self.synchronise_without_waiting(self.marks)()

    def synchronise_without_waiting(self, mark: int) -> Callable[[], None]:
        """What brings the stream to the event's present mark."""
        handle = self._handle

        def work() -> None:
            while self._reached < mark:
                self._cuda.queues[handle].pop(0)()

        return work

    def close(self) -> None:
        self._cuda.need_context()


class _Block:
    def __init__(self, cuda: HostCuda, address: int) -> None:
        self._cuda, self.address = cuda, address

    def close(self) -> None:
        self._cuda.need_context()
        self._cuda.memory.pop(self.address, None)


class _Pinned:
    def __init__(self, cuda: HostCuda, block: NDArray[np.uint8]) -> None:
        self._cuda, self.bytes, self.address = cuda, block, block.ctypes.data

    def close(self) -> None:
        self._cuda.need_context()
        self._cuda.pinned = [block for block in self._cuda.pinned if block is not self.bytes]


class _Graph:
    def __init__(self, cuda: HostCuda, work: list[Callable[[], None]]) -> None:
        self._cuda, self._work = cuda, work

    def launch(self, stream: Any) -> None:
        self._cuda.launches += 1
        self._cuda.queues[stream.handle].extend(self._work)

    def close(self) -> None:
        self._work = []
