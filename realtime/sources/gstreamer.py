"""GStreamer pipelines, and through them the cameras on a Jetson's CSI connector.

OpenCV's pip package has no GStreamer, and its Python bindings are a package of the distribution's own Python. So a child
process runs ``gst-launch-1.0`` (see `gst_launch`), and is started again when it ends or falls silent.
"""

from __future__ import annotations

import logging
import re
import shlex
import shutil
import time
from typing import Final, NamedTuple
from urllib.parse import parse_qsl

from typing_extensions import override

from common.arrays import ImageArray
from common.errors import UserError
from realtime.errors import SourceLost
from realtime.sources.gst_launch import PROGRAM, FrameHeader, GstLaunch
from realtime.sources.threaded_capture import ThreadedCapture
from realtime.sources.timing import RateMeter, StreamClock, nominal_fps

_LOG = logging.getLogger(__name__)

_SPEC = re.compile(r"(csi|gst):(.*)", re.DOTALL)
_CSI = re.compile(r"(\d+)(?:\?(.*))?")
_ELEMENT = re.compile(r"[A-Za-z][\w.\-]*")
_OPEN_TIMEOUT_S: Final = 15.0  # a CSI camera's daemon and a stream's first key frame take seconds
_SILENT_S: Final = 5.0
_SILENT_FRAMES: Final = 3  # of a pipeline whose frames are further apart than that
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
    One that breaks off, or sends no frame for some seconds, is started again for ``retry_s`` seconds. A pipeline that comes to
    its end is the end of the source; a CSI camera has none, and has broken off.
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
        self._child: GstLaunch | None = None
        self._clock = StreamClock()
        self._lost_ns: int | None = None

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
        _LOG.warning(f"{error}; trying again")
        self._lost_ns = time.monotonic_ns()
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
            try:
                child = self._child = GstLaunch(self._elements)
            except UserError as error:
                return UserError(f"{self.name}: {error}")
        self._clock.reset()
        rate = RateMeter(_RATE_S)
        spare: ImageArray | None = None
        header: FrameHeader | None = None
        try:
            while (header := child.next_header(self._patience_s(header))) is not None:
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
                if self._lost_ns is not None:
                    lost_s = (time.monotonic_ns() - self._lost_ns) * 1e-9
                    _LOG.warning(f"{self.name} is there again after {lost_s:.1f} s")
                    self._lost_ns = None
                measured = rate.count(time_s)
                if measured is not None and abs(measured / self.fps - 1) > _SAME_RATE:
                    self.fps = round(measured, 1) or measured
        finally:
            failed = child.finish()
        if self._closing or (self._has_end and not failed):
            return None
        return UserError(f"{self.name}: {child.reason()}")

    def _patience_s(self, last: FrameHeader | None) -> float:
        """How long to wait for the frame after the one with the header ``last``; None: for the first one of a run."""
        if last is None:
            return _OPEN_TIMEOUT_S
        return max(_SILENT_S, _SILENT_FRAMES / min(self.fps, last.fps or self.fps))


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
