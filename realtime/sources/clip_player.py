"""A clip that can be played again and again, and wound back and on."""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import override

from common.arrays import ImageArray
from realtime.sources.audio import AudioTrack
from realtime.sources.clip import ClipSource
from realtime.sources.source import FrameTimestamp


class ClipPlayer(ClipSource):
    """Plays the clip that ``make`` opens anew each time; with ``loop``, from its beginning again after its end.

    Indexes and times go on over a jump as if the next frame had simply followed, so that they stay increasing for
    everything that measures motion with them; a new `FrameTimestamp.piece` begins, which the tracker takes as a scene cut.
    Winding back decodes the clip from its beginning.
    """

    def __init__(self, make: Callable[[], ClipSource], loop: bool = False) -> None:
        self._make, self._loop = make, loop
        self._clip = make()
        super().__init__(self._clip.name)
        self._wound_s: float | None = None
        self._place_s = self._last_s = 0.0  # of the clip and of this source
        self._offset_s, self._offset = 0.0, 0
        self._last_index = -1
        self._audio: AudioTrack | None = None
        self._has_jumped = False

    @override
    def open_audio(self) -> AudioTrack | None:
        """The clip's sound, up to the next jump; none after one, or where the clip is played again and again: what sounds then
        is not at its own time."""
        self._audio = None if self._loop or self._has_jumped else self._clip.open_audio()
        return self._audio

    @override
    def wind(self, seconds: float) -> bool:
        self._wound_s = (self._wound_s or 0.0) + seconds
        return True

    @override
    def place_in_clip(self, timestamp: FrameTimestamp) -> tuple[int, float]:
        return timestamp.index - self._offset, timestamp.time_s - self._offset_s

    @override
    def _open(self) -> None:
        self._clip.open()
        self.size, self.fps = self._clip.size, self._clip.fps
        self.frame_count = None if self._loop else self._clip.frame_count

    @override
    def _release(self) -> None:
        self._clip.close()

    @override
    def _advance(self) -> tuple[int, float] | None:
        timestamp = None
        jumped = self._wound_s is not None
        if self._wound_s is not None:
            wanted_s, self._wound_s = max(self._place_s + self._wound_s, 0.0), None
            if wanted_s < self._place_s:
                self._begin_again()
            timestamp = self._clip.advance()
            while timestamp is not None and timestamp.time_s < wanted_s and not self._closed:
                timestamp = self._clip.advance()
        else:
            timestamp = self._clip.advance()
        if timestamp is None and self._loop and not self._closed and self._last_index >= 0:
            self._begin_again()
            timestamp, jumped = self._clip.advance(), True
        if timestamp is None:
            return None
        if jumped and self._audio is not None:
            self._audio.stop()
        if jumped:
            self._has_jumped = True
            self._piece += 1
            self._offset_s = self._last_s + 1.0 / self.fps - timestamp.time_s
            self._offset = self._last_index + 1 - timestamp.index
        self._place_s, self._last_s = timestamp.time_s, timestamp.time_s + self._offset_s
        self._last_index = timestamp.index + self._offset
        return self._last_index, self._last_s

    @override
    def _render(self, buffer: ImageArray) -> None:
        self._clip.render(buffer)

    def _begin_again(self) -> None:
        self._clip.close()
        remarks_made, self._clip = self._clip.remarks_made, self._make()
        self._clip.remarks_made = remarks_made
        self._clip.open()
