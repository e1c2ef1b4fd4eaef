from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from realtime.sources.packets import PacketReader


class FakeConnection:
    """Packets at moments of the test's choice."""

    def __init__(self, packets: list[Any]) -> None:
        self._packets = packets
        self.closed = threading.Event()

    def demux(self, stream: object) -> Iterator[Any]:
        yield from self._packets

    def close(self) -> None:
        self.closed.set()


@pytest.mark.parametrize(
    ("keys", "waits_s", "kept", "dropped"),
    [
        ("K..K..K...", 0.0, "K..K..K...", 0),
        ("K..K..K...", 0.3, "K...", 6),  # to the newest key frame
        ("...", 0.3, "...", 0),  # late, but nothing else to show
        ("......", 0.7, "", 6),  # very late: the next key frame counts
        ("KKKKK", 0.3, "K", 4),
    ],
)
def test_what_is_late_is_dropped_before_it_is_decoded(keys: str, waits_s: float, kept: str, dropped: int) -> None:
    packets = [SimpleNamespace(is_keyframe=key == "K", size=100, number=place) for place, key in enumerate(keys)]
    connection: Any = FakeConnection(packets)
    reader = PacketReader(connection, Any, live=True)  # type: ignore[arg-type]
    time.sleep(waits_s + 0.02)
    seen: list[Any] = []
    while (arrival := reader.take()) is not None:
        seen.append(arrival.packet)
    reader.close()
    assert "".join("K" if packet.is_keyframe else "." for packet in seen) == kept
    assert reader.dropped == dropped
    assert connection.closed.wait(1)


def test_a_video_is_not_read_ahead_of_its_player() -> None:
    packets = [SimpleNamespace(is_keyframe=False, size=100) for _ in range(500)]
    connection: Any = FakeConnection(packets)
    reader = PacketReader(connection, Any, live=False)  # type: ignore[arg-type]
    time.sleep(0.3)
    assert len(reader._waiting) == 64
    assert sum(1 for _ in iter(reader.take, None)) == 500
    reader.close()
    assert reader.dropped == 0
