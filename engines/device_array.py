"""Arrays that one engine leaves on the GPU for another: no copy to the host and back, and nobody waits."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import Any

import numpy as np

from engines.cuda.port import Cuda, Event
from engines.engine import Arrays, EngineError, TensorSpec


class Slot:
    """A place in GPU memory, and when what was queued to be written there is there."""

    def __init__(self, slots: Slots, address: int, ready: Event) -> None:
        self._slots, self.address, self.ready = slots, address, ready

    def release(self) -> None:
        """Give the place back. Nothing may be queued any more that reads it."""
        self._slots.give(self)


class DeviceArray(np.ndarray[Any, Any]):
    """An array of an engine's output whose numbers are in a `Slot`. To the CPU all of it is NaN, and cannot be written.

    Engines of TensorRT take it as an input; whoever got it releases it after the last run that does.
    """

    slot: Slot | None = None

    @classmethod
    def over(cls, slot: Slot, spec: TensorSpec) -> DeviceArray:
        """The array in ``slot``, of the shape and type of ``spec``."""
        blank = np.broadcast_to(np.array(np.nan, spec.dtype), [abs(size) for size in spec.shape])
        array: DeviceArray = blank.view(cls)
        array.slot = slot
        return array

    def release(self) -> None:
        """Give its place back; the array is worth nothing then. Releasing twice is harmless."""
        slot, self.slot = self.slot, None
        if slot is not None:
            slot.release()


class Slots:
    """Places for one tensor on the GPU. Taken in one thread and given back in others. The last that was given back is taken
    first, so that few are in use: for each of them engines record a CUDA graph."""

    def __init__(self, cuda: Cuda, resources: ExitStack, size: int, count: int) -> None:
        """Take memory for ``count`` tensors of ``size`` bytes; ``resources`` frees it."""
        step = -(-size // 512) * 512
        memory = cuda.device_memory(step * count)
        resources.callback(memory.close)
        self._lock = threading.Lock()
        self._free: list[Slot] = []
        for place in reversed(range(count)):
            ready = cuda.event()
            resources.callback(ready.close)
            self._free.append(Slot(self, memory.address + place * step, ready))

    def take(self) -> Slot | None:
        """A free place; None where there is none."""
        with self._lock:
            return self._free.pop() if self._free else None

    def give(self, slot: Slot) -> None:
        """Take ``slot`` back."""
        with self._lock:
            self._free.append(slot)


def slots_of(feeds: Arrays) -> dict[str, Slot]:
    """The places of those of ``feeds`` that are on the GPU, by name. Raises `EngineError` for one that was released."""
    found = {}
    for name, array in feeds.items():
        if isinstance(array, DeviceArray):
            if array.slot is None:
                raise EngineError(f"the memory of tensor '{name}' on the GPU was given back before the run")
            found[name] = array.slot
    return found
