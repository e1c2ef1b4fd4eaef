"""Animated images: PNG and WebP. (GIF and the others are videos to PyAV.)"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from common.arrays import DoubleArray, ImageArray
from common.errors import UserError
from realtime.sources.clip import ClipSource
from realtime.sources.pixels import fit_into
from realtime.sources.timing import believable_fps

_MAX_BYTES = 1_000_000_000
_HEAD_BYTES = 4096
_ANIMATED = 2  # a flag of the extended WebP header


def is_moving_png(path: Path) -> bool:
    """Whether ``path`` is an animated PNG, by its header."""
    head = _head(path)
    return head.startswith(b"\x89PNG\r\n\x1a\n") and 0 < head.find(b"acTL") < (head.find(b"IDAT") % (_HEAD_BYTES + 1))


def is_moving_webp(path: Path) -> bool:
    """Whether ``path`` is an animated WebP, by its header."""
    head = _head(path)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & _ANIMATED)


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES).ljust(32, b"\0")
    except OSError:
        return bytes(32)


class WebpSource(ClipSource):
    """An animated WebP, which FFmpeg cannot decode and OpenCV decodes as a whole. ``fps`` as for a video file."""

    def __init__(self, path: str | Path, fps: float | None = None) -> None:
        super().__init__(str(path))
        self._path = Path(path)
        self._wished_fps = fps
        self._images: list[ImageArray] = []
        self._times_s: DoubleArray = np.zeros(0)
        self._next = 0

    def _open(self) -> None:
        head = _head(self._path)
        width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        try:
            count = cv2.imcount(str(self._path))
            if width * height * 4 * count > _MAX_BYTES:
                raise UserError(f"{self.name} is too large for an animated image: convert it to a video (.mp4)")
            done, animation = cv2.imreadanimation(str(self._path))
        except cv2.error:
            done = False
        if not done or not len(animation.frames):
            raise UserError(f"{self.name} cannot be read as an animated image: the file is damaged")
        self._images = [np.ascontiguousarray(image[..., :3], np.uint8) for image in animation.frames]
        durations_s = np.maximum(np.asarray(animation.durations[: len(self._images)], np.float64).ravel(), 10) * 1e-3
        self._times_s = np.concatenate([[0], np.cumsum(durations_s)[:-1]])
        fps = believable_fps((1 / float(np.median(durations_s)),), list(self._times_s))
        self.fps = self._wished_fps or fps
        self._times_s *= fps / self.fps
        self.frame_count = len(self._images)
        self.size = (self._images[0].shape[1], self._images[0].shape[0])

    def _release(self) -> None:
        self._images = []

    def _advance(self) -> tuple[int, float] | None:
        if self._next >= len(self._images):
            return None
        self._next += 1
        return self._next - 1, float(self._times_s[self._next - 1])

    def _render(self, buffer: ImageArray) -> None:
        fit_into(self._images[self._next - 1], buffer)
