"""Preallocated images, filled by the capture thread and reference-counted by their readers."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from common.arrays import ImageArray
from realtime.queues import Closed, DropPolicy
from realtime.records import Frame
from realtime.sources.source import FrameTimestamp


class FrameRing:
    """A fixed set of image slots. A slot is written again only when nobody holds its frame.

    A plain ring would overwrite an image that a slow stage still reads, and a copy for every reader would cost more than
    the network. So each frame counts its holders. If a live source finds every slot held, it reads into a spare
    image and drops that frame: the camera never waits.

    The system allocates a slot's memory when it is first written, and the lowest free slot is written first: slots that only
    a slow sink needs cost no memory until then, and images stay in the processor's cache.

    Args:
        slots: number of images at most.
        height, width: of the source, px.
    """

    def __init__(self, slots: int, height: int, width: int) -> None:
        self._images = [np.zeros((height, width, 3), np.uint8) for _ in range(slots)]
        self._spare: ImageArray = np.zeros((height, width, 3), np.uint8)
        self._holders = [0] * slots
        self._sequence = [-1] * slots
        self._slot_of: dict[int, int] = {}
        self._condition = threading.Condition()
        self._closed = False

    def capture(
        self, read_into: Callable[[ImageArray], FrameTimestamp | None], policy: DropPolicy
    ) -> tuple[Frame | None, bool]:
        """Read one frame of the source into a free slot.

        Args:
            read_into: fills the image, returns its timestamp or None at the end.
            policy: wait for a free slot, or drop the frame if there is none.

        Returns:
            The frame, held once for the caller, and whether the source has ended. No frame and not ended: dropped.

        Raises:
            Closed: after `close`, while waiting.
        """
        with self._condition:
            while policy is DropPolicy.WAIT and not self._closed and all(self._holders):
                self._condition.wait()
            if self._closed:
                raise Closed
            slot = next((slot for slot, holders in enumerate(self._holders) if not holders), -1)
            if slot >= 0:
                self._slot_of.pop(self._sequence[slot], None)
                self._sequence[slot] = -1
                self._holders[slot] = 1  # ours while it is written
        image = self._images[slot] if slot >= 0 else self._spare
        try:
            timestamp = read_into(image)
        except BaseException:
            self._free(slot)
            raise
        if timestamp is None or slot < 0:
            self._free(slot)
            return None, timestamp is None
        with self._condition:
            self._sequence[slot] = timestamp.index
            self._slot_of[timestamp.index] = slot
        return Frame(timestamp.index, timestamp.captured_ns, timestamp.time_s, image, timestamp.piece), False

    def _free(self, slot: int) -> None:
        if slot >= 0:
            with self._condition:
                self._holders[slot] = 0
                self._condition.notify_all()

    def hold(self, frame: Frame) -> None:
        """Keep ``frame.image`` valid until `release`. Raises ``KeyError`` if nobody held it and its slot has been reused."""
        with self._condition:
            self._holders[self._slot_of[frame.sequence]] += 1

    def release(self, frame: Frame) -> None:
        """End one hold: that of `hold`, or the one that `capture` takes for its caller."""
        with self._condition:
            slot = self._slot_of[frame.sequence]
            if self._holders[slot] < 1:
                raise ValueError(f"frame {frame.sequence} was released more often than held")
            self._holders[slot] -= 1
            if not self._holders[slot]:
                self._condition.notify_all()

    @property
    def held(self) -> int:
        """Number of slots that somebody holds."""
        with self._condition:
            return sum(1 for holders in self._holders if holders)

    def close(self) -> None:
        """Wake a waiting `capture`."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
