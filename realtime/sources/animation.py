"""Animated images: PNG and WebP. (GIF and the others are videos to PyAV.)"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from common.arrays import ImageArray
from common.errors import UserError
from common.files import opened_by_name
from realtime.sources.clip import ClipSource
from realtime.sources.pixels import fit_into
from realtime.sources.stills import quiet_opencv
from realtime.sources.timing import believable_fps

_BLOCK_BYTES = 128_000_000  # of decoded frames
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
    """An animated WebP, which FFmpeg cannot decode. OpenCV can from any frame on, but begins with the first one inside, so
    it decodes as many at a time as memory is to be spent on. ``fps`` as for a video file."""

    def __init__(self, path: str | Path, fps: float | None = None) -> None:
        super().__init__(str(path))
        self._path = Path(path)
        self._wished_fps = fps
        self._scale = 1.0
        self._block_frames = 1
        self._images: list[ImageArray] = []  # of the block, the present one first
        self._durations_s: list[float] = []
        self._next = 0
        self._next_s = 0.0

    def _open(self) -> None:
        head = _head(self._path)
        width, height = (1 + int.from_bytes(head[at : at + 3], "little") for at in (24, 27))
        self._block_frames = max(1, _BLOCK_BYTES // (width * height * 4))
        self.frame_count = _frame_count(self._path)
        self._read_block()
        if not self._images:
            raise UserError(f"{self.name} cannot be read as an animated image: the file is damaged, or larger than "
                            "67 million pixels")  # fmt: skip
        times_s = [0.0, *np.cumsum(self._durations_s)]
        fps = believable_fps((1 / float(np.median(self._durations_s)),), times_s)
        self.fps = self._wished_fps or fps
        self._scale = fps / self.fps
        self.size = (self._images[0].shape[1], self._images[0].shape[0])

    def _release(self) -> None:
        self._images = []

    def _advance(self) -> tuple[int, float] | None:
        if self._next and self._images:
            self._next_s += self._durations_s.pop(0)
            self._images.pop(0)
        if not self._images:
            self._read_block()
        if not self._images:
            if self.frame_count and self._next < self.frame_count:
                self._say(f"{self.name} is damaged or cut short: {self._next} of its {self.frame_count} frames play")
            return None
        self._next += 1
        return self._next - 1, self._next_s * self._scale

    def _render(self, buffer: ImageArray) -> None:
        fit_into(np.ascontiguousarray(self._images[0][..., :3]), buffer)

    def _read_block(self) -> None:
        """Decode the frames from the next one on; none after the last one."""
        if self.frame_count and self._next >= self.frame_count:
            return
        with suppress(cv2.error, OSError), quiet_opencv(), opened_by_name(self._path) as name:
            done, animation = cv2.imreadanimation(name, self._next, self._block_frames)
            if done:
                self._images = [np.asarray(image, np.uint8) for image in animation.frames]
                # Players give every frame 10 ms at least.
                self._durations_s = [max(10, int(one)) * 1e-3 for one in animation.durations[: len(self._images)]]


def _frame_count(path: Path) -> int | None:
    try:
        with quiet_opencv(), opened_by_name(path) as name:
            return int(cv2.imcount(name)) or None
    except (cv2.error, OSError):
        return None
