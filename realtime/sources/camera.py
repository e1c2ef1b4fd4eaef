"""Webcams, through OpenCV."""

from __future__ import annotations

import logging
import os
import re
import stat
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from common.arrays import ImageArray
from common.errors import UserError
from realtime.errors import SourceLost
from realtime.sources.camera_list import raw_format
from realtime.sources.folder import natural_key
from realtime.sources.stills import quiet_opencv
from realtime.sources.threaded_capture import ThreadedCapture
from realtime.sources.timing import RateMeter

_LOG = logging.getLogger(__name__)

_OPEN_TIMEOUT_S = 10.0  # slow hubs and cameras that wake up take seconds
_RETRIES = 5
_RETRY_S = 0.2
_RATE_S = 1.0


def is_camera(spec: str) -> bool:
    """Whether ``spec`` names a video device of this machine: /dev/video2, /dev/v4l/by-id/..., a link to one."""
    if re.fullmatch(r"/dev/(video\d+|v4l/.*)", spec):
        return True
    try:
        return stat.S_ISCHR(os.stat(os.path.expanduser(spec)).st_mode)
    except (OSError, ValueError):
        return False


def camera_devices() -> list[str]:
    """The video devices of a Linux machine, such as /dev/video0. Some of them deliver a camera's metadata instead of frames."""
    return [str(path) for path in sorted(Path("/dev").glob("video*"), key=natural_key)]


class CameraSource(ThreadedCapture):
    """A camera of this machine: ``device`` is its number or path. Width and height in pixels, fps in frames a second
    are wishes; what the camera really gives stands in ``size`` and ``fps``; a difference is logged.
    """

    def __init__(
        self,
        device: int | str,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        retry_s: float | None = None,
    ) -> None:
        super().__init__(f"camera {device}" if isinstance(device, int) else device, _OPEN_TIMEOUT_S, retry_s)
        self._device = device
        self._wish = (width or 640, height or 480, fps or 30.0)
        self.fps = self._wish[2]

        self._first_ns: int | None = None

    def _deliver(self) -> None:
        capture: cv2.VideoCapture | None = self._start()
        while capture is not None:
            try:
                self._grab(capture)
                return
            except SourceLost as lost:
                _LOG.warning(f"{lost}; trying again")
            finally:
                capture.release()
            capture = self._start_again()

    def _start_again(self) -> cv2.VideoCapture | None:
        """The camera, once it is plugged in again; None after `close`. Raises SourceLost when trying is over."""
        for lost_s in self._attempts():
            try:
                capture = self._start()
            except UserError:
                continue
            _LOG.warning(f"{self.name} is there again after {lost_s:.1f} s")
            return capture
        if self._closing:
            return None
        raise SourceLost(
            f"{self.name} stopped delivering frames and did not come back: plug it in again, then start anew"
        )

    def _start(self) -> cv2.VideoCapture:
        path = f"/dev/video{self._device}" if isinstance(self._device, int) else self._device
        if raw := raw_format(path):
            before = [other for other in camera_devices() if natural_key(Path(other)) < natural_key(Path(path))]
            number = sum(bool(raw_format(other)) for other in before)
            raise UserError(
                f"{self.name} is on the CSI connector and delivers a sensor's raw data ({raw}): try --source csi:{number}"
            )
        backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
        with quiet_opencv():
            capture = cv2.VideoCapture(self._device, backend)
        if not capture.isOpened():
            capture.release()
            raise UserError(self._why_not())
        width, height, fps = self._wish
        # The pixel format comes first: raw frames above 640x480 do not fit through USB 2 at 30 a second.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        capture.set(cv2.CAP_PROP_FPS, fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        claimed = capture.get(cv2.CAP_PROP_FPS)
        if 1 <= claimed <= 1000:
            self.fps = float(claimed)
        return capture

    def _grab(self, capture: cv2.VideoCapture) -> None:
        spare: ImageArray | None = None
        failures = 0
        rate = RateMeter(_RATE_S)
        first = self._first_ns is None
        while not self._closing:
            grabbed = capture.grab()
            now_ns = time.monotonic_ns()  # before the decoding, which takes milliseconds
            image = _retrieve(capture, spare) if grabbed else None
            if image is None:
                failures += 1
                if failures > _RETRIES:
                    raise self._lost(self._first_ns is not None)
                self._pause(_RETRY_S)
                continue
            failures = 0
            if self._first_ns is None:
                self._first_ns = now_ns
                self._compare_with_wish(image)
            spare = self._publish(image, now_ns, (now_ns - self._first_ns) * 1e-9)
            measured = rate.count(now_ns * 1e-9) if first else None
            if measured is None:
                continue
            first = False
            if not 0.8 * self.fps < measured < 1.25 * self.fps:
                _LOG.warning(
                    f"{self.name} in fact delivers {measured:.1f} fps, not {self.fps:.0f}"
                    + ("; more light often helps" if measured < self.fps else "")
                )
                self.fps = measured

    def _compare_with_wish(self, image: ImageArray) -> None:
        height, width = image.shape[:2]
        if (width, height) != self._wish[:2] or abs(self.fps - self._wish[2]) > 0.5:
            _LOG.warning(
                f"{self.name} delivers {width}x{height} at {self.fps:.0f} fps, "
                f"asked for {self._wish[0]}x{self._wish[1]} at {self._wish[2]:.0f}"
            )

    def _lost(self, worked: bool) -> UserError:
        if worked:
            return SourceLost(f"{self.name} stopped delivering frames")
        return UserError(
            f"{self.name} opens but delivers no frames: another program may use it; {_others(self._device)}"
        )

    def _why_not(self) -> str:
        path = f"/dev/video{self._device}" if isinstance(self._device, int) else self._device
        if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
            return (
                f"you may not use {path}: ask for membership in its group ('video' on most systems), then log in anew"
            )
        return f"{self.name} does not open: {_others(self._device)}"


def _retrieve(capture: cv2.VideoCapture, spare: ImageArray | None) -> ImageArray | None:
    """Decode the grabbed frame, into ``spare`` where it fits. None when that fails."""
    ok, image = capture.retrieve(spare)
    return np.asarray(image, np.uint8) if ok and image is not None else None


def _others(device: int | str) -> str:
    """The end of an error message about ``device``: the other cameras there are, or what to check."""
    if not sys.platform.startswith("linux"):
        return "try another number, or --source demo to try without a camera"
    mine = f"/dev/video{device}" if isinstance(device, int) else device
    if os.path.exists(mine) and os.path.realpath(mine) not in camera_devices():
        return "it is no camera; give a camera's number, a video file, an address or 'demo'"
    others = [path for path in camera_devices() if path != mine]
    if others:
        return f"there is {', '.join(others)}; choose one by its number, or try without a camera: --source demo"
    if os.path.exists(mine):
        return f"{mine} is the only camera here; close other programs that use it, or try without one: --source demo"
    return "there is no camera (/dev/video*) on this machine; plug one in, or try without: --source demo"
