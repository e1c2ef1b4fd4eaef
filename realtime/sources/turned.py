"""A source seen through a camera that is mounted on its side, on its head, or shows its image as a mirror does."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from typing_extensions import override

from common.arrays import ImageArray
from common.errors import UserError
from realtime.sources.audio import AudioTrack
from realtime.sources.source import FrameTimestamp, Source, State

TURNS: Final[dict[int, int | None]] = {
    0: None,
    90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_COUNTERCLOCKWISE,
}


class TurnedSource(Source):
    """The frames of ``source``, turned clockwise by ``rotate`` degrees (0, 90, 180, 270), then mirrored left to right.

    Opens and closes ``source``. Raises UserError for another angle.
    """

    def __init__(self, source: Source, rotate: int = 0, mirror: bool = False) -> None:
        super().__init__(source.name, live=source.live)
        if rotate not in TURNS:
            raise UserError(f"--rotate {rotate} is no right angle: give 90, 180 or 270 degrees")
        self._source, self._rotate, self._mirror = source, rotate, mirror
        self._image: ImageArray = np.zeros((0, 0, 3), np.uint8)

    @override
    def open(self) -> None:
        self._source.open()
        width, height = self._source.size
        self.size = (height, width) if self._rotate in (90, 270) else (width, height)
        self.frame_count = self._source.frame_count
        self._image = self._source.new_buffer()

    @override
    @property
    def fps(self) -> float:
        return self._source.fps

    @fps.setter
    def fps(self, value: float) -> None:
        pass  # the source's own is what counts

    @override
    @property
    def state(self) -> State:
        return self._source.state

    @override
    def wind(self, seconds: float) -> bool:
        return self._source.wind(seconds)

    @override
    def place_in_clip(self, timestamp: FrameTimestamp) -> tuple[int, float]:
        return self._source.place_in_clip(timestamp)

    @override
    def open_audio(self) -> AudioTrack | None:
        return self._source.open_audio()

    @override
    def read_into(self, buffer: ImageArray) -> FrameTimestamp | None:
        self._check(buffer)
        timestamp = self._source.read_into(self._image)
        if timestamp is None:
            return None
        turn = TURNS[self._rotate]
        if turn is None:
            cv2.flip(self._image, 1, dst=buffer) if self._mirror else np.copyto(buffer, self._image)
            return timestamp
        turned = cv2.rotate(self._image, turn, dst=None if self._mirror else buffer)
        if self._mirror:
            cv2.flip(turned, 1, dst=buffer)
        return timestamp

    @override
    def close(self) -> None:
        self._source.close()
