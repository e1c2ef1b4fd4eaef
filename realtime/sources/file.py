"""Video files, through PyAV: every frame, upright, with its true time."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from typing_extensions import override

from common.arrays import ImageArray
from common.errors import UserError
from realtime.options import DecoderChoice
from realtime.sources.address import public_name
from realtime.sources.audio import AudioTrack, file_audio, keeps_sound
from realtime.sources.clip import ClipSource
from realtime.sources.decoding import best_stream, coded_fps, duration_of, has_times, is_cover, is_empty, open_video
from realtime.sources.pixels import FrameConverter
from realtime.sources.timing import UNTIMED_FPS, FileClock, believable_fps, can_be_times

_MAX_BAD_PACKETS = 1000  # in a row: a file of noise must end some day
_DECODER_THREADS = 2  # the pipeline needs the other cores; one stream needs no more
_PEEKED_PACKETS = 64  # whose timestamps say the rate
_PEEKED_BYTES = 16_000_000


class FileSource(ClipSource):
    """A video file. Times come from its timestamps, so that a variable frame rate is measured right.

    ``fps`` says how many frames a second the camera took where the file plays slower or faster than that (a phone's slow
    motion): times are scaled. What is damaged is left out with a warning. A frame whose size changes on the way is fitted
    into the first size.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float | None = None,
        name: str | None = None,
        decoder: DecoderChoice = "cpu",
    ) -> None:
        super().__init__(public_name(str(path)) if name is None else name)
        self._path = Path(path)
        self._decoder = decoder
        self._wished_fps = fps
        self._scale = 1.0
        self._has_times = True
        self._container: InputContainer | None = None
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._converter = FrameConverter()
        self._waiting: av.VideoFrame | None = None
        self._present: av.VideoFrame | None = None
        self._next_index = 0
        self._zero_s = self._last_s = 0.0
        self._bad_packets = 0
        self._duration_s: float | None = None
        self._size_noticed = False

    def _open(self) -> None:
        if not os.path.isfile(self._path):
            raise UserError(_why_no_file(self._path, self.name))
        try:
            # A relative name with a colon in it ("12:30:05.mp4") would be taken for an address.
            address = os.path.abspath(self._path)
            # Titles in Latin-1 are common.
            self._container = open_video(address, self._decoder, self.name, metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else "damaged, cut short or no video"
            why = why if os.path.getsize(self._path) else "it is empty"
            raise UserError(f"{self.name} cannot be read as a video ({why}): try another file") from None
        stream = _video_stream(self._container, self.name)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = _DECODER_THREADS
        self.frame_count = stream.frames or None
        self._duration_s = duration_of(self._container, stream)
        packets = self._packets(self._container, stream)
        first, times_s = _peek(packets)
        self._has_times = has_times(self._container, stream) and can_be_times(times_s)
        if self._has_times:
            fps = believable_fps((stream.average_rate, stream.guessed_rate), times_s)
        else:
            fps = self._untimed_fps(stream)
        self.fps = self._wished_fps or fps
        self._scale = fps / self.fps
        self._clock = FileClock(fps, self._say_gap)
        self._converter = FrameConverter(pixel_aspect(stream))
        self._frames = self._decode(chain(first, packets), stream)
        self._waiting = next(self._frames, None)  # the decoder knows size and rotation better than the header
        if self._waiting is None:
            raise UserError(f"{self.name} has no frame that can be decoded: the file is damaged or cut short")
        self._zero_s = _seconds_of(self._waiting) or 0.0
        self.size = self._converter.size_of(self._waiting)

    @override
    def open_audio(self) -> AudioTrack | None:
        if not keeps_sound(self.name, self._scale):
            return None
        return file_audio(self._path, self._zero_s, self.name)

    def _release(self) -> None:
        self._frames = iter(())
        self._waiting = self._present = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def _advance(self) -> tuple[int, float] | None:
        frame = next(self._frames, None) if self._waiting is None else self._waiting
        self._waiting = None
        if frame is None:
            self._notice_the_end()
            return None
        self._present = frame
        self._last_s = self._clock.time_of(_seconds_of(frame) if self._has_times else None)
        index = self._next_index
        self._next_index += 1
        return index, self._last_s * self._scale

    def _render(self, buffer: ImageArray) -> None:
        assert self._present is not None, "advance comes first"
        size = self._converter.size_of(self._present)
        if size != self.size and not self._size_noticed:
            self._size_noticed = True
            self._say(
                f"{self.name}: frames change from {_times(self.size)} to {_times(size)} at {self._last_s:.2f} s; "
                f"they are fitted into {_times(self.size)}"
            )
        self._converter.convert(self._present, buffer)

    def _packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
        """What the file holds, up to its end, a demuxer's error or close()."""
        packets = container.demux(stream)
        while not self._closed:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError):
                self._bad_packets += 1
                return
            if packet is None:
                return
            yield packet

    def _decode(self, packets: Iterator[Packet[VideoStream]], stream: VideoStream) -> Iterator[av.VideoFrame]:
        """Frame by frame, over damaged packets."""
        bad_in_a_row = 0
        for packet in packets:
            if is_empty(packet):
                continue
            try:
                frames = packet.decode()
            except (av.FFmpegError, OSError):
                self._bad_packets += 1
                bad_in_a_row += 1
                if bad_in_a_row > _MAX_BAD_PACKETS:
                    return
                continue
            bad_in_a_row = 0
            yield from frames
        if not self._closed and self._bad_packets:  # a demuxer that failed did not send the packet that flushes
            try:
                yield from stream.decode(None)  # what the decoder still holds
            except (av.FFmpegError, OSError):
                return

    def _untimed_fps(self, stream: VideoStream) -> float:
        """Frames a second of a file that stores no times, such as a bare .h264 or .mjpeg, or none worth the name."""
        coded = coded_fps(stream)
        if coded is None and self._wished_fps is None:
            self._say(
                f"{self.name} does not say its frame rate: {UNTIMED_FPS:.0f} frames a second are assumed; --fps says it"
            )
        return coded or self._wished_fps or UNTIMED_FPS

    def _say_gap(self, gap_s: float) -> None:
        self._say(f"{self.name} has a gap of {gap_s:.0f} s in its timestamps, which is closed")
        if self._duration_s is not None:
            self._duration_s -= gap_s

    def _notice_the_end(self) -> None:
        """Say once that a file was not whole: parts that did not decode, or frames missing at its end."""
        if self._closed or self._container is None:
            return
        self._container.close()
        self._container = None
        end_s = self._last_s + 1.0 / self.fps
        missing = self._duration_s is not None and end_s < 0.95 * self._duration_s - 0.2
        if missing:
            self._say(f"{self.name} is damaged or cut short: it ends after {end_s:.2f} of {self._duration_s:.2f} s")
        elif self._bad_packets:
            self._say(f"{self.name} is damaged: {self._bad_packets} of its parts could not be decoded")


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    """The stream to play, or UserError. Neither album covers nor text drawn as ANSI art count."""
    if container.format.name == "tty":
        raise UserError(f"{name} is a text file: give a video, an image, a folder of images or a camera number")
    stream = best_stream(container.streams.video)
    if stream is None and all(is_cover(one) for one in container.streams.video):
        kinds = sorted({str(one.type) for one in container.streams}) or ["nothing"]
        raise UserError(f"{name} has no video in it, only {' and '.join(kinds)}: give a file with a video stream")
    if stream is None:
        raise UserError(f"{name} has a video that cannot be decoded here: convert it to H.264")
    return stream


