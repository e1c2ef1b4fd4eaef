"""Video files, through PyAV: every picture, upright, with its true time."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from common.arrays import ImageArray
from common.errors import UserError
from realtime.sources.clip import ClipSource
from realtime.sources.pixels import FrameConverter
from realtime.sources.timing import FileClock, nominal_fps

_LOG = logging.getLogger(__name__)

_MAX_BAD_PACKETS = 1000  # in a row: a file of noise must end some day
_DECODER_THREADS = 2  # the pipeline needs the other cores; one stream needs no more


class FileSource(ClipSource):
    """A video file. Times come from its timestamps, so that a variable frame rate is measured right.

    What is damaged is left out with a warning. A picture whose size changes on the way is fitted into the first size.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(str(path))
        self._path = Path(path)
        self._container: InputContainer | None = None
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._converter = FrameConverter()
        self._waiting: av.VideoFrame | None = None
        self._present: av.VideoFrame | None = None
        self._next_index = 0
        self._last_s = 0.0
        self._bad_packets = 0
        self._duration_s: float | None = None
        self._size_noticed = False

    def _open(self) -> None:
        if not self._path.is_file():
            raise UserError(
                f"there is no file {self.name}: give a video, a picture, a folder of pictures or a camera number"
            )
        try:
            self._container = av.open(str(self._path), metadata_errors="replace")  # titles in Latin-1 are common
        except (av.FFmpegError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else "damaged, cut short or no video"
            raise UserError(f"{self.name} cannot be read as a video ({why}): try another file") from None
        stream = _picture_stream(self._container, self.name)
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = _DECODER_THREADS
        self.fps = nominal_fps(stream.average_rate, stream.guessed_rate)
        self.frame_count = stream.frames or None
        self._duration_s = _duration(self._container, stream)
        self._clock = FileClock(self.fps)
        aspect = stream.codec_context.sample_aspect_ratio
        self._converter = FrameConverter(float(aspect) if aspect else 1.0)
        self._frames = self._decode(self._container, stream)
        self._waiting = next(self._frames, None)  # the decoder knows size and rotation better than the header
        if self._waiting is None:
            raise UserError(f"{self.name} has no picture that can be decoded: the file is damaged or cut short")
        self.size = self._converter.size_of(self._waiting)

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
        pts_s = None if frame.pts is None or frame.time_base is None else float(frame.pts * frame.time_base)
        self._last_s = self._clock.time_of(pts_s)
        index = self._next_index
        self._next_index += 1
        return index, self._last_s

    def _render(self, buffer: ImageArray) -> None:
        assert self._present is not None, "advance comes first"
        size = self._converter.size_of(self._present)
        if size != self.size and not self._size_noticed:
            self._size_noticed = True
            _LOG.warning(
                f"{self.name}: pictures change from {_times(self.size)} to {_times(size)} at {self._last_s:.2f} s; "
                f"they are fitted into {_times(self.size)}"
            )
        self._converter.convert(self._present, buffer)

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
        """Frame by frame, over damaged packets. Ends at the end, at a demuxer's error and at close()."""
        packets = container.demux(stream)
        bad_in_a_row = 0
        while not self._closed:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError):
                self._bad_packets += 1
                break
            if packet is None:
                return
            try:
                frames = packet.decode()
            except (av.FFmpegError, OSError):
                self._bad_packets += 1
                bad_in_a_row += 1
                if bad_in_a_row > _MAX_BAD_PACKETS:
                    return
                continue
            bad_in_a_row = 0
            for frame in frames:
                if isinstance(frame, av.VideoFrame):
                    yield frame
        if not self._closed:
            try:
                yield from stream.decode(None)  # what the decoder still holds
            except (av.FFmpegError, OSError):
                return

    def _notice_the_end(self) -> None:
        """Say once that a file was not whole: parts that did not decode, or pictures missing at its end."""
        if self._closed or self._container is None:
            return
        self._container.close()
        self._container = None
        end_s = self._last_s + 1.0 / self.fps
        missing = self._duration_s is not None and end_s < 0.95 * self._duration_s - 0.2
        if missing:
            _LOG.warning(f"{self.name} is damaged or cut short: it ends after {end_s:.2f} of {self._duration_s:.2f} s")
        elif self._bad_packets:
            _LOG.warning(f"{self.name} is damaged: {self._bad_packets} of its parts could not be decoded")


def _picture_stream(container: InputContainer, name: str) -> VideoStream:
    """The stream with the film, or UserError. Album covers are no film, and neither is text drawn as ANSI art."""
    if container.format.name == "tty":
        raise UserError(f"{name} is a text file: give a video, a picture, a folder of pictures or a camera number")
    films = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not films:
        kinds = sorted({str(stream.type) for stream in container.streams}) or ["nothing"]
        raise UserError(f"{name} has no video in it, only {' and '.join(kinds)}: give a file with pictures")
    # Streams that no decoder is built in for have no codec context, whatever its type says.
    films = [stream for stream in films if getattr(stream, "codec_context", None) is not None]
    if not films:
        raise UserError(f"{name} has a video that cannot be decoded here: convert it to H.264")
    return max(films, key=lambda stream: stream.width * stream.height)


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds that the pictures should last, None where the container's length may be that of its sound."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
