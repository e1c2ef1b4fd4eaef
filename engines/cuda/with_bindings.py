"""The driver through NVIDIA's own cuda-bindings, which knows CUDA graphs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from common.arrays import AnyArray
from engines.cuda.port import CudaError, DeviceMemory, Event, Graph, OutOfGpuMemoryError, PinnedMemory, Stream
from engines.cuda.threads import OncePerThread
from engines.engine import EngineError, RuntimeMissingError
from engines.onnx_file import explain


class CudaBindings:
    """`engines.cuda.port.Cuda` with cuda-bindings. One a process: see `bindings_port`.

    Raises `RuntimeMissingError` when the package is missing or does not start.
    """

    name = "cuda-bindings"

    def __init__(self) -> None:
        """Start the driver and take hold of the primary context."""
        try:
            from cuda.bindings import driver

            self._driver = _Driver(driver)
            self._driver("start", "cuInit", 0)
            device = self._driver("find the GPU", "cuDeviceGet", 0)
            context = self._driver("start", "cuDevicePrimaryCtxRetain", device)
        except CudaError as error:
            raise RuntimeMissingError(str(error)) from error
        except Exception as error:  # a missing libcuda shows at the first call, and not as ImportError
            raise RuntimeMissingError(
                f"cuda-bindings does not start ({explain(error)}): pip install cuda-bindings"
            ) from error
        self.activate = OncePerThread(
            lambda: self._driver("use the context", "cuCtxPushCurrent", context),
            lambda: self._driver("leave the context", "cuCtxPopCurrent"),
        )

    def stream(self, urgent: bool = False) -> Stream:
        """See `engines.cuda.port.Cuda.stream`."""
        return _Stream(self._driver, urgent)

    def event(self, timed: bool = False) -> Event:
        """See `engines.cuda.port.Cuda.event`."""
        return _Event(self._driver, timed)

    def device_memory(self, size: int) -> DeviceMemory:
        """See `engines.cuda.port.Cuda.device_memory`."""
        return _DeviceMemory(self._driver, size)

    def pinned_memory(self, size: int) -> PinnedMemory:
        """See `engines.cuda.port.Cuda.pinned_memory`."""
        return _PinnedMemory(self._driver, size)

    def copy_in(self, memory: DeviceMemory, pinned: AnyArray, stream: Stream) -> None:
        """See `engines.cuda.port.Cuda.copy_in`."""
        self._driver(
            "copy to the GPU", "cuMemcpyHtoDAsync", memory.address, pinned.ctypes.data, pinned.nbytes, stream.handle
        )

    def copy_out(self, pinned: AnyArray, memory: DeviceMemory, stream: Stream) -> None:
        """See `engines.cuda.port.Cuda.copy_out`."""
        self._driver(
            "copy from the GPU", "cuMemcpyDtoHAsync", pinned.ctypes.data, memory.address, pinned.nbytes, stream.handle
        )

    def capture(self, stream: Stream, work: Callable[[], None]) -> Graph | None:
        """See `engines.cuda.port.Cuda.capture`."""
        # Other threads go on allocating and copying meanwhile: only this thread's mistakes end the capture.
        mode = self._driver.module.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._driver("record a graph", "cuStreamBeginCapture", stream.handle, mode)
        try:
            work()
        except BaseException:
            with suppress(EngineError):  # the stream must leave capture mode; what it recorded is void
                graph = self._driver("end the recording", "cuStreamEndCapture", stream.handle)
                self._driver("drop the recording", "cuGraphDestroy", graph)
            raise
        return _Graph(self._driver, self._driver("record a graph", "cuStreamEndCapture", stream.handle))


@cache
def bindings_port() -> CudaBindings:
    """The process's `CudaBindings`. Raises `RuntimeMissingError`."""
    return CudaBindings()


