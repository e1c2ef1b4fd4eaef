"""A window for a motion file that is shown again: at the speed it was taken, with keys that pause, seek and record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from realtime.records import Result
from realtime.sources.audio import AudioTrack
from realtime.views.commands import QUIT, Annotate, ViewCommands
from realtime.views.status import Status
from realtime.window.controller import MeshWindow

_TICK_S: Final = 0.05  # between two readings of the keys
_LATE_S: Final = 0.5  # later than that, the video goes on from where it is instead of catching up


class ReplayWindow:
    """Serves one window; all calls come from one thread.

    Args:
        screen: the window.
        new_annotator: makes the drawers of snapshots and recordings.
        wind: goes so many seconds on in the video, or back; False where that cannot be.
        open_audio: the sound that a recording from now on gets, None: none.
    """

    def __init__(
        self,
        screen: MeshWindow,
        new_annotator: Callable[[], Annotate],
        wind: Callable[[float], bool],
        open_audio: Callable[[], AudioTrack | None],
    ) -> None:
        self._screen, self._film_wind = screen, wind
        self._commands = ViewCommands(self, new_annotator, self._wind, draws_flow=False, open_audio=open_audio)
        self._status, self._told = Status(), ""
        self._start_s: float | None = None
        self._jumps = self._jumps_shown = 0
        self._last: Result | None = None
        self._tick = threading.Event()
        self.paused = False
        """Whether the video stands still."""
        self.shows_flow = False
        """Whether results must have their optical flow."""

    def pause(self, paused: bool) -> None:
        """Stand still, or go on."""
        self.paused = paused

    def show_flow(self, shown: bool) -> None:
        """Set whether the optical flow is shown."""
        self.shows_flow = shown

    def show(self, result: Result) -> bool:
        """Wait for the result's time and show it; leave it out if the user goes elsewhere meanwhile. False once the window is
        closed."""
        if not self._wait_for(result.frame.time_s):
            return False
        if self._is_elsewhere():
            return True
        self._last = result
        self._commands.see(result)
        return self._obey(is_new=True)

    def hold_the_end(self) -> bool:
        """Leave the last image on the screen until the user goes back in the video: True, or closes the window: False."""
        while not self._is_elsewhere():
            if not self._obey(ended=True):
                return False
            self._tick.wait(_TICK_S)
        return True

    def close(self) -> None:
        """Finish a recording that is still running."""
        self._commands.close()

    def _is_elsewhere(self) -> bool:
        """Whether the user went elsewhere in the video since the last result was shown."""
        return self._jumps != self._jumps_shown

    def _wait_for(self, time_s: float) -> bool:
        """Wait until a player would show what was taken at ``time_s``, or until the user goes elsewhere in the video. False
        once the window is closed. The first frame after a jump is shown at once, also while paused."""
        if self._is_elsewhere() or self._start_s is None:
            self._jumps_shown, self._start_s = self._jumps, time.monotonic() - time_s
            return True
        while self._obey():
            if self._is_elsewhere():
                return True
            wait = self._start_s + time_s - time.monotonic()
            if wait <= 0 and not self.paused:
                self._start_s -= wait if wait < -_LATE_S else 0.0
                return True
            before = time.monotonic()
            self._tick.wait(_TICK_S if self.paused else min(wait, _TICK_S))
            if self.paused:
                self._start_s += time.monotonic() - before
        return False

    def _obey(self, ended: bool = False, is_new: bool = False) -> bool:
        """Carry out the keys since the last call, and show the last result where it ``is_new`` or something has changed. False
        once the window is closed."""
        changed = is_new
        for command in self._screen.events():
            if command == QUIT:
                return False
            if not (ended and command == "space"):
                self._commands.obey(command)
            changed = changed or command == "f"
        told = self._status.lines(
            "live", people=1, paused=self.paused and not ended, recording=self._commands.recording
        )
        if ended:
            told = "\n".join(filter(None, (told, "the end: left goes back, q closes")))
        if told != self._told or changed:
            self._told = told
            self._put()
        return not self._screen.closed

    def _put(self) -> bool:
        """Show the last result with what is to be said now. False once the window is closed."""
        if self._last is None:
            return not self._screen.closed
        return self._screen.show(self._last, state=self._told, flow=self.shows_flow, again=True)

    def _wind(self, seconds: float) -> bool:
        can = self._film_wind(seconds)
        self._jumps += can
        return can
