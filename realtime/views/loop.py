"""What the main thread does while a pipeline runs: shows progress and serves the view, until the end or Ctrl-C."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from rich.console import Console

from realtime.draw.mannequin import Mannequin
from realtime.measure import Meter
from realtime.options import Options
from realtime.outputs.annotated import Annotator
from realtime.pipeline import Pipeline
from realtime.records import Result
from realtime.sources import Source
from realtime.views.commands import QUIT, ViewCommands
from realtime.views.window_loop import WindowLoop
from realtime.window.controller import MeshWindow

if TYPE_CHECKING:
    from realtime.browser.view import BrowserView

_LOG = logging.getLogger(__name__)

Progress = Callable[[int, int | None, float, float], None]
"""Called a few times a second with frames so far, the source's frame count (if known), mesh rate in Hz and latency in ms."""

SILENT_S: Final = 5.0
"""The user is warned of a stage that has not answered for so long."""
_LEFT_S: Final = 10.0  # without a viewer for so long the run ends: whoever reloads the page is back sooner
_HELD_S: Final = 0.05  # between two readings of the keys while the last image is held


class Interrupts:
    """Counts Ctrl-C; a signal handler adds to it."""

    def __init__(self) -> None:
        self.count = 0

    def __bool__(self) -> bool:
        return self.count > 0

    def add(self) -> None:
        """Ctrl-C, once more."""
        self.count += 1

    def clear(self) -> None:
        """All has been shown: what came only closed the view."""
        self.count = 0


class ViewLoop:
    """Starts a ``pipeline`` and waits for its end, in one of four ways: call one of the ``serve`` methods, once.

    Args:
        pipeline: not started yet.
        source: that it reads.
        meter: its measurements.
        options: of the run.
        mannequin: how bodies look in snapshots and recordings.
        interrupts: end the wait.
        progress: see `Progress`.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        source: Source,
        meter: Meter,
        options: Options,
        mannequin: Mannequin,
        interrupts: Interrupts,
        progress: Progress,
    ) -> None:
        self._pipeline, self._source, self._meter = pipeline, source, meter
        self._options, self._mannequin = options, mannequin
        self._interrupts, self._progress = interrupts, progress
        self._warned: set[str] = set()

    @property
    def _holds_the_end(self) -> bool:
        """Whether the last image stays on the screen: not where the user has limited the run."""
        return self._options.frames is None and self._options.duration is None

    def _commands(self) -> ViewCommands:
        def new_annotator() -> Annotator:
            return Annotator(self._mannequin, self._meter, self._options.layout)

        draws_flow = self._options.layout == "grid" or self._options.view == "browser"
        # One track, one recording: --record has it already.
        open_audio = self._source.open_audio if self._options.record is None else lambda: None
        return ViewCommands(
            self._pipeline, new_annotator, self._source.wind, draws_flow, open_audio, self._options.encoder
        )

    def serve_window(self, window: MeshWindow) -> None:
        """Handle the window's keys until it is closed. The last image of a clip stays."""
        pipeline, interrupts, commands = self._pipeline, self._interrupts, self._commands()
        loop = WindowLoop(window, self._source, commands, self._meter)
        try:
            pipeline.add_sink("window", loop.show, every=False)
            pipeline.start()
            while not pipeline.wait(0.05) and not window.closed and not interrupts:
                self._tell()
                if loop.go_on():
                    return
            if window.crashed and not interrupts:
                _LOG.warning("the window's process died; going on without a window")
                pipeline.pause(False)  # nobody is left who could end a pause
                self._wait()
            elif not (interrupts or self._source.live) and self._holds_the_end:
                while not window.closed and not interrupts and not loop.go_on(ended=True):
                    time.sleep(_HELD_S)
                interrupts.clear()
        finally:
            pipeline.stop()
            commands.close()

    def serve_browser(self, view: BrowserView) -> None:
        """Handle viewers' commands. A clip begins with the first viewer, and its last frame stays until the last has left."""
        from realtime.browser.view import BrowserState

        pipeline, source, meter, interrupts = self._pipeline, self._source, self._meter, self._interrupts
        commands = self._commands()

        def show(result: Result) -> None:
            view.show(result)
            commands.see(result)

        def go_on(state: str, timeout: float = 0.0) -> bool:
            """Send viewers the state and obey them. Returns whether one of them ends the program."""
            rate, _ = meter.recent()
            counts = rate, meter.frames_in, meter.frames_dropped, meter.recent_stages()
            view.tell(BrowserState(state, commands.paused, commands.recording, *counts))
            for command in view.events(timeout):
                if command == QUIT:
                    return True
                commands.obey(command)
            return False

        try:
            pipeline.add_sink("view", show, every=False)
            view.announce()
            while not source.live and not interrupts and not view.wait_for_viewer(0.1):
                pass
            pipeline.start()
            while not interrupts and not pipeline.wait(0.05):
                self._tell()
                if go_on(source.state):
                    return
            if not interrupts and self._holds_the_end:
                while not interrupts and view.left_for() < _LEFT_S and not go_on("ended", timeout=0.1):
                    pass
                interrupts.clear()
        finally:
            pipeline.stop()
            commands.close()

    def serve_terminal(self, console: Console) -> None:
        """Draw a table in the terminal until the end."""
        from realtime.views.terminal import TerminalView

        with TerminalView(console, self._meter, self._source) as view:
            self._pipeline.add_sink("view", view.show, every=False)
            self._pipeline.start()
            while not self._interrupts and not self._pipeline.wait(0.1):
                self._tell()
                view.draw()

    def serve_nothing(self) -> None:
        """Without a view: wait for the end."""
        self._pipeline.start()
        self._wait()

    def _wait(self) -> None:
        while not self._pipeline.wait(0.1) and not self._interrupts:
            self._tell()

    def _tell(self) -> None:
        rate, latency = self._meter.recent()
        self._progress(self._meter.frames_in, self._source.frame_count, rate, latency)
        silent = self._meter.silent(SILENT_S)
        for name in silent.keys() - self._warned:
            _LOG.warning(f"{name} has not answered for {SILENT_S:.0f} s")
        self._warned = set(silent)
