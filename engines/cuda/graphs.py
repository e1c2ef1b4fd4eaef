"""CUDA graphs through the driver's own library, for a package that has streams but no graphs."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from engines.cuda.driver import LIBRARY
from engines.cuda.port import CudaError, Stream
from engines.engine import EngineError

_OF_THIS_THREAD: Final = 1  # CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads go on allocating and copying meanwhile


class DriverGraphs:
    """Records the work of streams that another package has made, by their handles. Raises `CudaError` where the library
    lacks a function."""

    def __init__(self) -> None:
        try:
            self._library = ctypes.CDLL(LIBRARY)
            for name in _FUNCTIONS:
                getattr(self._library, name).restype = ctypes.c_int
        except (OSError, AttributeError) as error:
            raise CudaError(f"the NVIDIA driver has no CUDA graphs ({error})") from None

    def capture(self, stream: Stream, work: Callable[[], None]) -> _Graph:
        """See `engines.cuda.port.Cuda.capture`."""
        handle, recorded = ctypes.c_void_p(stream.handle), ctypes.c_void_p()
        self("record a graph", "cuStreamBeginCapture_v2", handle, ctypes.c_int(_OF_THIS_THREAD))
        try:
            work()
        except BaseException:
            with suppress(EngineError):  # the stream must leave capture mode; what it recorded is void
                self("end the recording", "cuStreamEndCapture", handle, ctypes.byref(recorded))
                self("drop the recording", "cuGraphDestroy", recorded)
            raise
        self("record a graph", "cuStreamEndCapture", handle, ctypes.byref(recorded))
        return _Graph(self, recorded)

    def __call__(self, what: str, function: str, *arguments: Any) -> None:
        """Call ``function`` of the driver. Raises `CudaError`."""
        result = getattr(self._library, function)(*arguments)
        if result:
            text = ctypes.c_char_p()
            self._library.cuGetErrorString(result, ctypes.byref(text))
            reason = text.value.decode(errors="replace") if text.value else f"error {result}"
            raise CudaError(f"CUDA cannot {what}: {function} failed: {reason}")


_FUNCTIONS: Final = (
    *("cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"),
    *("cuGraphLaunch", "cuGraphDestroy", "cuGraphExecDestroy"),
)


class _Graph:
    def __init__(self, driver: DriverGraphs, recorded: ctypes.c_void_p) -> None:
        self._driver = driver
        self._graph: ctypes.c_void_p | None = None
        graph = ctypes.c_void_p()
        try:
            flags = ctypes.c_ulonglong(0)
            driver("make a graph", "cuGraphInstantiateWithFlags", ctypes.byref(graph), recorded, flags)
            self._graph = graph
        finally:
            driver("drop the recording", "cuGraphDestroy", recorded)

    def launch(self, stream: Stream) -> None:
        self._driver("run a graph", "cuGraphLaunch", self._graph, ctypes.c_void_p(stream.handle))

    def close(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            self._driver("free a graph", "cuGraphExecDestroy", graph)
