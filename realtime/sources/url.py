"""Network streams (RTSP, HTTP, UDP), through PyAV.

PyAV and OpenCV's VideoCapture measured alike on a loopback MJPEG server (6 against 5 ms from drawing to BGR, one decoder
thread each). PyAV says why an address fails, has timestamps and reports the end; VideoCapture only says no.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Sequence

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from common.arrays import ImageArray
from common.errors import UserError
from realtime.errors import SourceLost
from realtime.sources.pixels import FrameConverter
from realtime.sources.threaded_capture import ThreadedCapture
from realtime.sources.timing import StreamClock, nominal_fps

_LOG = logging.getLogger(__name__)

_OPTIONS = {
    "flags": "low_delay",
    "rtsp_transport": "tcp",  # lost UDP packets smear over seconds of video
    "probesize": "1000000",
    "analyzeduration": "1000000",  # microseconds
}
# Pictures that arrive while a live stream is analysed are old when it is done. Over HTTP there may be a film, whose first
# pictures are worth having.
_LIVE_OPTIONS = {"fflags": "nobuffer"}
# Formats without times: their readers invent 25 pictures a second.
_CLOCKLESS = re.compile(r"mpjpeg|mjpeg|h264|hevc|image2.*|.*_pipe")


def without_password(url: str) -> str:
    """``url`` fit for screens and files: user names and passwords are left out."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


class UrlSource(ThreadedCapture):
    """A stream at ``url``. When it breaks off it is connected anew after each of ``retry_delays_s`` seconds in turn, then
    it counts as lost. ``timeout_s`` limits every wait for the network. A film behind an address plays at its own pace.
    """

    def __init__(
        self, url: str, *, timeout_s: float = 5.0, retry_delays_s: Sequence[float] = (0.5, 1.0, 2.0, 4.0)
    ) -> None:
        super().__init__(without_password(url), open_timeout_s=3 * timeout_s)
        self._url = url
        self._timeout_s = timeout_s
        self._retry_delays_s = tuple(retry_delays_s)
        self._clock = StreamClock()
        self._spare: ImageArray | None = None

    def _deliver(self) -> None:
        container: InputContainer | None = self._connect(first=True)
        while container is not None:
            try:
                finished = self._play(container)
            finally:
                container.close()
            if finished or self._closing:
                return
            container = self._reconnect()

    def _connect(self, first: bool = False) -> InputContainer:
        options = _OPTIONS | ({} if self._url.lower().startswith("http") else _LIVE_OPTIONS)
        try:
            container = av.open(
                self._url, options=options, metadata_errors="replace", timeout=(self._timeout_s, self._timeout_s)
            )
        except (av.FFmpegError, OSError) as error:
            why = getattr(error, "strerror", None) or "no answer"
            raise UserError(f"{self.name} cannot be opened ({why}): check the address and that it is on") from None
        if not container.streams.video:
            container.close()
            raise UserError(f"{self.name} has no video in it: give the address of a camera's video stream")
        stream = container.streams.video[0]
        if getattr(stream, "codec_context", None) is None:
            container.close()
            raise UserError(f"{self.name} has a video that cannot be decoded here: set the camera to H.264 or MJPEG")
        stream.thread_type = "NONE"  # frame threads hold pictures back, one for each thread
        if first:
            self.fps = nominal_fps(stream.average_rate, stream.guessed_rate)
        return container

    def _reconnect(self) -> InputContainer | None:
        lost_ns = time.monotonic_ns()
        _LOG.warning(f"{self.name}: the connection broke off; trying again")
        for delay_s in self._retry_delays_s:
            if not self._pause(delay_s):
                return None
            try:
                container = self._connect()
            except UserError:
                continue
            _LOG.warning(f"{self.name}: connected again after {(time.monotonic_ns() - lost_ns) * 1e-9:.1f} s")
            self._clock.reset()
            return container
        raise SourceLost(
            f"{self.name} was lost and did not come back after {len(self._retry_delays_s)} attempts: "
            "check the camera and the network, then start anew"
        )

    def _play(self, container: InputContainer) -> bool:
        """Publish the pictures of one connection. Returns whether it came to a proper end."""
        stream = container.streams.video[0]
        aspect = stream.codec_context.sample_aspect_ratio
        converter = FrameConverter(float(aspect) if aspect else 1.0)
        has_clock = _CLOCKLESS.fullmatch(container.format.name) is None
        # What is stored, whole or in segments, arrives faster than it plays.
        in_bursts = container.duration is not None or container.format.name in ("hls", "dash")
        published = 0
        try:
            for frame in self._decode(container, stream):
                now_ns = time.monotonic_ns()
                pts_s = frame.time if has_clock and frame.pts is not None else None
                time_s = self._clock.time_of(pts_s, now_ns)
                early_s = self._clock.early_by(time_s, now_ns) if in_bursts else 0.0
                if early_s > 0:
                    if not self._pause(early_s):
                        return True
                    now_ns = time.monotonic_ns()
                width, height = converter.size_of(frame)
                image = self._spare
                if image is None or image.shape != (height, width, 3):
                    image = np.empty((height, width, 3), np.uint8)
                converter.convert(frame, image)
                self._spare = self._publish(image, now_ns, time_s)
                published += 1
                if self._closing:
                    return True
        except (av.FFmpegError, OSError):
            return False
        return container.duration is not None and published > 0

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
        """Frame by frame over damaged packets; raises the demuxer's errors."""
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError:
                continue
            yield from (frame for frame in frames if isinstance(frame, av.VideoFrame))
