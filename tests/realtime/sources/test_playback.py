from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from realtime.sources import FileSource, RealtimePlayback, open_source
from tests.realtime.clips import number, write_video

FRAME_NS = round(1e9 / 30)


class HandClock:
    """Stands still but for waits, which it grants at once, and the hand that turns it."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000
        self.waits: list[float] = []

    def now_ns(self) -> int:
        return self.ns

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        self.waits.append(seconds)
        self.ns += round(seconds * 1e9)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", 30)


def test_a_fast_reader_gets_every_frame_on_time(clip: Path) -> None:
    clock = HandClock()
    with RealtimePlayback(FileSource(clip), clock) as source:
        assert (source.live, source.size, source.frame_count) == (True, (64, 48), 30)
        buffer = source.new_buffer()
        start = clock.ns
        for index in range(30):
            timestamp = source.read_into(buffer)
            assert timestamp is not None
            assert (timestamp[0], number(buffer)) == (index, index)
            assert timestamp.captured_ns - start == pytest.approx(index * FRAME_NS, abs=100)
        assert source.read_into(buffer) is None
    assert sum(clock.waits) == pytest.approx(29 / 30, abs=1e-6)


def test_a_slow_reader_misses_frames(clip: Path) -> None:
    clock = HandClock()
    with RealtimePlayback(FileSource(clip), clock) as source:
        buffer = source.new_buffer()
        indexes = []
        while (timestamp := source.read_into(buffer)) is not None:
            assert number(buffer) == timestamp[0]
            indexes.append(timestamp[0])
            clock.ns += round(2.5 * FRAME_NS)  # the work on it
    assert set(np.diff(indexes).tolist()) == {2, 3}, "the newest frame wins"
    assert 0.9 * 30 / 2.5 <= len(indexes) <= 1.1 * 30 / 2.5 + 1


def test_a_slow_decoder_still_delivers(clip: Path) -> None:
    clock = HandClock()
    decoder = FileSource(clip)
    advance = decoder.advance

    def slow() -> object:
        clock.ns += 2 * FRAME_NS
        return advance()

    decoder.advance = slow  # type: ignore[method-assign, assignment]
    with RealtimePlayback(decoder, clock) as source:
        buffer = source.new_buffer()
        delivered = 0
        while source.read_into(buffer) is not None:
            delivered += 1
    assert delivered >= 4


def test_real_time(clip: Path) -> None:
    with open_source(str(clip), live=True) as source:
        buffer = source.new_buffer()
        start = time.monotonic()
        while source.read_into(buffer) is not None:
            pass
        assert 0.95 < time.monotonic() - start < 1.5


def test_close_ends_the_wait(tmp_path: Path) -> None:
    path = write_video(tmp_path / "gap.mkv", 2, times_ms=[0, 60_000])
    source = open_source(str(path), live=True)
    buffer = source.new_buffer()
    assert source.read_into(buffer) is not None
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(source.read_into(buffer)))
    thread.start()
    time.sleep(0.1)
    source.close()
    thread.join(1.0)
    assert not thread.is_alive()
    assert answers == [None]
