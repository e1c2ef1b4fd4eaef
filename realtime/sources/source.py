"""The contract of everything that delivers frames: cameras, streams, video files, folders.

Two families. A clip (file, folder) is decoded when it is asked and loses nothing. A live source (camera, stream, paced
clip) goes on whether it is asked or not: a late reader gets the newest frame and sees a gap in the indexes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Final, Literal, NamedTuple, TypeVar

import numpy as np

from common.arrays import ImageArray
from common.files import readable
from realtime.sources.audio import AudioTrack

S = TypeVar("S", bound="Source")

_BYTES: Final = np.dtype(np.uint8)


State = Literal["connecting", "live", "stalled", "lost"]
"""How a source is doing: not there yet; delivering; silent for some seconds; broken off, and tried again."""


class FrameTimestamp(NamedTuple):
    """When a frame was taken."""

    index: int  # type: ignore[assignment]  # hides tuple.index(), which nobody wants of a timestamp
    """Counts the frames of the source from 0; gaps are frames that were dropped."""
    captured_ns: int
    """Monotonic clock at the grab, or when the frame arrived from the network, before it was decoded; nanoseconds."""
    time_s: float
    """The source's own time in seconds, 0 at its first frame and strictly increasing: motion is measured with it."""
    piece: int = 0
    """Counts jumps of the source: a frame did not follow one of another piece, although index and time go on."""


class Source(ABC):
    """Delivers frames one by one into buffers of the caller.

    ``name`` is what the user called it, ``live`` whether frames are lost when the reader is slow. From ``open()`` on:
    ``size`` is (width, height) in pixels and never changes, ``fps`` the nominal frames a second, ``frame_count`` how
    many frames there are (what the container claims; None where nobody knows). What the user should know of
    it, such as damaged parts or a size that the camera refused, is logged as a one-line warning.

    ``read_into`` belongs to one thread. ``close`` may come from any thread and ends a read that waits.
    """

    def __init__(self, name: str, *, live: bool) -> None:
        self.name = readable(name)
        self.live = live
        self.size: tuple[int, int] = (0, 0)
        self.fps: float = 0.0
        self.frame_count: int | None = None

    @property
    def state(self) -> State:
        """How the source is doing. Clips are always live. Costs nothing to ask."""
        return "live"

    def wind(self, seconds: float) -> bool:
        """Go ``seconds`` on, or back where negative, before the next frame; False where the source cannot. May be called from
        any thread. Indexes and times go on increasing."""
        return False

    def open_audio(self) -> AudioTrack | None:
        """The sound that belongs to the frames, for one recording; None where there is none. After ``open``; ask again only
        once the last one has stopped."""
        return None

    def place_in_clip(self, timestamp: FrameTimestamp) -> tuple[int, float]:
        """Index and time, seconds, that the frame read last, with this ``timestamp``, has in its clip: others after a jump."""
        return timestamp.index, timestamp.time_s

    @abstractmethod
    def open(self) -> None:
        """Start the source and learn its size and rate. Does nothing when it is open. Raises UserError."""

    @abstractmethod
    def read_into(self, buffer: ImageArray) -> FrameTimestamp | None:
        """Write the next frame into ``buffer``, uint8 (height, width, 3) BGR.

        Returns its timestamp, or None at the end of the source and after ``close``. Raises SourceLost when a camera or
        stream has stopped, ValueError for a buffer of another size.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop and let go of the device or file. May be called from any thread and more than once."""

    def __enter__(self: S) -> S:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def new_buffer(self) -> ImageArray:
        """An empty uint8 (height, width, 3) array that ``read_into`` can fill."""
        width, height = self.size
        return np.empty((height, width, 3), np.uint8)

    def _check(self, buffer: ImageArray) -> None:
        width, height = self.size
        if buffer.shape != (height, width, 3) or buffer.dtype != _BYTES:
            raise ValueError(
                f"{self.name} needs a uint8 buffer of shape {(height, width, 3)}, got {buffer.dtype} {buffer.shape}"
            )
