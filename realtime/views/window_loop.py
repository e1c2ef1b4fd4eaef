"""Between a run and its window: sends results and the run's state to the window, and carries out its keys."""

from __future__ import annotations

from realtime.draw.painter import Figures
from realtime.measure import Meter
from realtime.records import Result
from realtime.sources.source import Source
from realtime.views.commands import QUIT, ViewCommands
from realtime.views.status import Status, stage_lines
from realtime.window.controller import MeshWindow


class WindowLoop:
    """Serves one window. `show` is for the window's sink, `go_on` for the main thread."""

    def __init__(self, window: MeshWindow, source: Source, commands: ViewCommands, meter: Meter) -> None:
        self._window, self._source, self._commands, self._meter = window, source, commands, meter
        self._status = Status()
        self._people: int | None = None
        self._told = ""

    def show(self, result: Result) -> None:
        """Put a new result on the screen."""
        self._people = len(result.people)
        self._put(result)
        self._commands.see(result)

    def go_on(self, ended: bool = False) -> bool:
        """Obey keys, and tell what has changed since the last call, also where no new result comes.

        ``ended``: the source has no more frames. Returns whether the user has left the window.
        """
        commands = self._commands
        now = self._status.lines(
            self._source.state,
            people=self._people,
            paused=commands.paused,
            recording=commands.recording,
            dropped=self._meter.frames_dropped,
            ended=ended,
        )
        changed, self._told = now != self._told, now
        for command in self._window.events():
            if command == QUIT and not self._window.crashed:
                return True
            commands.obey(command)
            changed = changed or command == "f"
        if changed and self._people is None:
            self._window.show_state(self._told)
        elif changed:
            commands.show_again(lambda result: self._put(result, again=True))
        return False

    def _put(self, result: Result, again: bool = False) -> None:
        figures = Figures(*self._meter.recent(), len(result.people))
        details = stage_lines(self._meter.recent_stages(), self._meter.person_ms())
        self._window.show(result, figures, self._told, details, flow=self._commands.flow, again=again)
