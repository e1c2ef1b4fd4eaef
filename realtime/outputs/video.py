"""Recording images as an H.264 video with true times, whatever happens to the program."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from common.arrays import ImageArray
from common.errors import UserError
from common.files import check_unclaimed, check_writable, claim, reason_of
from realtime.options import EncoderChoice
from realtime.outputs.audio_copy import AUDIO_CONTAINER_OPTIONS, AudioCopy
from realtime.outputs.encoders import TIME_BASE, choose_encoder, software_encoder
from realtime.outputs.yuv import YuvFrame
from realtime.sources.audio import AudioTrack

_LOG = logging.getLogger(__name__)

_LONGEST_FRAME = 2**31 - 1  # in units of the time base, 6.6 hours: the longest that an MP4 can store
# The file grows in fragments, each playable as soon as it is on the disk; closing turns it into an ordinary MP4, in which
# players can seek.
_CONTAINER_OPTIONS = {"movflags": "hybrid_fragmented", "flush_packets": "1"}


class VideoRecorder:
    """Writes images to ``path``, an MP4 (H.264, yuv420p, variable frame rate). ``fps`` is only a hint to the encoder.

    The video begins at ``zero_s`` seconds of that clock, with the first image; None: when that comes. The first image gives
    the size; a killed program leaves a playable file. ``write`` and ``close`` may come from different threads. Nothing is
    written, and a file that was there is kept, until the first image comes.

    ``encoder`` chooses what encodes, see `choose_encoder`.

    Raises UserError when ``path`` cannot be written: known here, before a camera starts.
    """

    def __init__(
        self,
        path: str | Path,
        fps: float = 30.0,
        zero_s: float | None = None,
        encoder: EncoderChoice = "x264",
    ) -> None:
        self.path = Path(path)
        check_writable(self.path)
        check_unclaimed(self.path)
        self._claim: IO[bytes] | None = None
        self._encoder = choose_encoder(encoder)
        self._fps = Fraction(fps).limit_denominator(1001)
        self._lock = threading.Lock()
        self._container: OutputContainer | None = None
        self._yuv: YuvFrame | None = None
        self._size = (0, 0)
        self._padded: ImageArray | None = None
        self._first_s = zero_s
        self._last_pts = -1
        self._audio: AudioCopy | None = None
        self._last_s, self._step_s = 0.0, float(1 / self._fps)
        self.frames = 0
        """Frames written so far."""
        self._closed = False

    def __enter__(self) -> VideoRecorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add_audio(self, audio: AudioTrack | None) -> None:
        """Copy the packets of ``audio``, whose clock is that of the images, into the file; before the first image.

        They begin with the video and end with its last image. Sound that begins more than a second later is left out.
        """
        self._audio = None if audio is None else AudioCopy(audio)

    def write(self, image: ImageArray, time_s: float) -> None:
        """Append ``image``, uint8 (H, W, 3) BGR, shown from ``time_s`` seconds (of any clock; the first one is 0).

        The array may be used again after the call. Does nothing after ``close``. Raises UserError when the disk is full
        or gone (what was recorded stays playable), ValueError for an image of another size than the first.
        """
        with self._lock:
            if self._closed:
                return
            height, width = image.shape[:2]
            if self._size == (0, 0):
                self._size = (width, height)
            if self._first_s is None:
                self._first_s = time_s
            if (width, height) != self._size or image.ndim != 3 or image.dtype != np.uint8:
                raise ValueError(f"the recording takes uint8 images of {self._size}, got {image.dtype} {image.shape}")
            try:
                if self._container is None:
                    self._start()
                if not self.frames and self._first_s < time_s:  # players, and the format, begin at 0
                    self._mux(self._encoder.encode(self._frame(image, self._first_s)))
                self._mux(self._encoder.encode(self._frame(image, time_s)))
                self._mux_audio(time_s)
                if self.frames:
                    self._step_s = time_s - self._last_s
                self._last_s = time_s
                self.frames += 1
            except (av.FFmpegError, OSError) as error:
                raise self._broken(error) from None

    def close(self) -> None:
        """Finish the file. Does nothing when it is finished. Raises UserError when the disk is full or gone."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            container = self._container
            if container is None:
                self._stop_audio()
                return
            try:
                self._mux_audio(self._last_s + self._step_s)
                self._mux(self._encoder.encode(None))
                container.close()
            except (av.FFmpegError, OSError) as error:
                raise self._broken(error) from None
            finally:
                self._container = None
                self._release()

    def _start(self) -> None:
        width, height = (length + length % 2 for length in self._size)  # colour is stored for 2x2 pixels
        if (width, height) != self._size:
            self._padded = np.empty((height, width, 3), np.uint8)
        self._yuv = YuvFrame(width, height)
        assert self._first_s is not None  # set by `write`
        if self._audio is not None and not self._audio.begins_at(self._first_s):
            self._audio = None
        self._claim = claim(self.path)
        self._container = self._new_container()
        try:
            self._encoder.open(self._container, width, height, self._fps)
        except (av.FFmpegError, OSError) as error:
            name, software = self._encoder.name, software_encoder()
            if name == software.name:
                raise
            _LOG.warning(
                f"{name} does not encode {width}x{height} ({reason_of(error, self.path)}): recording with x264"
            )
            self._encoder.close()
            self._encoder, self._container = software, self._new_container()
            software.open(self._container, width, height, self._fps)
        if self._audio is not None:
            self._audio.open(self._container)

    def _new_container(self) -> OutputContainer:
        # A relative name with a colon in it would be taken for an address.
        options = _CONTAINER_OPTIONS if self._audio is None else _CONTAINER_OPTIONS | AUDIO_CONTAINER_OPTIONS
        return av.open(os.path.abspath(self.path), "w", format="mp4", options=options)

    def _frame(self, image: ImageArray, time_s: float) -> av.VideoFrame:
        if self._padded is not None:
            height, width = self._padded.shape[:2]
            down, right = height - image.shape[0], width - image.shape[1]
            cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REPLICATE, dst=self._padded)
            image = self._padded
        assert self._yuv is not None  # made by `_start`
        self._yuv.fill(image)
        frame = self._yuv.frame
        assert self._first_s is not None  # set by `write`
        pts = round((time_s - self._first_s) / TIME_BASE)
        if self._last_pts >= 0 and pts - self._last_pts > _LONGEST_FRAME:
            _LOG.warning(f"{self.path}: a gap of {(pts - self._last_pts) * float(TIME_BASE):.0f} s is closed")
            closed_pts = self._last_pts + round(1 / self._fps / TIME_BASE)
            self._first_s, pts = time_s - float(closed_pts * TIME_BASE), closed_pts
        self._last_pts = max(pts, self._last_pts + 1)
        frame.pts, frame.time_base = self._last_pts, TIME_BASE
        return frame

    def _mux(self, packets: Iterable[Packet[VideoStream]]) -> None:
        assert self._container is not None
        for packet in packets:
            self._container.mux(packet)

    def _mux_audio(self, until_s: float) -> None:
        if self._audio is not None and self._container is not None and self._first_s is not None:
            self._audio.mux(self._container, self._first_s, until_s)

    def _release(self) -> None:
        """Let go of everything besides the container."""
        self._encoder.close()
        self._stop_audio()
        if self._claim is not None:
            self._claim.close()

    def _stop_audio(self) -> None:
        if self._audio is not None:
            self._audio.stop()

    def _broken(self, error: Exception) -> UserError:
        """Stop recording; the fragments that are on the disk stay as they are."""
        self._closed = True
        container, self._container = self._container, None
        self._release()
        if container is not None:
            with contextlib.suppress(av.FFmpegError, OSError):
                container.close()
        return UserError(f"recording stopped: {reason_of(error, self.path)}; {self.path} plays up to here")
