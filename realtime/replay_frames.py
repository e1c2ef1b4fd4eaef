"""The frames that a motion file is shown on: those of its video, or empty ones at the motion's own times."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import cycle

import numpy as np
from typing_extensions import override

from common.arrays import DoubleArray, ImageArray, Int64Array
from realtime.records import Frame
from realtime.sources import Source
from realtime.sources.audio import AudioTrack


class ReplayFrames(ABC):
    """Frames in order, which can be wound. Indexes and times go on increasing over a jump."""

    @abstractmethod
    def read(self) -> tuple[int | None, Frame] | None:
        """Which of the motion's frames was taken of the next frame (None: none was), and that frame; None at the end. Its image
        stays until the next call but one."""

    @abstractmethod
    def wind(self, seconds: float) -> bool:
        """Go ``seconds`` on, or back where negative, before the next frame; False where that cannot be."""

    def open_audio(self) -> AudioTrack | None:
        """The sound of the frames for one recording; None where there is none."""
        return None


class VideoFrames(ReplayFrames):
    """The frames of ``video``, which is open; ``place_of`` finds the motion's frame by a frame's index and time, seconds."""

    def __init__(self, video: Source, place_of: Callable[[int, float], int | None]) -> None:
        self._video, self._place_of = video, place_of
        self._buffers = cycle((video.new_buffer(), video.new_buffer()))

    @override
    def read(self) -> tuple[int | None, Frame] | None:
        buffer = next(self._buffers)
        timestamp = self._video.read_into(buffer)
        if timestamp is None:
            return None
        place = self._place_of(*self._video.place_in_clip(timestamp))
        return place, Frame(timestamp.index, timestamp.captured_ns, timestamp.time_s, buffer, timestamp.piece)

    @override
    def wind(self, seconds: float) -> bool:
        return self._video.wind(seconds)

    @override
    def open_audio(self) -> AudioTrack | None:
        return self._video.open_audio()


class OwnFrames(ReplayFrames):
    """A frame with the ``empty`` image for each of the motion's: ``indexes`` (N,) and ``times_s`` (N,) seconds."""

    def __init__(self, indexes: Int64Array, times_s: DoubleArray, empty: ImageArray) -> None:
        self._indexes, self._times_s, self._empty = indexes, times_s, empty
        self._next = self._piece = 0
        self._offset, self._offset_s = 0, 0.0  # what frames are ahead of the motion's own, after jumps

    @override
    def read(self) -> tuple[int | None, Frame] | None:
        place = self._next
        if place >= len(self._indexes):
            return None
        self._next += 1
        index, time_s = int(self._indexes[place]) + self._offset, float(self._times_s[place]) + self._offset_s
        return place, Frame(index, time.monotonic_ns(), time_s, self._empty, self._piece)

    @override
    def wind(self, seconds: float) -> bool:
        last = max(self._next - 1, 0)
        wanted = int(np.searchsorted(self._times_s, self._times_s[last] + seconds))
        self._next = min(wanted, len(self._indexes) - 1)
        step_s = float(np.diff(self._times_s).min()) if len(self._times_s) > 1 else 0.0
        self._offset += int(self._indexes[last] - self._indexes[self._next]) + 1
        self._offset_s += float(self._times_s[last] - self._times_s[self._next]) + step_s
        self._piece += 1
        return True
