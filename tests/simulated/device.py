"""The simulated device from Python's side: what it counts, and where TensorRT's double computes."""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

COUNTERS = (
    "device_blocks", "pinned_blocks", "device_bytes", "streams", "events", "graphs", "copies", "pageable_copies",
    "illegal", "left_contexts", "waits", "replays", "urgent_streams", "bytes_in",
    "bytes_out",
)  # fmt: skip
ALIVE = COUNTERS[:6]

_CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def require_simulated() -> None:
    """Skip the module that calls this where the simulated device or a package is missing.

    ``make simulate`` has built them, and asks for an error instead.
    """
    try:
        SimulatedDevice()
        import cuda.bindings.driver  # noqa: F401
        import pycuda.driver  # noqa: F401
    except (OSError, ImportError) as error:
        if os.environ.get("SIMULATED_DEVICE") == "required":
            raise
        pytest.skip(f"simulated device: not here ({error}): run make simulate", allow_module_level=True)


class SimulatedDevice:
    """The ``libcuda.so.1`` of this process, which must be the simulated one. Raises `OSError` when it is not.

    Streams do queued work one by one in a thread of their own. What a piece of work raises is kept in ``errors``.
    """

    errors: ClassVar[list[BaseException]] = []
    copy_ms: ClassVar[float] = float(os.environ.get("SIMULATED_DELAY_US", "200")) / 1000
    """Least duration of a copy, as libcuda/streams.c has it."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        if not hasattr(self._library, "simulated_statistics"):
            raise OSError("libcuda.so.1 is not the simulated device")
        if self._library.simulated_counters() != len(COUNTERS):
            raise OSError("the simulated device is of another version")
        self._library.simulated_memory.restype = ctypes.c_void_p
        # A graph may ask for the same work again at any time: it is kept.
        self._work: dict[int, Callable[[], None]] = {}
        self._numbers = itertools.count(1)
        self._callback = _CALLBACK(self._do)

    def view(self, address: int, size: int) -> NDArray[np.uint8]:
        start = self._library.simulated_memory(ctypes.c_uint64(address), ctypes.c_size_t(size))
        if start is None:
            raise RuntimeError(f"illegal access to {size} bytes at {address:#x}")
        array: NDArray[np.uint8] = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(start))
        return array

    def enqueue(self, stream_handle: int, work: Callable[[], None]) -> bool:
        number = next(self._numbers)
        self._work[number] = work
        stream, argument = ctypes.c_void_p(stream_handle), ctypes.c_void_p(number)
        return int(self._library.cuLaunchHostFunc(stream, self._callback, argument)) == 0

    def statistics(self) -> dict[str, int]:
        """What is alive, and what has happened since the process began, by the names in `COUNTERS`."""
        values = (ctypes.c_long * len(COUNTERS))()
        self._library.simulated_statistics(values)
        return dict(zip(COUNTERS, values, strict=True))

    def alive(self) -> dict[str, int]:
        """Blocks, bytes, streams, events and graphs that have not been given back."""
        now = self.statistics()
        return {name: now[name] for name in ALIVE}

    def limit(self, size: int) -> None:
        """Give the device ``size`` bytes of memory."""
        self._library.simulated_limit(ctypes.c_size_t(size))

    def reset(self) -> None:
        """Forget an illegal access, which otherwise fails every later wait."""
        self._library.simulated_reset()

    def _do(self, number: int) -> None:
        try:
            self._work[number]()
        except BaseException as error:
            self.errors.append(error)
