"""The annotated image as a webcam, for OBS and video calls: ``--virtual-camera``, by pyvirtualcam."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from types import ModuleType, TracebackType
from typing import Final

from common.arrays import ImageArray
from common.errors import UserError, one_line
from realtime.records import Result

_LOG = logging.getLogger(__name__)

_PACKAGE: Final = "--virtual-camera needs the package pyvirtualcam: pip install pyvirtualcam"
_DEVICE: Final = {
    "linux": "sudo apt install v4l2loopback-dkms && sudo modprobe v4l2loopback",
    "darwin": "install OBS Studio and start its virtual camera once",
    "win32": "install OBS Studio",
}
"""What makes a device that frames can be sent to, by ``sys.platform``."""


def check_virtual_camera() -> None:
    """Raise `UserError` where the package is missing; whether there is a device is known only when it is opened."""
    _package()


class VirtualCamera:
    """A webcam that other programs see, fed with results (``add_sink(every=False)``: the newest; the rest is left out).

    It is as large as the images, less the last column or row of an odd size, which the colour formats of webcams cannot hold.
    `send` belongs to one thread.

    Args:
        annotate: draws a result: uint8 (H, W, 3) BGR.
        size: width and height of what it draws, pixels.
        fps: nominal rate of the source, frames/s.

    Raises `UserError` where the package is missing, and where there is no device that frames can be sent to.
    """

    def __init__(self, annotate: Callable[[Result], ImageArray], size: tuple[int, int], fps: float) -> None:
        package = _package()
        self._annotate = annotate
        width, height = (length - length % 2 for length in size)
        self.size = width, height
        """Width and height of what other programs see, pixels."""
        try:
            self._camera = package.Camera(width, height, fps, fmt=package.PixelFormat.BGR)
        except RuntimeError as error:
            hint = _DEVICE.get(sys.platform, "see pyvirtualcam's documentation")
            reason = one_line(error).rstrip(".")
            raise UserError(f"--virtual-camera finds no device to send to: {hint} ({reason})") from None
        _LOG.info(f"virtual camera: {self._camera.device}, {width}x{height}")

    def __enter__(self) -> VirtualCamera:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, result: Result) -> None:
        """Show ``result`` now. Raises `UserError` when the device is gone."""
        image = self._annotate(result)
        width, height = self.size
        try:
            self._camera.send(image[:height, :width])
        except (RuntimeError, OSError) as error:
            raise UserError(f"the virtual camera stopped: {one_line(error)}; start the program again") from None

    def close(self) -> None:
        """Give the device back."""
        self._camera.close()


def _package() -> ModuleType:
    try:
        import pyvirtualcam  # an extra, and under the GPL: imported only with this option
    except ImportError:
        raise UserError(_PACKAGE) from None
    module: ModuleType = pyvirtualcam
    return module
