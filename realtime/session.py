"""One run from source to outputs: opens everything, runs the pipeline, and closes everything, also after an error."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import cv2
from rich.console import Console

from body.model import BodyArrays, load_body
from common.camera import Camera
from common.errors import UserError
from common.files import check_apart, check_writable
from formats.endings import MeshLook
from realtime.draw.mannequin import Mannequin, mannequin_for
from realtime.intrinsics import camera_for
from realtime.measure import Meter, Report
from realtime.networks import EngineOpener, Networks
from realtime.options import Options
from realtime.outputs.annotated import Annotator
from realtime.outputs.live import check_send, open_sender
from realtime.outputs.live_messages import Sender
from realtime.outputs.motion_files import MotionFiles, check_paths
from realtime.outputs.upright_hint import UprightHint
from realtime.outputs.video import VideoRecorder
from realtime.outputs.virtual_camera import VirtualCamera, check_virtual_camera
from realtime.pipeline import Pipeline, StageError
from realtime.quality import look_ahead_frames
from realtime.sources import Source, State, check_source, is_live_source, open_source_of, path_of_source
from realtime.sources.address import public_name
from realtime.stream import build_pipeline
from realtime.unused_options import has_display, unused_options, warn
from realtime.views.commands import QUIT
from realtime.views.loop import Interrupts, Progress, ViewLoop
from realtime.window.controller import MeshWindow

if TYPE_CHECKING:
    from realtime.browser.view import BrowserView

_LOG = logging.getLogger(__name__)

_STOP_S: Final = 20.0  # most time that stages get to finish what they have begun
_HUNG_S: Final = 10.0  # a run of a stage that takes longer counts as hung
_SLOW: Final = {"record", "save"}  # may wait longer, for a busy disk
_UNKNOWN_SIZE: Final = (640, 480)  # of the window until the camera's is known
_SINKS_S: Final = 5.0  # most time that sinks get once hung stages are abandoned


class _Outputs(NamedTuple):
    """Everything that results go to besides the views."""

    recorder: VideoRecorder | None
    """Writer of ``--record``, if asked for."""
    writer: MotionFiles | None
    """Writer of ``--save``, if asked for."""
    senders: Mapping[str, Sender]
    """Live senders by their addresses."""
    webcam: VirtualCamera | None
    """Virtual camera, if asked for."""


class Session:
    """Opens what ``options`` ask for; `run` it once.

    Args:
        options: what to run.
        progress: see `realtime.views.loop.Progress`.
        start_ns: monotonic clock when the program began; None: now.
        opener: where the networks' engines come from; None: what ``options`` choose.
        console: where ``--view terminal`` draws.
    """

    def __init__(
        self,
        options: Options,
        progress: Progress = lambda *now: None,
        start_ns: int | None = None,
        opener: EngineOpener | None = None,
        console: Console | None = None,
    ) -> None:
        self._options, self._progress = options, progress
        self._console = console
        self._meter = Meter(start_ns)
        self.networks = Networks(options, opener)
        """The networks of this run."""
        self.report: Report | None = None
        """The measurements, once the run has ended in any way; None before, and if it did not begin."""
        self.unwritten: set[Path] = set()
        """The paths of ``--save`` that hold nothing of this run."""
        self.has_hung = False
        """Whether the thread of a stage or sink still runs, so that the process must be ended by `os._exit`."""
        self._interrupts = Interrupts()
        self._source: Source | None = None
        self._window: MeshWindow | None = None
        self.has_begun = False
        """Whether results may have been written. Before that, ending the process loses nothing."""

    @property
    def state(self) -> State:
        """How the source is doing."""
        return "connecting" if self._source is None else self._source.state

    def interrupt(self) -> None:
        """End the run, as Ctrl-C does; a second call does not wait for stages that hang. For signal handlers."""
        self._interrupts.add()

    def close_window(self) -> None:
        """Close the window before the run has begun."""
        if self._window is not None:
            self._window.close()

    def run(self) -> Report:
        """Run until the source ends, a limit is reached, the window is closed or Ctrl-C.

        Raises `UserError` for what the user can correct, also, at the end, for an output that could not be written, and
        ``KeyboardInterrupt`` after Ctrl-C, once all recordings are finished.
        """
        options = self._options
        _check_endings(options)
        _check_apart(options)
        warn(unused_options(options))
        console = self._check_console()
        with contextlib.ExitStack() as stack:
            # Outputs first, so that a path that cannot be written is reported before the camera starts.
            recorder = None
            if options.record:
                recorder = VideoRecorder(options.record, zero_s=0.0, encoder=options.encoder)
            if options.report:
                check_writable(options.report)
            # Stages run side by side, each on one core: OpenCV's own threads would only wake for each of their small images.
            cv2.setNumThreads(1)
            arrays = load_body(options.body)
            # The suit takes a second to compute, which a run that draws nobody saves.
            unseen = options.view in ("none", "terminal") and not options.record and not options.virtual_camera
            mannequin = mannequin_for(arrays, "clay" if unseen else options.look)
            check_source(options.source)
            # Before the source is opened: building engines takes minutes in the first run.
            stack.enter_context(self.networks).prepare(arrays)
            window, source = self._open_source(stack, arrays, mannequin)
            if recorder is not None:
                recorder.add_audio(source.open_audio())
            outputs = self._open_outputs(stack, recorder, source, arrays, mannequin)
            window = self._fit_window(stack, window, source, arrays, mannequin)
            browser = self._open_browser(arrays, mannequin, source)
            if browser is not None:
                stack.callback(browser.close)
            watched = window is not None or browser is not None
            pipeline = build_pipeline(options, arrays, self.networks, source, self._meter, watched=watched)
            pipeline.show_flow(options.layout == "grid" or browser is not None)
            self._add_sinks(pipeline, mannequin, outputs)
            self.has_begun = True
            loop = ViewLoop(pipeline, source, self._meter, options, mannequin, self._interrupts, self._progress)
            try:
                self._serve(loop, window, browser, console)
            finally:
                if self._finish(pipeline):
                    stack.pop_all()  # leave open what a thread still uses
                report = self._close_outputs(pipeline, outputs, source)
            if pipeline.failures:
                raise pipeline.failures[0]
            return report

    def _check_console(self) -> Console | None:
        """The console of the terminal view, None for other views."""
        if self._options.view != "terminal":
            return None
        from realtime.views.terminal import check_terminal  # with SciPy, which no other view needs

        return check_terminal(self._console)

    def _open_source(
        self, stack: contextlib.ExitStack, arrays: BodyArrays, mannequin: Mannequin
    ) -> tuple[MeshWindow | None, Source]:
        """The opened source, and for a live one the window, which says so while it connects."""
        options = self._options
        early = self._open_window(arrays, mannequin, None) if is_live_source(options) else None
        if early is not None:
            stack.callback(early.close)
            early.show_state("connecting")
        with _ending_with(early):
            source = self._source = stack.enter_context(open_source_of(options))
        return early, source

    def _open_outputs(
        self,
        stack: contextlib.ExitStack,
        recorder: VideoRecorder | None,
        source: Source,
        arrays: BodyArrays,
        mannequin: Mannequin,
    ) -> _Outputs:
        """Everything that results go to besides the views."""
        options = self._options
        about = camera_for(source.size, options.fov, options.focal), source.fps, source.name, arrays
        worn: MeshLook = "suit" if options.look == "suit" else "clay"
        writer = MotionFiles(options.save, *about, options.frame, worn) if options.save else None
        senders = {url: stack.enter_context(open_sender(url, *about, options.frame)) for url in options.send}
        webcam = None
        if options.virtual_camera:
            annotate = Annotator(mannequin, self._meter, options.layout)
            webcam = stack.enter_context(VirtualCamera(annotate, annotate.size(*source.size), source.fps))
        return _Outputs(recorder, writer, senders, webcam)

    def _fit_window(
        self,
        stack: contextlib.ExitStack,
        window: MeshWindow | None,
        source: Source,
        arrays: BodyArrays,
        mannequin: Mannequin,
    ) -> MeshWindow | None:
        """The window, fitted to the source's images: the one that is already open, or a new one; None without a window."""
        camera = camera_for(source.size, self._options.fov, self._options.focal)
        if window is not None:
            window.fit(source.size, camera)
        elif not is_live_source(self._options):
            window = self._open_window(arrays, mannequin, (source.size, camera))
            if window is not None:
                stack.callback(window.close)
                window.show_state("starting")
        return window

    def _serve(
        self, loop: ViewLoop, window: MeshWindow | None, browser: BrowserView | None, console: Console | None
    ) -> None:
        """Show the results in the chosen view until the run ends."""
        try:
            if browser is not None:
                loop.serve_browser(browser)
            elif window is not None:
                loop.serve_window(window)
            elif console is not None:
                loop.serve_terminal(console)
            else:
                loop.serve_nothing()
            if self._interrupts:
                raise KeyboardInterrupt
        except StageError as error:
            if isinstance(error.__cause__, UserError):
                raise error.__cause__ from None
            raise

    def _add_sinks(self, pipeline: Pipeline, mannequin: Mannequin, outputs: _Outputs) -> None:
        """Send the results to every open output."""
        recorder, writer, senders, webcam = outputs
        if recorder is not None:
            annotator = Annotator(mannequin, self._meter, self._options.layout, side_view=True)
            pipeline.add_sink("record", lambda result: recorder.write(annotator(result), result.frame.time_s), True)
        if writer is not None:
            pipeline.add_backlog("save", writer.write)
        for url, sender in senders.items():
            pipeline.add_sink(f"send {public_name(url)}", sender.send, every=False)
        if webcam is not None:
            pipeline.add_sink("virtual camera", webcam.send, every=False)
        pipeline.add_backlog("hint", UprightHint(self._options.rotate).see)

    def _finish(self, pipeline: Pipeline) -> bool:
        """Stop the pipeline and wait for its threads. Returns whether some hang and were abandoned."""
        pipeline.stop()
        begin, interrupts, told = time.monotonic(), self._interrupts.count, False
        while True:
            with contextlib.suppress(StageError):
                if pipeline.wait(0.1):
                    return False
            if not (waits_for := pipeline.unfinished):
                return False
            past_s = time.monotonic() - begin
            hung = self._meter.silent(_HUNG_S).keys() & set(waits_for) - _SLOW
            if self._interrupts.count > interrupts or past_s > _STOP_S or hung:
                break
            if past_s > 1.0 and not told:
                told = True
                _LOG.warning(f"finishing: waiting for {', '.join(waits_for)}; Ctrl-C ends without")
        left = pipeline.abandon(_SINKS_S)
        if left:
            _LOG.warning(
                f"{', '.join(left)} did not come to an end and {'was' if len(left) == 1 else 'were'} left alone"
            )
        self.has_hung = bool(left)
        return self.has_hung

    def _close_outputs(self, pipeline: Pipeline, outputs: _Outputs, source: Source) -> Report:
        """Finish every file, also after another one has failed, and make the report."""
        recorder, writer = outputs.recorder, outputs.writer
        left = pipeline.unfinished
        if writer is not None:
            writer.fps = source.fps  # cameras measure it while they run
        self.unwritten.update(self._options.save)
        for name, output in (("record", recorder), ("save", writer)):
            if output is None or name in left:  # its thread still uses it
                continue
            try:
                output.close()
            except UserError as error:
                pipeline.failures.append(error)
                _LOG.warning(str(error))
        if writer is not None and "save" not in left:
            self.unwritten = writer.unwritten
        elif writer is not None and (part := writer.unfinished) is not None:
            _LOG.warning(f"what is saved so far is in {part}: python -m tools.rescue {part}")
        look_ahead = look_ahead_frames(self._options, source.fps)
        report = self._meter.report(self.networks.runtimes, self.networks.device, source.name, look_ahead)
        report.recorded = None if recorder is None else recorder.frames
        report.saved = None if writer is None else writer.frames
        report.bad_answers = self.networks.bad_answers
        report.graph_replays = self.networks.graph_replays
        self.report = report
        if self._options.report:
            try:
                report.save(self._options.report)
            except UserError as error:
                pipeline.failures.append(error)
                _LOG.warning(str(error))
        return report

    def _open_window(
        self, arrays: BodyArrays, mannequin: Mannequin, fits: tuple[tuple[int, int], Camera] | None
    ) -> MeshWindow | None:
        """A new window, or None if no window is wanted or possible. ``fits``: size and camera of the images; None: not yet
        known."""
        view = self._options.view
        if view not in ("auto", "window") or (view == "auto" and not has_display()):
            return None
        size, camera = fits or (_UNKNOWN_SIZE, None)
        try:
            window = MeshWindow(mannequin, size, camera, wire=mannequin_for(arrays, "wire"))
        except UserError as error:
            if view == "window":
                raise
            _LOG.warning(f"{error}; going on without a window")
            return None
        self._window = window
        return window

    def _open_browser(self, arrays: BodyArrays, mannequin: Mannequin, source: Source) -> BrowserView | None:
        options = self._options
        if options.view != "browser":
            return None
        from realtime.browser.view import BrowserView  # loads asyncio, so only on demand

        name = source.name if "://" in source.name else Path(source.name).name
        about = arrays, mannequin, name, source.fps, source.live, source.size
        return BrowserView(options.host, options.port, *about)


