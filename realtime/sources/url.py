"""Network streams (RTSP, HTTP, UDP) and video files behind an address, through PyAV.

PyAV and OpenCV's VideoCapture measured alike on a loopback MJPEG server (6 against 5 ms from drawing to BGR, one decoder
thread each). PyAV says why an address fails, has timestamps and reports the end; VideoCapture only says no.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from typing import Final

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from typing_extensions import override

from common.arrays import ImageArray
from common.errors import UserError
from realtime.errors import SourceLost
from realtime.options import DecoderChoice
from realtime.sources.address import check_address, escaped, public_name
from realtime.sources.audio import AudioTrack, StreamAudio, keeps_sound, stream_audio
from realtime.sources.decoding import best_stream, coded_fps, duration_of, has_times, is_empty
from realtime.sources.file import pixel_aspect
from realtime.sources.opening import HopelessError, open_stream, why_broken
from realtime.sources.packets import LATE_S, PacketReader
from realtime.sources.pixels import FrameConverter
from realtime.sources.spool import Spool, open_spooled
from realtime.sources.threaded_capture import ThreadedCapture
from realtime.sources.timing import (
    UNTIMED_FPS,
    FilmClock,
    RateMeter,
    StreamClock,
    believable_fps,
    can_be_times,
    nominal_fps,
)

_LOG = logging.getLogger(__name__)

_STORED: Final = re.compile(r"(http|https|ftp|ftps|sftp)://", re.IGNORECASE)
_KNOW_THEIR_LENGTH: Final = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "hls")
"""Formats, by FFmpeg's names, whose length is not estimated from the size."""
_RATE_S: Final = 2.0
_PEEKED_PACKETS: Final = 32  # of a file, whose timestamps say its rate
_PEEK_S: Final = 1.0
_SAME_RATE: Final = 0.05
_SHOW_ALTHOUGH_LATE_S: Final = 0.1


