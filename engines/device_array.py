"""Arrays that one engine leaves on the GPU for another: no copy to the host and back, and nobody waits."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from common.arrays import AnyArray
from engines.cuda.port import Cuda, Event
from engines.engine import Arrays, EngineError, TensorSpec


class Slot:
    """A place in GPU memory, and when what was queued to be written there is there. Free again when all who hold it have
    released it."""

    def __init__(self, slots: Slots, address: int, ready: Event) -> None:
        self._slots, self.address, self.ready = slots, address, ready
        self.holders = 0

    def hold(self, more: int) -> None:
        """Be released so many times more."""
        self._slots.change_holders(self, more)

    def release(self) -> None:
        """Give the place back. Nothing may be queued any more that reads it."""
        self._slots.change_holders(self, -1)


class DeviceArray(np.ndarray[Any, Any]):
    """An array of an engine's output, or some of its rows, whose numbers are in a `Slot`. To the CPU all of it is NaN, and
    cannot be written.

    Engines of TensorRT take it as an input; whoever got it releases it after the last run that does.
    """

    slot: Slot | None = None
    first_row = 0

    @classmethod
    def over(cls, slot: Slot, shape: Sequence[int], spec: TensorSpec, first_row: int = 0) -> DeviceArray:
        """The array of ``shape`` in ``slot``, of the type of ``spec``, that begins with so manieth row of the slot."""
        blank = np.broadcast_to(np.array(np.nan, spec.dtype), tuple(shape))
        array: DeviceArray = blank.view(cls)
        array.slot, array.first_row = slot, first_row
        return array

    @property
    def address(self) -> int:
        """Where it begins on the GPU. Raises `EngineError` once it is released."""
        if self.slot is None:
            raise EngineError("memory on the GPU was given back before it was read")
        return int(self.slot.address + self.first_row * math.prod(self.shape[1:]) * self.itemsize)

    def rows(self) -> list[DeviceArray]:
        """Its rows as arrays of one row each, in its place: each is to be released, and this array no more."""
        slot, self.slot = self.slot, None
        assert slot is not None, "released already"
        slot.hold(len(self) - 1)
        spec = TensorSpec("", self.shape, self.dtype)
        return [self.over(slot, (1, *self.shape[1:]), spec, self.first_row + row) for row in range(len(self))]

    def release(self) -> None:
        """Give its place back; the array is worth nothing then. Releasing twice is harmless."""
        slot, self.slot = self.slot, None
        if slot is not None:
            slot.release()


def beside_each_other(arrays: Sequence[AnyArray]) -> tuple[AnyArray, list[int]]:
    """The one array in which all of ``arrays``, of one row each, are rows, and the row of each.

    Arrays on the GPU are not copied: they are rows of what one run has left there, and its rows between them are in the result,
    too. Raises ``ValueError`` for rows of several runs.
    """
    here = [array for array in arrays if isinstance(array, DeviceArray)]
    if not here:
        return np.concatenate(arrays), list(range(len(arrays)))
    slots = {id(array.slot): array.slot for array in here}
    (slot,) = slots.values()
    if len(here) < len(arrays) or slot is None:
        raise ValueError("only rows of one run lie beside each other")
    first, last = (pick(array.first_row for array in here) for pick in (min, max))
    shape = (last - first + 1, *here[0].shape[1:])
    whole = DeviceArray.over(slot, shape, TensorSpec("", shape, here[0].dtype), first)
    return whole, [array.first_row - first for array in here]


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
        """A free place, with one holder; None where there is none."""
        with self._lock:
            slot = self._free.pop() if self._free else None
            if slot is not None:
                slot.holders = 1
            return slot

    def change_holders(self, slot: Slot, by: int) -> None:
        """Take ``slot`` back when nobody holds it any more."""
        with self._lock:
            slot.holders += by
            if not slot.holders:
                self._free.append(slot)


def on_the_device(feeds: Arrays) -> dict[str, tuple[int, Event]]:
    """Address of those of ``feeds`` that are on the GPU, and what to wait for, by name. Raises `EngineError` for one that was
    released."""
    found = {}
    for name, array in feeds.items():
        if isinstance(array, DeviceArray):
            if array.slot is None:
                raise EngineError(f"the memory of tensor '{name}' on the GPU was given back before the run")
            found[name] = array.address, array.slot.ready
    return found