class _Driver:
    """Calls a function of the driver by its name and turns its result code into an exception."""

    def __init__(self, module: Any) -> None:
        self.module = module
        self._success = module.CUresult.CUDA_SUCCESS
        self._full = module.CUresult.CUDA_ERROR_OUT_OF_MEMORY

    def is_ready(self, what: str, function: str, *arguments: Any) -> bool:
        """Call ``function``, which answers whether something has been done."""
        (result,) = getattr(self.module, function)(*arguments)
        return result != self.module.CUresult.CUDA_ERROR_NOT_READY and self._checked(what, function, result) is None

    def __call__(self, what: str, function: str, *arguments: Any) -> Any:
        result, *values = getattr(self.module, function)(*arguments)
        return self._checked(what, function, result, *values)

    def _checked(self, what: str, function: str, result: Any, *values: Any) -> Any:
        if result != self._success:
            text = self.module.cuGetErrorString(result)[1]
            reason = text.decode(errors="replace") if isinstance(text, bytes) else str(result)
            line = f"CUDA cannot {what}: {function} failed: {reason}"
            if result == self._full:
                raise OutOfGpuMemoryError(f"{line}; close other programs that use it")
            raise CudaError(line)
        return values[0] if len(values) == 1 else tuple(values) or None


class _Stream:
    def __init__(self, driver: _Driver, urgent: bool) -> None:
        self._driver = driver
        module = driver.module
        least, greatest = driver("make a stream", "cuCtxGetStreamPriorityRange")
        kind = module.CUstream_flags.CU_STREAM_NON_BLOCKING
        priority = greatest if urgent else least
        self._stream: Any = driver("make a stream", "cuStreamCreateWithPriority", kind, priority)
        self.handle = int(self._stream)
        self._done = _Event(driver)

    def synchronise(self) -> None:
        self._done.record(self)
        self._done.synchronise()

    def wait_for(self, event: Event) -> None:
        assert isinstance(event, _Event)
        self._driver("wait for other work", "cuStreamWaitEvent", self._stream, event.event, 0)

    def close(self) -> None:
        stream, self._stream = self._stream, None
        self._done.close()
        if stream is not None:
            self._driver("free a stream", "cuStreamDestroy", stream)


class _Event:
    def __init__(self, driver: _Driver, timed: bool = False) -> None:
        self._driver = driver
        # Waiting for a stream spins on a core that another stage needs; waiting for such an event sleeps.
        flags = driver.module.CUevent_flags
        kind = flags.CU_EVENT_BLOCKING_SYNC.value | (0 if timed else flags.CU_EVENT_DISABLE_TIMING.value)
        self.event: Any = driver("make an event", "cuEventCreate", kind)

    def record(self, stream: Stream) -> None:
        self._driver("finish", "cuEventRecord", self.event, stream.handle)

    def is_done(self) -> bool:
        return self._driver.is_ready("finish", "cuEventQuery", self.event)

    def synchronise(self) -> None:
        self._driver("finish", "cuEventSynchronize", self.event)

    def ms_since(self, earlier: Event) -> float:
        assert isinstance(earlier, _Event)
        return float(self._driver("tell the time", "cuEventElapsedTime", earlier.event, self.event))

    def close(self) -> None:
        event, self.event = self.event, None
        if event is not None:
            self._driver("free an event", "cuEventDestroy", event)


class _DeviceMemory:
    def __init__(self, driver: _Driver, size: int) -> None:
        self._driver = driver
        self._pointer: Any = driver(f"allocate {size / 1e6:.1f} MB on the GPU", "cuMemAlloc", max(size, 1))
        self.address = int(self._pointer)

    def close(self) -> None:
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            self._driver("free memory", "cuMemFree", pointer)


class _PinnedMemory:
    def __init__(self, driver: _Driver, size: int) -> None:
        self._driver = driver
        size = max(size, 1)
        what = f"allocate {size / 1e6:.1f} MB of pinned memory"
        mapped = driver.module.CU_MEMHOSTALLOC_DEVICEMAP
        self._pointer: int | None = int(driver(what, "cuMemHostAlloc", size, mapped))
        self.address = int(driver(what, "cuMemHostGetDevicePointer", self._pointer, 0))
        self.bytes: AnyArray = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self._pointer))

    def close(self) -> None:
        pointer, self._pointer = self._pointer, None
        self.bytes = np.empty(0, np.uint8)
        if pointer is not None:
            self._driver("free pinned memory", "cuMemFreeHost", pointer)


class _Graph:
    def __init__(self, driver: _Driver, graph: Any) -> None:
        self._driver = driver
        try:
            self._graph: Any = driver("make a graph", "cuGraphInstantiate", graph, 0)
        finally:
            driver("drop the recording", "cuGraphDestroy", graph)

    def launch(self, stream: Stream) -> None:
        self._driver("run a graph", "cuGraphLaunch", self._graph, stream.handle)

    def close(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            self._driver("free a graph", "cuGraphExecDestroy", graph)
