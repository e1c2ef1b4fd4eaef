"""Queues between threads: a slot for one item, a ring of results that each sink reads at its own pace, and a backlog for
sinks that must get every result."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum
from typing import Final, Generic, TypeVar

import numpy as np

from common.arrays import FloatArray, ImageArray
from realtime.records import Result

T = TypeVar("T")

_NO_IMAGE: Final[ImageArray] = np.zeros((0, 0, 3), np.uint8)
_NO_VERTICES: Final[FloatArray] = np.zeros((0, 3), np.float32)


class Closed(Exception):
    """The queue is closed and empty. Ends a stage's loop; never reaches the user."""


class DropPolicy(Enum):
    """What happens to a frame when the stage after it is still busy."""

    WAIT = "wait"
    """The reader of the source waits, so that every frame is processed: files and folders."""
    NEWEST = "newest"
    """The newer frame replaces the one that waits, which is dropped: cameras and streams."""


class SingleSlotQueue(Generic[T]):
    """A slot for ONE item between two threads.

    One frame is processed and one waits, so a slow stage never has a queue whose oldest frame is seconds old. `put` waits
    until the slot is free (files: nothing is lost); `replace` drops the item that waits (cameras: the newest wins).
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._closed = False

    def put(self, item: T) -> None:
        """Wait until the slot is free, then put ``item`` into it. Raises `Closed` after `close`."""
        with self._condition:
            while self._item is not None and not self._closed:
                self._condition.wait()
            if self._closed:
                raise Closed
            self._item = item
            self._condition.notify_all()

    def replace(self, item: T) -> T | None:
        """Put ``item`` into the slot at once and return the one that it replaces, if any. Raises `Closed` after `close`."""
        with self._condition:
            if self._closed:
                raise Closed
            dropped, self._item = self._item, item
            self._condition.notify_all()
            return dropped

    def get(self) -> T:
        """Wait for an item and take it. Raises `Closed` once closed and empty."""
        with self._condition:
            while self._item is None:
                if self._closed:
                    raise Closed
                self._condition.wait()
            item, self._item = self._item, None
            self._condition.notify_all()
            return item

    def close(self) -> None:
        """No more items; the one that waits can still be taken."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class ResultRing:
    """The last few results, one writer and any number of readers with cursors of their own.

    Args:
        capacity: results kept.
        policy: with `DropPolicy.WAIT`, `publish` waits for the readers that want every result; otherwise slow readers miss
            results.
        hold: called with each result that is added or read; keeps its image from being overwritten.
        release: called when a result leaves the ring, and when a reader is done with it.
    """

    def __init__(
        self, capacity: int, policy: DropPolicy, hold: Callable[[Result], None], release: Callable[[Result], None]
    ) -> None:
        self._slots: list[Result | None] = [None] * capacity
        self._policy, self._hold, self._release = policy, hold, release
        self._condition = threading.Condition()
        self._count = 0
        self._closed = False
        self._readers: list[ResultReader] = []

    def publish(self, result: Result, wait: bool = False) -> None:
        """Add a result. ``wait``: whatever the policy, wait for the readers that want every result, which would miss some of
        several results published at once. Raises `Closed` after `close`."""
        wait = wait or self._policy is DropPolicy.WAIT
        with self._condition:
            while wait and not self._closed and self._oldest_needed() <= self._count - len(self._slots):
                self._condition.wait()
            if self._closed:
                raise Closed
            self._hold(result)
            slot = self._count % len(self._slots)
            old, self._slots[slot] = self._slots[slot], result
            self._count += 1
            self._condition.notify_all()
        if old is not None:
            self._release(old)

    def _oldest_needed(self) -> int:
        return min((reader.cursor for reader in self._readers if reader.every), default=self._count)

    def reader(self, every: bool) -> ResultReader:
        """A new reader that starts with the next result. ``every``: it gets each result, else only the newest."""
        with self._condition:
            reader = ResultReader(self, every, self._count)
            self._readers.append(reader)
            return reader

    def close(self) -> None:
        """No more results; readers still get what they have not read."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def take(self, reader: ResultReader, timeout: float | None) -> Result | None:
        """Do what `ResultReader.take` says."""
        with self._condition:
            if not self._condition.wait_for(
                lambda: reader.cursor < self._count or self._closed or reader.left, timeout
            ):
                return None
            if reader.left or reader.cursor >= self._count:
                raise Closed
            oldest = max(0, self._count - len(self._slots))
            wanted = max(reader.cursor, oldest) if reader.every else self._count - 1
            reader.missed += wanted - reader.cursor
            reader.cursor = wanted + 1
            result = self._slots[wanted % len(self._slots)]
            assert result is not None  # slots below the count are filled
            self._hold(result)
            self._condition.notify_all()
            return result

    def give_back(self, result: Result) -> None:
        """Do what `ResultReader.done` says."""
        self._release(result)

    def leave(self, reader: ResultReader) -> None:
        """Do what `ResultReader.leave` says."""
        with self._condition:
            reader.left = True
            if reader in self._readers:
                self._readers.remove(reader)
            self._condition.notify_all()


class ResultReader:
    """One sink's cursor in a `ResultRing`. ``missed`` counts the results that it did not get."""

    def __init__(self, ring: ResultRing, every: bool, cursor: int) -> None:
        self._ring, self.every, self.cursor = ring, every, cursor
        self.missed = 0
        self.left = False

    def take(self, timeout: float | None = None) -> Result | None:
        """Wait for the next result (the newest for readers that skip). None after ``timeout`` seconds; raises `Closed`
        at the end. The image stays valid until `done`."""
        return self._ring.take(self, timeout)

    def done(self, result: Result) -> None:
        """Release the image of ``result``, whose slot may then be overwritten."""
        self._ring.give_back(result)

    def leave(self) -> None:
        """Stop reading: the ring no longer waits for this reader."""
        self._ring.leave(self)


class Backlog:
    """Queue of results for a sink that must get every one of them, however slow it is.

    They are put in by `hand_out`, without images and vertices: one takes about 6 kB a person.

    At most ``capacity`` results wait, and `put` blocks while the backlog is full. None: no limit, for cameras, which cannot
    wait.
    """

    def __init__(self, capacity: int | None) -> None:
        self._capacity = capacity
        self._condition = threading.Condition()
        self._waiting: deque[Result] = deque()
        self._closed = False
        self.has_left = False
        """Whether the sink has ended."""

    def put(self, result: Result) -> None:
        """Add a result. Does nothing after `leave`."""
        with self._condition:
            while self._capacity is not None and len(self._waiting) >= self._capacity and not self.has_left:
                self._condition.wait()
            if not self.has_left:
                self._waiting.append(result)
                self._condition.notify_all()

    def get(self) -> Result:
        """Wait for the oldest result. Raises `Closed` once closed and empty."""
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                raise Closed
            self._condition.notify_all()
            return self._waiting.popleft()

    def close(self) -> None:
        """No more results; those that wait can still be taken."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    def leave(self) -> None:
        """The sink has ended: results are no longer kept."""
        with self._condition:
            self.has_left = True
            self._condition.notify_all()


def hand_out(result: Result, backlogs: Iterable[Backlog]) -> None:
    """Put ``result``, without its image, flow and vertices, into all of the ``backlogs`` whose sinks go on."""
    reading = [backlog for backlog in backlogs if not backlog.has_left]
    if not reading:
        return
    people = tuple(replace(body, vertices=_NO_VERTICES) for body in result.people)
    small = replace(result, frame=replace(result.frame, image=_NO_IMAGE), people=people, flows=())
    for backlog in reading:
        backlog.put(small)
