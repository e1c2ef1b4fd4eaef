"""What turns frames into H.264: x264 on the CPU, NVIDIA's encoder through PyAV, or a GStreamer element of a board.

All give packets in the order of the frames, without B-frames, so that a killed program loses little. Which of them work here
is found out by encoding a few frames, before a camera starts.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import threading
from abc import ABC, abstractmethod
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from av.container import OutputContainer
from av.packet import Packet
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from typing_extensions import override

from realtime.options import EncoderChoice

_LOG = logging.getLogger(__name__)

TIME_BASE: Final = Fraction(1, 90_000)
KEY_FRAMES_EVERY: Final = 60
"""Frames; a killed program loses what came since the last one, about 2 s."""

# Measured on a 2514x994 image: against preset superfast with crf 23, a third less processor time at a higher PSNR and SSIM, and
# 1.2 times the file; against veryfast with its look-ahead, a quarter of the time. One quantiser for all frames instead of a
# rate factor: x264 then need not make a small copy of each frame and search it for motion to guess what it will cost.
# Deblocking is on, which the preset alone leaves out: blocks would be seen. Its two threads take a frame each, not half of
# one: while one is encoded the next is drawn. So the encoder holds one frame back, which a killed program loses.
_X264: Final = {
    "preset": "ultrafast",
    "tune": "zerolatency",
    "qp": "22",
    "threads": "2",
    "x264-params": "sliced-threads=0:no-deblock=0:8x8dct=1:partitions=i4x4,i8x8",
}
_NVENC: Final = {"preset": "p4", "tune": "ll", "rc": "constqp", "qp": "23", "bf": "0", "delay": "0", "zerolatency": "1"}

_LAUNCH: Final = "gst-launch-1.0"
_BOARDS: Final = (Path("/etc/nv_tegra_release"), Path("/dev/nvmap"))
"""What a Jetson has, the first not always in a container."""
_BITS_PER_PIXEL: Final = 0.15
_PROBE_S: Final = 15.0
_CLOSE_S: Final = 10.0


class Encoder(ABC):
    """Encodes the frames of one recording into a stream of a container. Not for several threads at once."""

    name: str
    """Name of the encoder, as in ``--encoder``."""

    @abstractmethod
    def open(self, container: OutputContainer, width: int, height: int, fps: Fraction) -> None:
        """Add a stream of ``width`` x ``height`` pixels, both even; ``fps`` is a hint. Raises av.FFmpegError, OSError."""

    @abstractmethod
    def encode(self, frame: av.VideoFrame | None) -> list[Packet[VideoStream]]:
        """The packets that are ready after ``frame``, yuv420p with its pts in `TIME_BASE`; None: all that are left.

        Raises av.FFmpegError, OSError.
        """

    def close(self) -> None:  # noqa: B027
        """Let go of what it holds, also when the recording has failed. Twice is harmless."""


class PyAvEncoder(Encoder):
    """An encoder that PyAV brings: ``codec`` by FFmpeg's name, with its ``options``."""

    def __init__(self, codec: str, options: dict[str, str]) -> None:
        self.name, self._codec, self._options = codec.removeprefix("lib"), codec, options
        self._stream: VideoStream | None = None

    @override
    def open(self, container: OutputContainer, width: int, height: int, fps: Fraction) -> None:
        stream = container.add_stream(self._codec, rate=fps, options=self._options)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = TIME_BASE
        context.gop_size = KEY_FRAMES_EVERY
        context.colorspace, context.color_range = int(Colorspace.ITU709), int(ColorRange.MPEG)
        context.open(strict=False)  # now, and not with the first frame: a size that a GPU does not take is known here
        self._stream = stream

    @override
    def encode(self, frame: av.VideoFrame | None) -> list[Packet[VideoStream]]:
        assert self._stream is not None, "open comes first"
        return self._stream.encode(frame)


