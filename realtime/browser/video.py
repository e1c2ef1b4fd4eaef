"""The video pane's frames: small and rare enough for a phone's network."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import cv2

from common.arrays import ImageArray

LONGEST_PX: Final = 640
"""The longer side of a frame that is sent, pixels at most."""
FRAMES_PER_S: Final = 15.0
"""So many frames a second at most."""
QUALITY: Final = 70
"""Of the JPEG, 0 to 100: about 30 kB a frame."""


class VideoEncoder:
    """Encodes frames as JPEG, at most `FRAMES_PER_S`. Used by one thread.

    ``clock`` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due_s = 0.0

    @property
    def due(self) -> bool:
        """Whether the next frame may be sent already."""
        return self._clock() >= self._due_s

    def encode(self, image: ImageArray) -> tuple[bytes, int, int]:
        """``image`` (H, W, 3) BGR as a JPEG, and its width and height in pixels."""
        # Due times are multiples of one interval, so that every second frame of a source at 30 frames/s is sent.
        now = self._clock()
        self._due_s = max(self._due_s + 1 / FRAMES_PER_S, now + 0.5 / FRAMES_PER_S)
        height, width = image.shape[:2]
        scale = min(1.0, LONGEST_PX / max(height, width))
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        return data.tobytes(), image.shape[1], image.shape[0]