class UrlSource(ThreadedCapture):
    """A stream or video file at ``url``.

    A stream has no end: when it breaks off, or is not there yet, it is tried again after growing gaps, for ``retry_s`` seconds
    (None: until it is closed). What arrives faster than it can be decoded is dropped before that. A file, whose length the
    server or the container knows, plays once, at its own pace; ``fps`` as for a video file. ``timeout_s`` limits every wait
    for the network.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 5.0,
        retry_s: float | None = None,
        fps: float | None = None,
        decoder: DecoderChoice = "cpu",
    ) -> None:
        waits_s = None if retry_s is None else retry_s + 3 * timeout_s
        super().__init__(public_name(url), waits_s, retry_s)
        check_address(url)
        scheme, colon, rest = url.strip().partition(":")
        url = scheme.lower() + colon + rest  # FFmpeg knows small letters alone
        self._url = escaped(url) if _STORED.match(url) else url
        self._decoder = decoder
        self._timeout_s = timeout_s
        self._wished_fps = fps
        self._scale = 1.0
        self._clock: StreamClock | FilmClock = StreamClock()
        self._spare: ImageArray | None = None
        self._converter: FrameConverter | None = None
        self._aspect = 1.0
        self._is_file = False
        self._length_s: float | None = None
        self._last_s = 0.0
        self._seen = 0
        self._opening: tuple[int | None, bytes] | None = None
        self._says_late = True
        self._audio: StreamAudio | None = None

    @override
    def open_audio(self) -> AudioTrack | None:
        if not keeps_sound(self.name, self._scale):
            return None
        if self._audio is not None:
            self._audio.resume()
        return self._audio

    def _deliver(self) -> None:
        container = self._first_connection()
        while container is not None:
            finished = self._play(container)
            if finished or self._closing:
                return
            container = self._reconnect()

    def _first_connection(self) -> InputContainer | None:
        try:
            return self._connect(first=True)
        except HopelessError:
            raise
        except UserError as error:
            if self._retry_s == 0:
                raise
            reason = error
        _LOG.warning(f"{reason}; waiting for it")
        for waited_s in self._attempts():
            try:
                container = self._connect(first=True)
            except HopelessError:
                raise
            except UserError as error:
                reason = error
                continue
            _LOG.info(f"{self.name}: connected after {waited_s:.1f} s")
            return container
        if self._closing:
            return None
        raise reason

    def _reconnect(self) -> InputContainer | None:
        _LOG.warning(f"{self.name}: the connection broke off; trying again")
        for lost_s in self._attempts():
            try:
                container = self._connect()
            except UserError:
                continue
            _LOG.warning(f"{self.name}: connected again after {lost_s:.1f} s")
            self._clock.reset()
            if self._audio is not None:
                self._audio.restart()
            return container
        if self._closing:
            return None
        raise SourceLost(
            f"{self.name} was lost and did not come back: check the camera and the network, then start anew"
        )

    def _connect(self, first: bool = False) -> InputContainer:
        container, stream = open_stream(self._url, self.name, self._decoder, self._timeout_s, first)
        stream.thread_type = "SLICE"  # frame threads hold frames back, one for each thread
        if first:
            self._is_file = self._has_an_end(container)
            if self._is_file:
                self._clock = FilmClock(self._say_gap)
            self.fps = nominal_fps(stream.average_rate, stream.guessed_rate)
            self._audio = stream_audio(container, self._clock.place_of, self.name)
            if container.format.name in _KNOW_THEIR_LENGTH:
                self._length_s = duration_of(container, stream)
            if self._wished_fps and not self._is_file:
                _LOG.warning(f"{self.name} keeps its rate: only cameras of this machine change it")
        return container

    def _has_an_end(self, container: InputContainer) -> bool:
        """Whether this is a file: the container knows how long it lasts, or the server how large it is."""
        if container.format.name == "mpjpeg":
            return False
        if container.duration is not None and container.duration > 0:
            return True
        if container.format.name in ("hls", "dash") or not _STORED.match(self._url):
            return False
        return container.size > 0

    def _play(self, container: InputContainer) -> bool:
        """Publish the frames of one connection. Returns whether that was all: the end of a file, or `close`."""
        in_bursts = self._is_file or container.format.name in ("hls", "dash")
        packets = PacketReader(container, _stream_of(container), live=not in_bursts, audio=self._audio)
        self._seen = 0
        try:
            began_again = self._publish_all(packets, container, in_bursts)
        except (av.FFmpegError, OSError) as error:
            if not self._is_file:
                return False
            if self._seen:
                if not self._length_s or self._ends_early():
                    _LOG.warning(
                        f"{self.name}: the connection broke off ({why_broken(error, self._timeout_s)}), and the video ends here"
                    )
                return True
            began_again = False
        finally:
            packets.close()
        if self._closing or began_again:
            return True
        if not self._is_file:
            return False
        if not self._seen:
            return self._play_spooled()
        if self._ends_early():
            _LOG.warning(
                f"{self.name}: the connection broke off, or the file is cut short: the video ends after "
                f"{self._last_s:.1f} of {self._length_s:.1f} s"
            )
        return True

    def _say_gap(self, gap_s: float) -> None:
        gap_s /= self._scale
        _LOG.warning(f"{self.name} has a gap of {gap_s:.0f} s in its timestamps, which is closed")
        if self._length_s is not None:
            self._length_s -= gap_s

    def _ends_early(self) -> bool:
        """Whether a file of known length did not play to its end."""
        return self._length_s is not None and self._last_s + 1 / self.fps < 0.95 * self._length_s - 0.2

    def _play_spooled(self) -> bool:
        """Play a file that has to be read in another order than the server sends it."""
        if not self._url.lower().startswith("http"):
            raise HopelessError(f"{self.name} cannot be played from there: copy the file to this machine")
        with Spool(self._url, self.name, self._timeout_s, lambda: self._closing) as spool:
            container = open_spooled(spool, self.name)
            packets = PacketReader(container, _stream_of(container), live=False, audio=self._audio)
            try:
                self._publish_all(packets, container, in_bursts=True)
            except (av.FFmpegError, OSError):
                _LOG.warning(f"{self.name} is damaged or cut short")
            finally:
                packets.close()
                packets.join()
            if spool.failure is not None:
                raise spool.failure
        if not self._seen and not self._closing:
            raise HopelessError(
                f"{self.name} has no frame that can be decoded from there: copy the file to this machine"
            )
        return True

    def _publish_all(self, packets: PacketReader, container: InputContainer, in_bursts: bool) -> bool:
        """Publish frame after frame, to the end or `close`. Returns True where a file of unknown length began again."""
        stream = _stream_of(container)
        converter = self._converter_for(pixel_aspect(stream))
        has_clock = has_times(container, stream)
        if self._is_file:
            has_clock = self._learn_rate(packets, stream, has_clock)
        rate = RateMeter(_RATE_S)
        dropped = skipped = 0
        last_shown_ns = 0
        for frame, arrived_ns in self._decode(packets, stream, in_bursts):
            if self._seen == 0 and has_clock and self._began_before(frame):
                return True
            pts_s = frame.time if has_clock and frame.pts is not None else None
            if pts_s is None and self._is_file:
                pts_s = self._seen / (self.fps * self._scale)
            time_s = self._clock.time_of(None if pts_s is None else pts_s * self._scale, arrived_ns)
            fresh, dropped = packets.dropped - dropped, packets.dropped
            self._measure(rate, time_s, fresh)
            self._last_s = time_s / self._scale
            self._seen += 1
            skipped += fresh
            late_s = packets.late_s
            if in_bursts:
                now_ns = time.monotonic_ns()
                if isinstance(self._clock, FilmClock) and packets.was_starved:
                    self._clock.wait_for_network(time_s, now_ns)
                early_s = self._clock.early_by(time_s, now_ns)
                if early_s > 0 and not self._pause(early_s):
                    return False
                # What came late from the network is not late because of decoding.
                late_s = min(-early_s - LATE_S, (now_ns - arrived_ns) * 1e-9)
                arrived_ns = time.monotonic_ns()
            if late_s > LATE_S and (time.monotonic_ns() - last_shown_ns) * 1e-9 < _SHOW_ALTHOUGH_LATE_S:
                skipped += 1  # decoded, for others need it, but not worth converting
                continue
            width, height = converter.size_of(frame)
            image = self._spare
            if image is None or image.shape != (height, width, 3):
                image = np.empty((height, width, 3), np.uint8)
            converter.convert(frame, image)
            self._spare = self._publish(image, arrived_ns, time_s, skipped)
            if skipped:
                self._say_late(stream)
            skipped, last_shown_ns = 0, time.monotonic_ns()
        return False

    def _learn_rate(self, packets: PacketReader, stream: VideoStream, has_clock: bool) -> bool:
        """Of a file: the rate that its timestamps support, and how much faster or slower than that it was taken. Returns
        whether its timestamps are of any use."""
        times_s = packets.first_times(_PEEKED_PACKETS, _PEEK_S) if has_clock else []
        has_clock = has_clock and can_be_times(times_s)
        if has_clock:
            fps = believable_fps((stream.average_rate, stream.guessed_rate), times_s)
        else:
            fps = coded_fps(stream) or self._wished_fps or UNTIMED_FPS
        self.fps = self._wished_fps or fps
        self._scale = fps / self.fps
        return has_clock

    def _converter_for(self, aspect: float) -> FrameConverter:
        """The same one for every connection: the first frame that a new one sees stays in memory (see `FrameConverter`)."""
        if self._converter is None or aspect != self._aspect:
            self._converter, self._aspect = FrameConverter(aspect), aspect
        return self._converter

    def _decode(
        self, packets: PacketReader, stream: VideoStream, in_bursts: bool
    ) -> Iterator[tuple[av.VideoFrame, int]]:
        """Frame by frame over damaged packets, with the time of arrival; raises the demuxer's errors."""
        arrivals: dict[int, int] = {}
        while not self._closing and (arrival := packets.take()) is not None:
            packet, arrived_ns = arrival
            if packet.pts is not None:
                arrivals[packet.pts] = arrived_ns
                if len(arrivals) > 64:
                    del arrivals[next(iter(arrivals))]
            stream.codec_context.skip_frame = "NONREF" if packets.late_s > LATE_S and not in_bursts else "DEFAULT"
            if is_empty(packet):
                continue
            try:
                frames = packet.decode()
            except (av.FFmpegError, OSError):  # damaged; the demuxer raises when the connection breaks off
                continue
            for frame in frames:
                yield frame, arrived_ns if frame.pts is None else arrivals.get(frame.pts, arrived_ns)

    def _began_before(self, frame: av.VideoFrame) -> bool:
        """Whether a new connection begins with the very frame that the first one began with: a file whose length the
        server does not say. Live frames are never the same twice, and mostly not even their timestamps."""
        plane = (
            bytes(memoryview(frame.planes[0])[:65536]) if _STORED.match(self._url) and frame.pts is not None else b""
        )
        opening = (frame.pts, plane)
        if self._opening is None:
            self._opening = opening
            return False
        return bool(plane) and len(set(plane)) > 1 and opening == self._opening

    def _measure(self, rate: RateMeter, time_s: float, dropped: int) -> None:
        measured = rate.count(time_s, 1 + dropped)
        if measured is not None and not self._is_file and abs(measured / self.fps - 1) > _SAME_RATE:
            self.fps = round(measured, 1) or measured

    def _say_late(self, stream: VideoStream) -> None:
        if self._says_late and self.fps:
            self._says_late = False
            _LOG.warning(
                f"{self.name}: {stream.width}x{stream.height} at {self.fps:.0f} fps is more than can be decoded here; "
                "frames are left out: set the camera to a smaller size or rate"
            )


def _stream_of(container: InputContainer) -> VideoStream:
    stream = best_stream(container.streams.video)
    assert stream is not None  # `_connect` has checked
    return stream
