"""What the keys of a window do: pause, snapshot, recording, quit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from common.arrays import ImageArray
from common.errors import UserError
from realtime.options import EncoderChoice
from realtime.outputs.snapshots import Snapshots
from realtime.outputs.video import VideoRecorder
from realtime.records import Result
from realtime.sources.audio import AudioTrack

_LOG = logging.getLogger(__name__)

QUIT = "q"
"""The command that ends the program; also sent when the window is closed."""

WIND_S = 5.0
"""Seconds that the arrow keys go back or on."""


Annotate = Callable[[Result], ImageArray]
"""Draws a result: uint8 (H, W, 3) BGR, which the next call may overwrite."""


class Playing(Protocol):
    """What the keys pause, and tell what is looked at: a pipeline, or a video."""

    @property
    def paused(self) -> bool:
        """Whether no new frames come."""
        ...

    def pause(self, paused: bool) -> None:
        """Stop, or go on."""
        ...

    def show_flow(self, shown: bool) -> None:
        """Whether results must have their optical flow."""
        ...


class ViewCommands:
    """Carries out a viewer's commands. `see` runs in the viewer's sink thread, all else on the main thread.

    Args:
        pipeline: paused by "space".
        new_annotator: makes the drawers of snapshots and recordings; each is used by one thread at a time.
        wind: goes so many seconds on in the source, or back; False where it cannot.
        draws_flow: snapshots, recordings or the view itself always show the optical flow.
        open_audio: the sound that a recording from now on gets, None: none.
        encoder: of recordings.
    """

    def __init__(
        self,
        pipeline: Playing,
        new_annotator: Callable[[], Annotate],
        wind: Callable[[float], bool] = lambda seconds: False,
        draws_flow: bool = True,
        open_audio: Callable[[], AudioTrack | None] = lambda: None,
        encoder: EncoderChoice = "auto",
    ) -> None:
        self.flow = False
        """Whether the optical flow is to be shown."""
        self._draws_flow = draws_flow
        self._source_wind, self._open_audio, self._encoder = wind, open_audio, encoder
        self._pipeline = pipeline
        self._snapshots = Snapshots(new_annotator())
        self._annotate = new_annotator()
        self._recorder: VideoRecorder | None = None
        self._actions: dict[str, Callable[[], None]] = {
            "space": self._pause,
            "s": self._snapshot,
            "r": self._record,
            "f": self._toggle_flow,
            "left": lambda: self._wind(-WIND_S),
            "right": lambda: self._wind(WIND_S),
        }

    @property
    def paused(self) -> bool:
        """Whether new frames are not processed."""
        return self._pipeline.paused

    @property
    def recording(self) -> bool:
        """Whether what is on the screen is being recorded."""
        return self._recorder is not None

    def see(self, result: Result) -> None:
        """Take a result that is on the screen: for the next snapshot, and for the recording where one runs."""
        self._snapshots.remember(result)
        if (recorder := self._recorder) is not None:  # may be closed meanwhile; then this writes nothing
            recorder.write(self._annotate(result), result.frame.time_s)

    def show_again(self, show: Callable[[Result], object]) -> None:
        """Call ``show`` with the last result that was on the screen, where there is one."""
        self._snapshots.with_last(show)

    def obey(self, command: str) -> None:
        """Carry out ``command``. One that fails is logged as a warning and ends nothing; unknown ones do nothing."""
        try:
            self._actions.get(command, lambda: None)()
        except UserError as error:
            _LOG.warning(str(error))

    def close(self) -> None:
        """Finish a recording that is still running."""
        if self._recorder is not None:
            self._recorder.close()

    def _toggle_flow(self) -> None:
        self.flow = not self.flow
        self._pipeline.show_flow(self.flow or self._draws_flow)

    def _wind(self, seconds: float) -> None:
        if not self._source_wind(seconds):
            _LOG.info("seeking works in files and folders only")

    def _pause(self) -> None:
        self._pipeline.pause(not self._pipeline.paused)

    def _snapshot(self) -> None:
        _LOG.info(f"snapshot: {self._snapshots.save()}")

    def _record(self) -> None:
        if self._recorder is None:
            recorder = VideoRecorder(time.strftime("motionmesh-%Y%m%d-%H%M%S.mp4"), encoder=self._encoder)
            recorder.add_audio(self._open_audio())
            self._recorder = recorder  # from here on `see` writes to it
            _LOG.info(f"recording to {recorder.path}")
        else:
            finished, self._recorder = self._recorder, None
            finished.close()
            _LOG.info("recording finished" if finished.frames else "nothing was recorded: no frame came meanwhile")
