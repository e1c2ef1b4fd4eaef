"""One run from source to sinks: opens everything, runs the pipeline, closes everything, whatever happens."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from body.model import BodyArrays, load_body
from common.camera import Camera
from common.errors import UserError
from common.files import check_writable
from realtime.draw.painter import Figures
from realtime.intrinsics import camera_for
from realtime.measure import Meter, Report
from realtime.networks import EngineOpener, Networks
from realtime.options import Options
from realtime.outputs.annotated import Annotator
from realtime.outputs.motion_writer import MotionWriter
from realtime.outputs.video import VideoRecorder
from realtime.pipeline import Pipeline, StageError
from realtime.records import Result
from realtime.sources import Source, open_source_of
from realtime.stream import build_pipeline
from realtime.window.commands import QUIT, WindowCommands
from realtime.window.controller import MeshWindow

_LOG = logging.getLogger(__name__)

Progress = Callable[[int, int | None, float, float], None]
"""Called a few times a second with frames so far, the source's frame count (if known), mesh rate in Hz and latency in ms."""

_STOP_S = 20.0  # how long stages may take to finish what they have begun


def has_display() -> bool:
    """Whether a window can be shown here."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class Session:
    """Opens what ``options`` ask for; `run` it once.

    Args:
        options: what to run.
        progress: see `Progress`.
        start_ns: monotonic clock when the program began; None: now.
        opener: where the networks' engines come from; None: what ``options`` choose.
    """

    def __init__(
        self,
        options: Options,
        progress: Progress = lambda *now: None,
        start_ns: int | None = None,
        opener: EngineOpener | None = None,
    ) -> None:
        self._options, self._progress = options, progress
        self._meter = Meter(start_ns)
        self.networks = Networks(options, opener)
        """The networks of this run."""
        self.report: Report | None = None
        """What was measured, from the end of the run on, however it ended; None where it did not begin."""

    def run(self) -> Report:
        """Run until the source ends, a limit is reached, the window is closed or Ctrl-C.

        Raises `UserError` and the errors derived from it for what the user can put right, and ``KeyboardInterrupt`` after
        everything recorded has been finished.
        """
        options = self._options
        _check_endings(options)
        with contextlib.ExitStack() as stack:
            # Outputs first: a path that cannot be written is known before the camera starts.
            recorder = stack.enter_context(VideoRecorder(options.record)) if options.record else None
            if options.report:
                check_writable(options.report)
            arrays = load_body(options.body)
            source = stack.enter_context(open_source_of(options))
            if options.record and _are_one(options.record, source.name):
                raise UserError(f"--record {options.record} would write over the source: give another name")
            camera = camera_for(source.size, options.fov, options.focal)
            writer = None
            if options.save:
                about = camera, source.fps, source.name, arrays.sha256
                writer = stack.enter_context(MotionWriter(options.save, *about))
            window = self._open_window(arrays, source, camera)
            if window is not None:
                stack.callback(window.close)
            stack.enter_context(self.networks)
            pipeline = build_pipeline(options, arrays, self.networks, source, self._meter, watched=window is not None)
            annotator = Annotator(arrays.faces, self._meter, side_view=True)
            if recorder is not None:
                pipeline.add_sink("record", lambda result: recorder.write(annotator(result), result.frame.time_s), True)
            if writer is not None:
                pipeline.add_sink("save", writer.write, True)
            try:
                if window is None:
                    self._wait(pipeline, source)
                else:
                    self._serve(window, pipeline, source, arrays)
            except StageError as error:
                if isinstance(error.__cause__, UserError):
                    raise error.__cause__ from None
                raise
            finally:
                pipeline.stop()
                with contextlib.suppress(StageError):
                    pipeline.wait(_STOP_S)
                self.report = self._meter.report(
                    self.networks.runtimes, self.networks.device, source.name, options.look_ahead
                )
                if options.report:
                    self.report.save(options.report)
            return self.report

    def _open_window(self, arrays: BodyArrays, source: Source, camera: Camera) -> MeshWindow | None:
        view = self._options.view
        if view == "none" or (view == "auto" and not has_display()):
            return None
        try:
            return MeshWindow(arrays.faces, source.size, camera)
        except UserError as error:
            if view == "window":
                raise
            _LOG.warning(f"{error}; going on without a window")
            return None

    def _wait(self, pipeline: Pipeline, source: Source) -> None:
        """The main thread's part without a window: wait for the end and show progress."""
        pipeline.start()
        while not pipeline.wait(0.25):
            self._tell(source)

    def _serve(self, window: MeshWindow, pipeline: Pipeline, source: Source, arrays: BodyArrays) -> None:
        """The same with a window: until it is closed, its keys are obeyed."""
        commands = WindowCommands(pipeline, lambda: Annotator(arrays.faces, self._meter))

        def show(result: Result) -> None:
            window.show(result, Figures(*self._meter.recent(), len(result.people)))
            commands.see(result)

        try:
            pipeline.add_sink("window", show, every=False)
            pipeline.start()
            while not pipeline.wait(0.05) and not window.closed:
                self._tell(source)
                for command in window.events():
                    if command == QUIT:
                        return
                    commands.obey(command)
        finally:
            pipeline.stop()
            commands.close()

    def _tell(self, source: Source) -> None:
        rate, latency = self._meter.recent()
        self._progress(self._meter.frames_in, source.frame_count, rate, latency)


def _check_endings(options: Options) -> None:
    """Each output says by its name what it holds; so no two of them can be one file."""
    for name, path, ending in (
        ("--record", options.record, ".mp4"),
        ("--save", options.save, ".npz"),
        ("--report", options.report, ".json"),
    ):
        if path is not None and path.suffix.lower() != ending:
            raise UserError(f"{name} {path}: give a file name that ends in {ending}")


def _are_one(path: Path, source: str) -> bool:
    try:
        return path.samefile(source)
    except OSError:  # one of them is no file
        return False
