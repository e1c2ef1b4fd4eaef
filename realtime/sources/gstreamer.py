"""GStreamer pipelines, and through them the cameras on a Jetson's CSI connector.

OpenCV's pip package has no GStreamer, and its Python bindings are a package of the distribution's own Python. So a child
process runs ``gst-launch-1.0``: frames come through one pipe as BGR, and through another what an ``identity`` element says of
each of them before it is handed on: its size in bytes and its timestamp.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

import numpy as np
from typing_extensions import override

from common.arrays import ImageArray
from common.errors import UserError
from realtime.errors import SourceLost
from realtime.sources.address import public_name
from realtime.sources.threaded_capture import ThreadedCapture
from realtime.sources.timing import RateMeter, StreamClock, nominal_fps

PROGRAM: Final = "gst-launch-1.0"

_SPEC = re.compile(r"(csi|gst):(.*)", re.DOTALL)
_CSI = re.compile(r"(\d+)(?:\?(.*))?")
_ELEMENT = re.compile(r"[A-Za-z][\w.\-]*")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s\"']+")
_NAME: Final = "motionmesh"
_CAPS = re.compile(
    rf"{_NAME}\.GstPad:src: caps = .*\bwidth=\(int\)(\d+), height=\(int\)(\d+)(?:.*\bframerate=\(fraction\)(\d+)/(\d+))?"
)
_BUFFER = re.compile(rf"chain.*\({_NAME}:sink\) \((\d+) bytes, dts: [^,]*, pts: (none|(\d+):(\d+):([\d.]+))")
_ERROR = re.compile(
    r"(?:(?:ERROR|WARNING: erroneous pipeline): (?:from element \S+: )?|Error generated\. [^,]*, \w+:\d+ )(.*)"
)
"""How GStreamer names an error; NVIDIA's camera element prints its own with file, function and line."""
_OPEN_TIMEOUT_S: Final = 15.0  # a CSI camera's daemon and a stream's first key frame take seconds
_EXIT_S: Final = 2.0
_PIPE_BYTES: Final = 1 << 20
_SET_PIPE_SIZE: Final = 1031  # fcntl.F_SETPIPE_SZ, which Python 3.9 and macOS do not name
_RATE_S: Final = 2.0
_SAME_RATE: Final = 0.05


class CsiMode(NamedTuple):
    """What is asked of a CSI camera."""

    sensor: int
    """Number of the sensor, from 0."""
    width: int
    """Width of the image, pixels."""
    height: int
    """Height of the image, pixels."""
    fps: float
    """Frame rate, frames/s."""


def is_pipeline(spec: str) -> bool:
    """Whether ``spec`` is "csi:0", perhaps with "?width=1280&height=720&fps=30", or "gst:" and a pipeline."""
    return _SPEC.match(spec) is not None


def check_pipeline(spec: str) -> None:
    """Refuse a pipeline that cannot be started. Raises UserError."""
    _elements(spec, None, None, None)
    if shutil.which(PROGRAM) is None:
        raise UserError(
            f"{_public(spec)} needs {PROGRAM}: sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-base "
            "gstreamer1.0-plugins-good"
        )


def parse_csi(spec: str, width: int | None = None, height: int | None = None, fps: float | None = None) -> CsiMode:
    """What "csi:0?width=1280&height=720&fps=30" asks for; what it leaves open comes from ``width``, ``height`` (pixels) and
    ``fps``, else 1280x720 at 30 frames/s. Raises UserError."""
    help_text = "write csi:0 or csi:0?width=1280&height=720&fps=30"
    found = _CSI.fullmatch(spec.removeprefix("csi:"))
    if found is None:
        raise UserError(f"{spec} is no CSI camera: {help_text}")
    wishes: dict[str, float] = {"width": width or 1280, "height": height or 720, "fps": fps or 30.0}
    for name, value in parse_qsl(found[2] or "", keep_blank_values=True):
        number = float(value) if re.fullmatch(r"\d+(\.\d+)?", value) else 0.0
        if name not in wishes or not 1 <= number <= 100_000:
            raise UserError(f"{spec}: {name}={value} is not understood: {help_text}")
        wishes[name] = number
    return CsiMode(int(found[1]), round(wishes["width"]), round(wishes["height"]), wishes["fps"])


