"""The sound of a source, still encoded, by the clock of its frames: recordings get copies of its packets."""

from __future__ import annotations

import io
import logging
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import av
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.packet import Packet
from typing_extensions import override

_LOG = logging.getLogger(__name__)

_MAX_PACKETS: Final = 4096  # of a stream that nobody takes, more than a minute


class AudioPacket(NamedTuple):
    """An encoded packet of sound."""

    packet: Packet[AudioStream]
    """Encoded packet as the container holds it."""
    time_s: float
    """When it begins, seconds of the source's clock."""


class AudioTrack(ABC):
    """The first sound of a source. `take` belongs to one thread."""

    def __init__(self, stream: AudioStream) -> None:
        """Raises ValueError where an MP4 cannot hold the codec of ``stream``."""
        # A copy, in a container that is never written: the source may be closed before a recording begins.
        self._shelf = av.open(io.BytesIO(), "w", format="mp4")
        self.template: AudioStream = self._shelf.add_stream_from_template(stream)
        """What a recording's stream is made from."""
        # Broadcast and camera streams have a header in each packet, which an MP4 has once.
        has_headers = stream.codec_context.name == "aac" and not stream.codec_context.extradata
        self._unpack = BitStreamFilterContext("aac_adtstoasc", stream) if has_headers else None

    @abstractmethod
    def first_s(self) -> float | None:
        """When the next packet begins, seconds; None where none is known (yet)."""

    @abstractmethod
    def take(self, until_s: float) -> list[AudioPacket]:
        """What begins before ``until_s`` seconds and was not taken yet, in order."""

    def _as_in_mp4(self, packet: Packet[AudioStream]) -> list[tuple[Packet[AudioStream], float]]:
        """``packet`` as an MP4 holds it, and its presentation time, seconds; nothing for an empty or damaged one."""
        if packet.pts is None or packet.time_base is None or not packet.size:
            return []
        pts_s = float(packet.pts * packet.time_base)
        if self._unpack is None:
            return [(packet, pts_s)]
        try:
            return [(unpacked, pts_s) for unpacked in self._unpack.filter(packet)]
        except (av.FFmpegError, OSError):
            return []

    @abstractmethod
    def stop(self) -> None:
        """There is no more. May come from any thread, and twice."""


class FileAudio(AudioTrack):
    """The sound of a video file, read beside its frames.

    ``path`` is the file, ``zero_s`` the presentation time of its first frame, seconds. Raises av.FFmpegError and OSError where
    it cannot be read, LookupError where there is no sound, ValueError where an MP4 cannot hold it.
    """

    def __init__(self, path: Path, zero_s: float) -> None:
        self._container: InputContainer = av.open(os.path.abspath(path), metadata_errors="replace")
        self._zero_s = zero_s
        self._stopped = False
        try:
            stream = _audio_of(self._container)
            if stream is None:
                raise LookupError("no sound")
            super().__init__(stream)
            self._packets = self._read(stream)
            self._next = next(self._packets, None)
        except BaseException:
            self._container.close()
            raise

    @override
    def first_s(self) -> float | None:
        return None if self._next is None else self._next.time_s

    @override
    def take(self, until_s: float) -> list[AudioPacket]:
        taken = []
        while self._next is not None and self._next.time_s < until_s:
            taken.append(self._next)
            self._next = next(self._packets, None)
        return taken

    @override
    def stop(self) -> None:
        self._stopped = True

    def _read(self, stream: AudioStream) -> Iterator[AudioPacket]:
        try:
            for packet in self._container.demux(stream):
                if self._stopped:
                    return
                for ready, pts_s in self._as_in_mp4(packet):
                    yield AudioPacket(ready, pts_s - self._zero_s)
        except (av.FFmpegError, OSError):  # of a damaged file the readable part is copied
            return
        finally:
            self._container.close()


class StreamAudio(AudioTrack):
    """The sound that came with a stream's frames: one thread puts packets in, another takes them.

    ``place_of`` turns presentation times into the source's, seconds, and gives None while that is not known. Raises ValueError
    where an MP4 cannot hold ``stream``.
    """

    def __init__(self, stream: AudioStream, place_of: Callable[[float], float | None]) -> None:
        super().__init__(stream)
        self._place_of = place_of
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Packet[AudioStream], float]] = deque(maxlen=_MAX_PACKETS)
        self._stopped = False

    def put(self, packet: Packet[AudioStream]) -> None:
        """Keep ``packet`` until it is taken; of very many the oldest go."""
        ready = self._as_in_mp4(packet)
        with self._lock:
            if not self._stopped:
                self._waiting.extend(ready)

    def resume(self) -> None:
        """Another recording begins: what comes from now on is kept again."""
        with self._lock:
            self._stopped = False

    def restart(self) -> None:
        """The stream was connected anew: its presentation times may start over."""
        with self._lock:
            self._waiting.clear()

    @override
    def first_s(self) -> float | None:
        with self._lock:
            return self._first_s()

    @override
    def take(self, until_s: float) -> list[AudioPacket]:
        taken = []
        with self._lock:
            while (time_s := self._first_s()) is not None and time_s < until_s:
                taken.append(AudioPacket(self._waiting.popleft()[0], time_s))
        return taken

    @override
    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            self._waiting.clear()

    def _first_s(self) -> float | None:
        return self._place_of(self._waiting[0][1]) if self._waiting else None


def keeps_sound(name: str, speed: float) -> bool:
    """Whether recordings of the source ``name`` get its sound: not at another ``speed`` than it was taken at (logged)."""
    if speed != 1:
        _LOG.info(f"the sound of {name} is not recorded: --fps says that it plays at another speed than was taken")
    return speed == 1


def file_audio(path: Path, zero_s: float, name: str) -> AudioTrack | None:
    """The sound of the video file at ``path``, see `FileAudio`; None where there is none that a recording can hold, which is
    said of the source ``name``."""
    try:
        return FileAudio(path, zero_s)
    except LookupError:
        return None
    except (av.FFmpegError, OSError, ValueError) as error:
        _say_left_out(name, error)
        return None


def stream_audio(container: InputContainer, place_of: Callable[[float], float | None], name: str) -> StreamAudio | None:
    """The sound of an open ``container``, see `StreamAudio`; else as `file_audio`."""
    stream = _audio_of(container)
    if stream is None:
        return None
    try:
        return StreamAudio(stream, place_of)
    except ValueError as error:
        _say_left_out(name, error)
        return None


def _audio_of(container: InputContainer) -> AudioStream | None:
    found = next(iter(container.streams.audio), None)
    return None if found is None or getattr(found, "codec_context", None) is None else found


def _say_left_out(name: str, error: Exception) -> None:
    reason = "an MP4 cannot hold its codec" if isinstance(error, ValueError) else "it cannot be read"
    _LOG.warning(f"the sound of {name} is not recorded: {reason}")
