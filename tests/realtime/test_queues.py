"""The places where threads meet."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from common.arrays import ImageArray
from realtime.frame_ring import FrameRing
from realtime.queues import Backlog, Closed, DropPolicy, ResultRing, SingleSlotQueue, hand_out
from realtime.records import Frame, Result
from realtime.sources.source import FrameTimestamp
from tests.realtime.fakes import CAMERA


def result(number: int) -> Result:
    return Result(Frame(number, 0, number / 30, np.zeros((2, 2, 3), np.uint8)), CAMERA, (), 0)


def ring(policy: DropPolicy, capacity: int = 3) -> tuple[ResultRing, list[int]]:
    balance: list[int] = [0]

    def hold(item: Result) -> None:
        balance[0] += 1

    def release(item: Result) -> None:
        balance[0] -= 1

    return ResultRing(capacity, policy, hold, release), balance


def test_the_newest_replaces_what_waits() -> None:
    queue: SingleSlotQueue[int] = SingleSlotQueue()
    assert queue.replace(1) is None
    assert queue.replace(2) == 1
    assert queue.get() == 2


def test_put_waits_for_room() -> None:
    queue: SingleSlotQueue[int] = SingleSlotQueue()
    queue.put(1)
    done = threading.Event()

    def second() -> None:
        queue.put(2)
        done.set()

    thread = threading.Thread(target=second, daemon=True)
    thread.start()
    assert not done.wait(0.05)
    assert queue.get() == 1
    assert done.wait(2)
    assert queue.get() == 2


def test_close_lets_the_last_item_out_and_then_ends() -> None:
    queue: SingleSlotQueue[int] = SingleSlotQueue()
    queue.put(1)
    queue.close()
    with pytest.raises(Closed):
        queue.put(2)
    assert queue.get() == 1
    with pytest.raises(Closed):
        queue.get()


def test_a_reader_of_every_result_counts_what_it_missed() -> None:
    results, balance = ring(DropPolicy.NEWEST)
    reader = results.reader(every=True)
    for number in range(5):
        results.publish(result(number))
    taken = reader.take()
    assert taken is not None
    assert taken.frame.sequence == 2
    assert reader.missed == 2
    reader.done(taken)
    assert balance == [3]


def test_a_reader_of_the_newest_skips() -> None:
    results, _ = ring(DropPolicy.NEWEST)
    reader = results.reader(every=False)
    for number in range(5):
        results.publish(result(number))
    taken = reader.take()
    assert taken is not None
    assert taken.frame.sequence == 4
    assert reader.take(timeout=0.01) is None


def test_a_ring_that_waits_does_so_for_its_slowest_reader() -> None:
    results, _ = ring(DropPolicy.WAIT)
    slow, gone = results.reader(every=True), results.reader(every=True)
    for number in range(3):
        results.publish(result(number))
    late = threading.Thread(target=lambda: results.publish(result(3)), daemon=True)
    late.start()
    late.join(0.05)
    assert late.is_alive()
    gone.leave()
    taken = slow.take()
    assert taken is not None
    assert taken.frame.sequence == 0
    late.join(2)
    assert not late.is_alive()


def test_a_held_frame_is_never_written_again() -> None:
    frames = FrameRing(3, 2, 2)
    count = 0

    def read(buffer: ImageArray) -> FrameTimestamp:
        nonlocal count
        buffer[:] = count
        count += 1
        return FrameTimestamp(count - 1, 0, 0.0)

    kept, _ = frames.capture(read, DropPolicy.NEWEST)
    assert kept is not None
    for number in range(1, 10):
        frame, ended = frames.capture(read, DropPolicy.NEWEST)
        assert frame is not None
        assert not ended
        assert frame.image[0, 0, 0] == number
        frames.release(frame)
    assert kept.image[0, 0, 0] == 0
    others = [frames.capture(read, DropPolicy.NEWEST)[0] for _ in range(2)]
    assert all(others)
    assert frames.capture(read, DropPolicy.NEWEST) == (None, False)  # no slot left: read and dropped
    frames.release(kept)
    with pytest.raises(ValueError, match="more often"):
        frames.release(kept)
    fresh, _ = frames.capture(read, DropPolicy.WAIT)
    assert fresh is not None
    with pytest.raises(KeyError):
        frames.hold(kept)


def test_slots_that_nobody_needs_are_never_touched() -> None:
    frames = FrameRing(5, 2, 2)
    arrived = iter(range(20))

    def read(buffer: ImageArray) -> FrameTimestamp:
        return FrameTimestamp(next(arrived), 0, 0.0)

    written = set()
    previous = None
    for _ in range(20):  # two frames at a time, as flow needs them
        frame, _ = frames.capture(read, DropPolicy.WAIT)
        assert frame is not None
        written.add(frame.image.ctypes.data)
        if previous is not None:
            frames.release(previous)
        previous = frame
    assert len(written) == 2


def test_a_failing_source_leaves_the_slot_free() -> None:
    frames = FrameRing(1, 2, 2)

    def fail(buffer: ImageArray) -> FrameTimestamp:
        raise OSError("unplugged")

    for _ in range(2):
        with pytest.raises(OSError, match="unplugged"):
            frames.capture(fail, DropPolicy.WAIT)
    assert frames.held == 0


def test_backlogs_share_a_result_without_its_image_and_those_whose_sink_has_ended_get_none() -> None:
    one, other, ended = Backlog(None), Backlog(2), Backlog(None)
    ended.leave()
    whole = result(7)
    hand_out(whole, (one, other, ended))
    small = one.get()
    assert other.get() is small
    assert small.frame.sequence == 7
    assert not small.frame.image.size
    assert whole.frame.image.size
    ended.close()
    with pytest.raises(Closed):
        ended.get()


def test_a_slot_that_somebody_still_holds_is_not_reused() -> None:
    """One slot, held twice: the writer waits until both have let it go."""
    ring = FrameRing(1, 2, 2)

    def read(buffer: ImageArray) -> FrameTimestamp:
        buffer[:] = 1
        return FrameTimestamp(next(numbers), 0, 0.0)

    numbers = iter((4, 5))
    frame, _ = ring.capture(read, DropPolicy.WAIT)
    assert frame is not None
    ring.hold(frame)
    written = threading.Event()

    def write() -> None:
        ring.capture(read, DropPolicy.WAIT)
        written.set()

    threading.Thread(target=write, daemon=True).start()
    ring.release(frame)
    assert not written.wait(0.05)
    ring.release(frame)
    assert written.wait(2)