class PipelineSource(ThreadedCapture):
    """What ``spec``, "csi:NUMBER" or "gst:PIPELINE", delivers.

    A pipeline ends with raw video of any format; what turns it into BGR is added here. Frames have the pipeline's timestamps;
    what comes faster than it plays, such as a file, is held back. ``width``, ``height`` and ``fps`` are wishes to a CSI camera.
    One that breaks off is started again for ``retry_s`` seconds. A pipeline that comes to its end is the end of the source; a
    CSI camera has none, and has broken off.
    """

    def __init__(
        self,
        spec: str,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        retry_s: float | None = None,
    ) -> None:
        super().__init__(_public(spec), _OPEN_TIMEOUT_S, retry_s)
        check_pipeline(spec)
        self._elements = _elements(spec, width, height, fps)
        # NVIDIA's element ends its stream, as a film does, where there is no camera and when the camera's daemon fails.
        self._has_end = not spec.startswith("csi:")
        self._child: _Child | None = None
        self._clock = StreamClock()

    @override
    def close(self) -> None:
        with self._changed:
            self._closing = True
            child = self._child
        if child is not None:
            child.interrupt()
        super().close()
        if child is not None and self._thread is not None and self._thread.is_alive():
            child.kill()  # a camera's driver that hangs; the pipes end with the process
            super().close()

    def _deliver(self) -> None:
        error = self._play()
        while error is not None and not self._closing:
            if self._timestamp.index < 0:
                raise error
            error = self._play_again(error)

    def _play_again(self, error: UserError) -> UserError | None:
        for _ in self._attempts():
            seen = self._timestamp.index
            now = self._play()
            if now is None or self._timestamp.index > seen:
                return now
            error = now
        if self._closing:
            return None
        raise SourceLost(f"{error}; it did not come back")

    def _play(self) -> UserError | None:
        """Publish the frames of one run of the pipeline. Returns why it broke off, None at its end and after `close`."""
        with self._changed:
            if self._closing:
                return None
            child = self._child = _Child(self._elements)
        self._clock.reset()
        rate = RateMeter(_RATE_S)
        spare: ImageArray | None = None
        try:
            for header in child.headers():
                if self._timestamp.index < 0:
                    self.fps = nominal_fps(header.fps)
                arrived_ns = time.monotonic_ns()
                image = child.read(header, spare)
                if image is None:
                    break
                time_s = self._clock.time_of(header.pts_s, arrived_ns)
                early_s = self._clock.early_by(time_s, time.monotonic_ns())
                if early_s > 0:
                    if not self._pause(early_s):
                        break
                    arrived_ns = time.monotonic_ns()
                spare = self._publish(image, arrived_ns, time_s)
                measured = rate.count(time_s)
                if measured is not None and abs(measured / self.fps - 1) > _SAME_RATE:
                    self.fps = round(measured, 1)
        finally:
            failed = child.finish()
        if self._closing or (self._has_end and not failed):
            return None
        return UserError(f"{self.name}: {child.reason()}")


class _FrameHeader(NamedTuple):
    """What is known of a frame before its pixels come."""

    size: int
    """Bytes that follow."""
    width: int
    """Width of the image, pixels."""
    height: int
    """Height of the image, pixels."""
    pts_s: float | None
    """Presentation time, seconds; None where the pipeline gives none."""
    fps: float | None
    """Frames/s as the pipeline announces it; None where it does not."""


