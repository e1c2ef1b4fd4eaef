"""A network connection emptied by a thread of its own, so that every packet's time of arrival is known and what is late can
be dropped before it is decoded."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from realtime.sources.audio import StreamAudio

_FILE_PACKETS: Final = 64
_FILE_BYTES: Final = 32_000_000
_LIVE_BYTES: Final = 64_000_000
LATE_S: Final = 0.2
"""A live packet that has waited so long goes if a later key frame is there; until then frames that no other needs go."""
VERY_LATE_S: Final = 0.6
"""What has waited so long goes, up to the next key frame."""
_LONGEST_WAIT_S: Final = 5.0  # for a key frame: some encoders never send a second one


class Arrival(NamedTuple):
    """A packet and when it came."""

    packet: Packet[VideoStream]
    """Encoded packet as the container holds it."""
    arrived_ns: int
    """Monotonic clock when it had been read from the network, nanoseconds."""


class PacketReader:
    """Reads ``stream`` of ``container`` in a thread, which also closes the container. The sound beside it goes to ``audio``.

    A file (``live`` false) is read ahead no further than a few packets. A live stream is always read, and `take` drops what
    is too old: to the newest key frame that is there, else to the next one. ``dropped`` counts packets.
    """

    def __init__(
        self, container: InputContainer, stream: VideoStream, live: bool, audio: StreamAudio | None = None
    ) -> None:
        self._container, self._stream, self._live = container, stream, live
        self._audio = audio
        self._changed = threading.Condition()
        self._waiting: deque[Arrival] = deque()
        self._bytes = 0
        self._error: BaseException | None = None
        self._ended = False
        self._closing = False
        self._needs_key_until_ns = 0
        self.dropped = 0
        self.late_s = 0.0
        self.was_starved = False
        """Whether the last packet that was taken had to be waited for: the network is slower than the decoder."""
        self._thread = threading.Thread(target=self._read, name="packets", daemon=True)
        self._thread.start()

    def take(self) -> Arrival | None:
        """The next packet that is worth decoding; None at the end, and after `close`. Raises the demuxer's error.

        ``late_s`` is for how long it has waited, seconds.
        """
        with self._changed:
            self.was_starved = not self._waiting and not self._ended
            while True:
                self._changed.wait_for(lambda: self._waiting or self._ended or self._closing)
                if self._closing:
                    return None
                if not self._waiting:
                    error, self._error = self._error, None
                    if error is None:
                        return None
                    try:
                        raise error
                    finally:
                        del (
                            error
                        )  # else it would keep itself, and the decoder's threads, until Python's cycle collector runs
                if self._live:
                    self._drop_what_is_late()
                    if not self._waiting:
                        continue
                arrival = self._pop()
                self.late_s = (time.monotonic_ns() - arrival.arrived_ns) * 1e-9
                return arrival

    def first_times(self, most: int, wait_s: float) -> list[float]:
        """Timestamps, seconds, of up to ``most`` packets that none was taken of yet, which are waited for up to ``wait_s``
        seconds."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) >= most or self._ended or self._closing, wait_s)
            packets = [arrival.packet for arrival in self._waiting]
        return [float(one.pts * one.time_base) for one in packets if one.pts is not None and one.time_base is not None]

    def close(self) -> None:
        """Stop reading. The connection is closed by its own thread, as soon as that wakes up."""
        with self._changed:
            self._closing = True
            self._waiting.clear()
            self._changed.notify_all()

    def join(self) -> None:
        """Wait, after `close`, until the container is closed."""
        self._thread.join()

    def _pop(self) -> Arrival:
        arrival = self._waiting.popleft()
        self._bytes -= arrival.packet.size
        self._changed.notify_all()
        return arrival

    def _drop_what_is_late(self) -> None:
        now_ns = time.monotonic_ns()
        age_s = (now_ns - self._waiting[0].arrived_ns) * 1e-9
        if age_s > LATE_S or self._bytes > _LIVE_BYTES:
            keys = [place for place, arrival in enumerate(self._waiting) if _is_key(arrival)]
            if keys and keys[-1] > 0:
                self._drop(keys[-1])
            elif not keys and (age_s > VERY_LATE_S or self._bytes > _LIVE_BYTES):
                self._needs_key_until_ns = now_ns + round(_LONGEST_WAIT_S * 1e9)
        if now_ns < self._needs_key_until_ns:
            while self._waiting and not _is_key(self._waiting[0]):
                self._drop(1)
            if self._waiting:
                self._needs_key_until_ns = 0

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self._pop()
        self.dropped += count

    def _read(self) -> None:
        try:
            packets: Iterator[Any] = self._container.demux(self._stream, *self._sounds())
            for packet in packets:
                if self._audio is not None and isinstance(packet.stream, AudioStream):
                    self._audio.put(packet)
                    continue
                arrival = Arrival(packet, time.monotonic_ns())
                with self._changed:
                    while self._is_full() and not self._closing:
                        self._changed.wait()
                    if self._closing:
                        break
                    self._waiting.append(arrival)
                    self._bytes += packet.size
                    self._changed.notify_all()
        except (av.FFmpegError, OSError) as error:
            self._error = error.with_traceback(None)  # the traceback holds this reader, and so itself
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._closing)  # whose packets are still being decoded
            self._container.close()

    def _sounds(self) -> tuple[AudioStream, ...]:
        return () if self._audio is None else self._container.streams.audio[:1]

    def _is_full(self) -> bool:
        return not self._live and (len(self._waiting) >= _FILE_PACKETS or self._bytes >= _FILE_BYTES)


def _is_key(arrival: Arrival) -> bool:
    return arrival.packet.is_keyframe or arrival.packet.size == 0
