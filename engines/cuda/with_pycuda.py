"""The driver through pycuda. It knows no CUDA graphs, which the driver's own library records, and no priorities."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import numpy as np

from common.arrays import AnyArray
from engines.cuda.graphs import DriverGraphs
from engines.cuda.port import CudaError, DeviceMemory, Event, Graph, OutOfGpuMemoryError, PinnedMemory, Stream
from engines.cuda.threads import OncePerThread
from engines.engine import RuntimeMissingError
from engines.onnx_file import explain

_NON_BLOCKING = 1


class PyCuda:
    """`engines.cuda.port.Cuda` with pycuda. One a process: see `pycuda_port`.

    Raises `RuntimeMissingError` when the package is missing or does not start.
    """

    name = "pycuda"

    def __init__(self) -> None:
        """Start the driver and take hold of the primary context."""
        try:
            # Never pycuda.autoinit: it makes a context of its own, in which TensorRT's memory is not known.
            import pycuda.driver
        except Exception as error:  # a libcuda that lacks a function shows as ImportError, a bad build as others
            raise RuntimeMissingError(f"pycuda does not start ({explain(error)}): pip install pycuda") from error
        self._cuda: Any = pycuda.driver
        with _cuda_errors("start", RuntimeMissingError):
            self._cuda.init()
            context = self._cuda.Device(0).retain_primary_context()
        # Left to its destructor, pycuda detaches the primary context as if it were one of its own, which fails.
        atexit.register(context.detach)
        self.activate = OncePerThread(context.push, context.pop)
        self._graphs: DriverGraphs | None = None
        with suppress(CudaError):  # a driver without them
            self._graphs = DriverGraphs()

    def stream(self, urgent: bool = False) -> Stream:
        """See `engines.cuda.port.Cuda.stream`. All are equally urgent: pycuda makes no others."""
        with _cuda_errors("make a stream"):
            return _Stream(self._cuda)

    def event(self, timed: bool = False) -> Event:
        """See `engines.cuda.port.Cuda.event`."""
        with _cuda_errors("make an event"):
            return _Event(self._cuda, timed)

    def device_memory(self, size: int) -> DeviceMemory:
        """See `engines.cuda.port.Cuda.device_memory`."""
        with _cuda_errors(f"allocate {size / 1e6:.1f} MB on the GPU"):
            return _DeviceMemory(self._cuda.mem_alloc(max(size, 1)))

    def pinned_memory(self, size: int) -> PinnedMemory:
        """See `engines.cuda.port.Cuda.pinned_memory`."""
        with _cuda_errors(f"allocate {size / 1e6:.1f} MB of pinned memory"):
            mapped = self._cuda.host_alloc_flags.DEVICEMAP
            return _PinnedMemory(self._cuda.pagelocked_empty(max(size, 1), np.uint8, mem_flags=mapped))

    def copy_in(self, memory: DeviceMemory, pinned: AnyArray, stream: Stream) -> None:
        """See `engines.cuda.port.Cuda.copy_in`."""
        assert isinstance(stream, _Stream)
        with _cuda_errors("copy to the GPU"):
            self._cuda.memcpy_htod_async(memory.address, pinned, stream.stream)

    def copy_out(self, pinned: AnyArray, memory: DeviceMemory, stream: Stream) -> None:
        """See `engines.cuda.port.Cuda.copy_out`."""
        assert isinstance(stream, _Stream)
        with _cuda_errors("copy from the GPU"):
            self._cuda.memcpy_dtoh_async(pinned, memory.address, stream.stream)

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph | None:
        """See `engines.cuda.port.Cuda.capture`."""
        return None if self._graphs is None else self._graphs.capture(stream, work)


@cache
def pycuda_port() -> PyCuda:
    """The process's `PyCuda`. Raises `RuntimeMissingError`."""
    return PyCuda()


class _Stream:
    def __init__(self, cuda: Any) -> None:
        self.stream = cuda.Stream(_NON_BLOCKING)
        self.handle = int(self.stream.handle)
        self._done = _Event(cuda)

    def synchronise(self) -> None:
        self._done.record(self)
        self._done.synchronise()

    def wait_for(self, event: Event) -> None:
        assert isinstance(event, _Event)
        with _cuda_errors("wait for other work"):
            self.stream.wait_for_event(event.event)

    def close(self) -> None:
        # pycuda gives both back when nothing refers to them any more.
        self.stream = None
        self._done.close()


class _Event:
    def __init__(self, cuda: Any, timed: bool = False) -> None:
        # Waiting for a stream spins on a core that another stage needs; waiting for such an event sleeps.
        flags = cuda.event_flags
        self.event: Any = cuda.Event(flags.BLOCKING_SYNC | (0 if timed else flags.DISABLE_TIMING))

    def record(self, stream: Stream) -> None:
        assert isinstance(stream, _Stream)
        with _cuda_errors("finish"):
            self.event.record(stream.stream)

    def is_done(self) -> bool:
        with _cuda_errors("finish"):
            return bool(self.event.query())

    def synchronise(self) -> None:
        with _cuda_errors("finish"):
            self.event.synchronize()

    def ms_since(self, earlier: Event) -> float:
        assert isinstance(earlier, _Event)
        with _cuda_errors("tell the time"):
            return float(self.event.time_since(earlier.event))

    def close(self) -> None:
        self.event = None


class _DeviceMemory:
    def __init__(self, memory: Any) -> None:
        self._memory: Any = memory
        self.address = int(memory)

    def close(self) -> None:
        memory, self._memory = self._memory, None
        if memory is not None:
            with _cuda_errors("free memory"):
                memory.free()


class _PinnedMemory:
    def __init__(self, array: AnyArray) -> None:
        self.bytes = array
        owner: Any = array.base
        self.address = int(owner.get_device_pointer())

    def close(self) -> None:
        array, self.bytes = self.bytes, np.empty(0, np.uint8)
        if array.size:
            owner: Any = array.base
            with _cuda_errors("free pinned memory"):
                owner.free()


@contextmanager
def _cuda_errors(what: str, kind: type[CudaError | RuntimeMissingError] = CudaError) -> Iterator[None]:
    import pycuda.driver as cuda

    try:
        yield
    except cuda.MemoryError as error:
        raise OutOfGpuMemoryError(f"CUDA cannot {what}: {explain(error)}; close other programs that use it") from error
    except cuda.Error as error:
        raise kind(f"CUDA cannot {what}: {explain(error)}") from error