def _check_endings(options: Options) -> None:
    """Raise `UserError` unless each output file has the ending of its kind. Different endings also keep two outputs from
    being the same file."""
    for name, path, ending in (
        ("--record", options.record, ".mp4"),
        ("--report", options.report, ".json"),
    ):
        if path is not None and path.suffix.lower() != ending:
            raise UserError(f"{name} {path}: give a file name that ends in {ending}")
    check_paths(options.save)
    for url in options.send:
        check_send(url)
    if options.virtual_camera:
        check_virtual_camera()


def _check_apart(options: Options) -> None:
    """Raise `UserError` where an output would write over something that is read, or over another output."""
    outputs = {f"--save {path}": path for path in options.save}
    outputs |= {
        f"--{name} {path}": path
        for name, path in (("record", options.record), ("report", options.report))
        if path is not None
    }
    regressor = Path(options.regressor) if options.regressor.endswith(".onnx") else None
    inputs = {"the source": path_of_source(options.source), "the file of --body": options.body}
    check_apart(outputs, inputs | {"the file of --regressor": regressor})


@contextlib.contextmanager
def _ending_with(window: MeshWindow | None) -> Iterator[None]:
    """End the program, as Ctrl-C does, where the user closes the ``window`` while the main thread waits in this block."""
    done = threading.Event()

    def watch() -> None:
        while window is not None and not done.wait(0.1):
            if window.closed or QUIT in window.events():
                os.kill(os.getpid(), signal.SIGINT)
                return

    threading.Thread(target=watch, name="window-watch", daemon=True).start()
    try:
        yield
    finally:
        done.set()