def _why_no_file(path: Path, name: str) -> str:
    """Why ``path`` is no file that can be read, and what to do."""
    try:
        os.stat(path)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            return f"{name} cannot be reached ({os.strerror(error.errno or 0)}): give another file"
    except ValueError:  # a zero byte
        pass
    else:
        return f"{name} is a pipe, a socket or a disk, which cannot be read as a video: write it to a file first"
    if name == "-":
        return "standard input cannot be read as a video: write it to a file first"
    return f"there is no file {name}: give a video, an image, a folder of images or a camera number"


def _peek(packets: Iterator[Packet[VideoStream]]) -> tuple[list[Packet[VideoStream]], list[float]]:
    """The first packets, and the times in seconds of the frames in them."""
    first: list[Packet[VideoStream]] = []
    size = 0
    for packet in packets:
        first.append(packet)
        size += packet.size
        if len(first) >= _PEEKED_PACKETS or size > _PEEKED_BYTES:
            break
    stamped = [packet for packet in first if packet.pts is not None and packet.time_base is not None]
    return first, [float(packet.pts * packet.time_base) for packet in stamped if packet.pts is not None]


def _seconds_of(frame: av.VideoFrame) -> float | None:
    pts, base = frame.pts, frame.time_base
    # A whole number over another one: a product of fractions takes ten times as long.
    return None if pts is None or base is None else pts * base.numerator / base.denominator


def pixel_aspect(stream: VideoStream) -> float:
    """Width of a stored pixel over its height. The container's word comes before the codec's, as in players."""
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return float(aspect) if aspect else 1.0


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