class GstEncoder(Encoder):
    """The GStreamer ``element`` in a child process: raw frames go in through one pipe, H.264 comes out of another.

    A pipe carries no times; so the nth packet gets the nth frame's. The last packet is known to be whole when the next one
    begins: one frame more is lost when the program is killed.
    """

    def __init__(self, element: str) -> None:
        self.name, self._element = element, element
        self._parser: Any = av.CodecContext.create("h264", "r")
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._lock = threading.Lock()
        self._out: deque[bytes] = deque()
        self._said = b""
        self._times: deque[int] = deque()
        self._stream: Any = None
        self._raw = np.empty(0, np.uint8)

    @override
    def open(self, container: OutputContainer, width: int, height: int, fps: Fraction) -> None:
        self._stream = container.add_mux_stream("h264", rate=fps, width=width, height=height, time_base=TIME_BASE)
        self._raw = np.empty(width * height * 3 // 2, np.uint8)
        caps = f"rawvideoparse format=i420 width={width} height={height} framerate={fps.numerator}/{fps.denominator}"
        bits = round(max(1e6, _BITS_PER_PIXEL * width * height * float(fps)))
        coded = "h264parse config-interval=-1 ! video/x-h264,stream-format=byte-stream,alignment=au"
        chain = _CHAINS[self._element].format(bits=bits, kbits=bits // 1000)
        words = f"-q fdsrc fd=0 ! {caps} ! {chain} ! {coded} ! fdsink fd=1"
        self._process = subprocess.Popen(
            [_LAUNCH, *words.split()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for this program, which finishes the recording
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="encoder", daemon=True)
        self._reader.start()

    @override
    def encode(self, frame: av.VideoFrame | None) -> list[Packet[VideoStream]]:
        process = self._process
        assert process is not None, "open comes first"
        if frame is None:
            self._finish(process)
        else:
            assert frame.pts is not None
            self._times.append(frame.pts)
            self._pack(frame)
            try:
                self._write(process)
            except OSError:
                raise OSError(f"{self._element} has ended ({self._why(process)})") from None
        with self._lock:
            data = b"".join(self._out)
            self._out.clear()
        parsed = self._parser.parse(data) if data else []
        if frame is None:
            parsed += self._parser.parse(None)
        return [self._stamped(packet) for packet in parsed if self._times]

    @override
    def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what could not be written
                    continue

    def _write(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        left = memoryview(self._raw.data)
        while left:
            left = left[process.stdin.write(left) :]

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the child has encoded all that it was given."""
        assert process.stdin is not None
        assert self._reader is not None
        process.stdin.close()
        self._reader.join(_CLOSE_S)

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            while data := process.stdout.read(1 << 16):
                with self._lock:
                    self._out.append(data)
            self._said = process.stderr.read()
        except (OSError, ValueError):  # closed meanwhile
            return

    def _why(self, process: subprocess.Popen[bytes]) -> str:
        assert self._reader is not None
        self._reader.join(_CLOSE_S)
        return _reason(self._said.decode(errors="replace")) or f"code {process.poll()}"

    def _pack(self, frame: av.VideoFrame) -> None:
        """The planes of ``frame`` one after the other, without the padding of their rows."""
        at = 0
        for plane in frame.planes:
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
            size = plane.width * plane.height
            np.copyto(self._raw[at : at + size].reshape(plane.height, plane.width), rows[:, : plane.width])
            at += size

    def _stamped(self, packet: Any) -> Any:
        packet.stream, packet.time_base = self._stream, TIME_BASE
        packet.pts = packet.dts = self._times.popleft()
        packet.is_keyframe = _IDR.search(bytes(packet)) is not None
        return packet


_IDR = re.compile(rb"\x00\x00\x01[\x25\x45\x65]")
_CHAINS: dict[str, str] = {
    "nvv4l2h264enc": (
        "nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc bitrate={bits} "
        f"iframeinterval={KEY_FRAMES_EVERY} insert-aud=true"
    ),
    "v4l2h264enc": (
        f"v4l2convert ! v4l2h264enc extra-controls=controls,video_bitrate={{bits}},h264_i_frame_period={KEY_FRAMES_EVERY} "
        "! video/x-h264,level=(string)4.2"
    ),
}
"""How each hardware element is fed, by its name: a Jetson's and a Raspberry Pi's."""


def choose_encoder(choice: EncoderChoice) -> Encoder:
    """The encoder for ``choice``; x264 where that does not work here, which is logged. "auto" takes NVIDIA's hardware where it
    is there."""
    reasons = []
    if choice in ("auto", "nvenc"):
        reason = why_no_nvenc()
        if not reason:
            return PyAvEncoder("h264_nvenc", _NVENC)
        reasons.append(reason)
    if choice == "gst" or (choice == "auto" and any(sign.exists() for sign in _BOARDS)):
        for element in _CHAINS:
            reason = why_no_element(element)
            if not reason:
                return GstEncoder(element)
            reasons.append(reason)
    if choice not in ("auto", "x264"):
        _LOG.warning(f"--encoder {choice} does not work here ({'; '.join(reasons)}): recording with x264")
    elif reasons:
        _LOG.debug(f"recording with x264: {'; '.join(reasons)}")
    return software_encoder()


def software_encoder() -> Encoder:
    """x264, which works everywhere."""
    return PyAvEncoder("libx264", _X264)


def why_no_nvenc() -> str:
    """What NVIDIA's encoder lacks here, one line; empty where it has encoded a frame."""
    try:
        context = av.CodecContext.create("h264_nvenc", "w")
        assert isinstance(context, av.VideoCodecContext)
        context.width, context.height, context.pix_fmt, context.time_base = 256, 256, "yuv420p", TIME_BASE
        context.options = dict(_NVENC)
        frame = av.VideoFrame.from_ndarray(np.zeros((384, 256), np.uint8), "yuv420p")
        frame.pts, frame.time_base = 0, TIME_BASE
        context.encode(frame)
    except (av.FFmpegError, OSError, ValueError):
        return "no NVIDIA driver with its encoder"
    return ""


def why_no_element(element: str) -> str:
    """What the GStreamer ``element`` lacks here, one line; empty where it has encoded a few frames."""
    if shutil.which(_LAUNCH) is None:
        return f"{_LAUNCH} is not installed: sudo apt install gstreamer1.0-tools"
    chain = _CHAINS[element].format(bits=1_000_000, kbits=1000)
    words = (
        f"-q videotestsrc num-buffers=4 ! video/x-raw,format=I420,width=640,height=480 ! {chain} ! h264parse ! fakesink"
    )
    try:
        done = subprocess.run([_LAUNCH, *words.split()], capture_output=True, timeout=_PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return f"{element} does not answer"
    if not done.returncode:
        return ""
    reason = _reason(done.stderr.decode(errors="replace"))
    if f'no element "{element}"' in reason:
        return f"GStreamer has no {element}"
    if 'no element "h264parse"' in reason:
        return f"{element} needs h264parse: sudo apt install gstreamer1.0-plugins-bad"
    hint = ": an Orin Nano has no encoder" if element.startswith("nv") else ""
    return f"{element} does not run ({reason or done.returncode}){hint}"


def _reason(log: str) -> str:
    """The first error that ``gst-launch-1.0`` names."""
    found = re.search(r"(?:ERROR|WARNING: erroneous pipeline): (?:from element \S+: )?(.*)", log)
    return found[1].rstrip(".") if found else ""