class _Child:
    """One run of ``gst-launch-1.0``. Used by one thread, but for `interrupt` and `kill`.

    One thread can read both pipes in turn: what is said of a frame is written before the frame.
    """

    def __init__(self, elements: list[str]) -> None:
        frames, into = os.pipe()
        tail = (
            f"videoconvert ! video/x-raw,format=BGR ! identity name={_NAME} silent=false ! fdsink fd={into} sync=false"
        )
        try:
            with suppress(ImportError, OSError):  # a pipe of one page costs a change of process for every page
                from fcntl import fcntl

                fcntl(frames, _SET_PIPE_SIZE, _PIPE_BYTES)
            self._process = subprocess.Popen(
                [PROGRAM, "-v", *elements, "!", *tail.split()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(into,),
                env={**os.environ, "LC_ALL": "C"},  # its messages are read here
                start_new_session=True,  # Ctrl-C is for this program, which ends the child itself
            )
        except OSError as error:
            os.close(frames)
            raise UserError(f"{PROGRAM} does not start ({error.strerror})") from None
        finally:
            os.close(into)
        self._frames = os.fdopen(frames, "rb", buffering=0)
        self._padded: ImageArray = np.empty((0, 0), np.uint8)
        self._problems: list[str] = []
        self._detail = 0
        self._ended = False

    def headers(self) -> Iterator[_FrameHeader]:
        """What is said of each frame; after each of them the frame itself must be read."""
        assert self._process.stdout is not None
        width = height = 0
        fps: float | None = None
        for line in self._process.stdout:
            text = line.decode(errors="replace").rstrip()
            if found := _BUFFER.search(text):
                size, pts, hours, minutes, seconds = found.groups()
                pts_s = None if pts == "none" else int(hours) * 3600 + int(minutes) * 60 + float(seconds)
                yield _FrameHeader(int(size), width, height, pts_s, fps)
            elif found := _CAPS.search(text):
                width, height = int(found[1]), int(found[2])
                fps = int(found[3]) / int(found[4]) if found[3] and int(found[4]) else None
            else:
                self._note(text)
        self._ended = True

    def read(self, header: _FrameHeader, spare: ImageArray | None) -> ImageArray | None:
        """The frame of ``header``, uint8 (height, width, 3), in ``spare`` where it fits; None where the pipe ended."""
        width, height = header.width, header.height
        row, rest = divmod(header.size, max(height, 1))
        if not width or rest or row < 3 * width:
            raise UserError(f"{PROGRAM} says {header.size} bytes of a frame of {width}x{height}: end it with raw video")
        fits = spare is not None and spare.shape == (height, width, 3) and spare.flags.c_contiguous
        image = spare if fits and spare is not None else np.empty((height, width, 3), np.uint8)
        if row == 3 * width:
            return image if self._fill(image) else None
        if self._padded.shape != (height, row):  # rows are padded to whole words
            self._padded = np.empty((height, row), np.uint8)
        if not self._fill(self._padded):
            return None
        np.copyto(image, self._padded[:, : 3 * width].reshape(height, width, 3))
        return image

    def _fill(self, array: ImageArray) -> bool:
        left = memoryview(array.data).cast("B")
        while left:
            count = self._frames.readinto(left)
            if not count:
                return False
            left = left[count:]
        return True

    def interrupt(self) -> None:
        """Ask the pipeline to stop: it lets go of its camera."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()

    def finish(self) -> bool:
        """Let go of the process, stopped where it still runs. Returns whether it has failed."""
        self._frames.close()
        if not self._ended:
            self.interrupt()
        try:
            code = self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._note(line.decode(errors="replace").rstrip())
        self._process.stdout.close()
        return code != 0 or bool(self._problems)

    def reason(self) -> str:
        """Why it failed, one line without secrets."""
        if not self._problems:
            code = self._process.returncode
            return f"{PROGRAM} ended with code {code}" if code else "the camera stopped delivering frames"
        text = self._problems[0]
        if 'no element "nvarguscamerasrc"' in text:
            return "no CSI camera can be read here: NVIDIA's element nvarguscamerasrc comes with JetPack"
        return _ADDRESS.sub(lambda found: public_name(found[0]), text)

    def _note(self, line: str) -> None:
        """Remember errors, each with the most telling line of its details, the second one."""
        if line.startswith("Additional debug info") and self._problems:
            self._detail = 2
        elif self._detail > 0:
            self._detail -= 1
            if self._detail == 0 and line and len(self._problems) == 1:
                self._problems[0] += f" ({line})"
        elif found := _ERROR.match(line):
            self._problems.append(found[1].rstrip("."))


def _public(spec: str) -> str:
    """``spec`` without what may be secret: of a pipeline the elements alone."""
    if spec.startswith("csi:"):
        return spec
    parts = spec.removeprefix("gst:").split("!")
    names = [found[0] if (found := _ELEMENT.match(part.strip())) else "…" for part in parts]
    return "gst:" + " ! ".join(names)


def _elements(spec: str, width: int | None, height: int | None, fps: float | None) -> list[str]:
    """The arguments for ``gst-launch-1.0``, without what turns frames into BGR. Raises UserError."""
    if spec.startswith("csi:"):
        mode = parse_csi(spec, width, height, fps)
        rate = f"{round(mode.fps * 1000)}/1000" if mode.fps % 1 else f"{mode.fps:.0f}/1"
        return [
            *("nvarguscamerasrc", f"sensor-id={mode.sensor}", "!"),
            f"video/x-raw(memory:NVMM),width={mode.width},height={mode.height},framerate={rate}",
            *("!", "nvvidconv", "!", "video/x-raw,format=BGRx"),
        ]
    try:
        elements = shlex.split(spec.removeprefix("gst:"))
    except ValueError as error:
        raise UserError(f"{_public(spec)} cannot be read ({error}): quote it as for {PROGRAM}") from None
    if not elements or "!" in (elements[0], elements[-1]):
        raise UserError("--source gst: needs a pipeline that ends with raw video, as gst:videotestsrc")
    return elements
