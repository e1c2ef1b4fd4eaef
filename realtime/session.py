"""One run from source to sinks: opens everything, runs the pipeline, closes everything, whatever happens."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from body.conversion import BodyConversion
from body.lbs import NumpyBody
from body.model import BodyArrays, load_body
from body.skeleton import Skeleton
from common.camera import Camera
from common.errors import UserError
from common.files import check_writable
from engines.engine import Engine, EngineError
from engines.plans import PlanPolicy
from engines.registry import open_engine, why_no_tensorrt
from realtime.draw.painter import Figures
from realtime.intrinsics import camera_for
from realtime.measure import Meter, Report
from realtime.options import KeypointModel, Options
from realtime.outputs.annotated import Annotator, Snapshots
from realtime.outputs.motion_writer import MotionWriter
from realtime.outputs.video import VideoRecorder
from realtime.pipeline import Pipeline, StageError
from realtime.records import Result
from realtime.sources import Source, open_source
from realtime.stages.engine_body import Poser, open_engine_body
from realtime.stages.flow import CropFlow, DisFlow, RaftFlow
from realtime.stages.keypoints import MoveNet, PersonDetector
from realtime.stages.look_ahead import LookAhead
from realtime.stages.regressor import BodyRegressor
from realtime.stages.tracking import Tracker
from realtime.window.controller import MeshWindow

_LOG = logging.getLogger(__name__)

KEYPOINT_MODELS: Final[dict[KeypointModel, str]] = {"fast": "movenet-lightning", "accurate": "movenet-thunder"}


def has_display() -> bool:
    """Whether a window can be shown here."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class Session:
    """Opens what ``options`` ask for; `run` it once.

    Args:
        progress: called a few times a second with frames so far, the source's frame count (if known), mesh rate in Hz
            and latency in ms.
        start_ns: monotonic clock when the program began.

    ``report`` is what was measured, from the end of the run on, however it ended; None where it did not begin.
    """

    def __init__(
        self,
        options: Options,
        progress: Callable[[int, int | None, float, float], None] = lambda *now: None,
        start_ns: int | None = None,
    ) -> None:
        self._options, self._progress = options, progress
        self._meter = Meter(start_ns)
        self._engines: list[Engine] = []
        self.report: Report | None = None

    def _open(self, stack: contextlib.ExitStack, model: str | Path) -> Engine:
        engine = stack.enter_context(open_engine(model, self._options.engine, plans=self._plans()))
        self._engines.append(engine)
        return engine

    @property
    def _runtimes(self) -> str:
        return " and ".join(dict.fromkeys(engine.runtime for engine in self._engines))

    def _open_body(self, stack: contextlib.ExitStack, arrays: BodyArrays, regressor: Engine) -> Poser:
        """The body where the regressor runs."""
        if regressor.runtime == "tensorrt":
            try:
                engine, body = open_engine_body(arrays, self._plans())
            except EngineError as error:
                _LOG.warning(f"{error}: the body is posed on the CPU")
            else:
                stack.enter_context(engine)
                self._engines.append(engine)
                return body
        return NumpyBody(arrays)

    def _plans(self) -> PlanPolicy:
        return PlanPolicy(self._options.precision, trust=self._options.trust_engine)

    def run(self) -> Report:
        """Run until the source ends, a limit is reached, the window is closed or Ctrl-C.

        Raises `UserError`, `engines.engine.EngineError`, `body.errors.BodyError` for what the user can put right, and
        ``KeyboardInterrupt`` after everything recorded has been finished.
        """
        options = self._options
        _check_endings(options)
        with contextlib.ExitStack() as stack:
            # Outputs first: a path that cannot be written is known before the camera starts.
            recorder = stack.enter_context(VideoRecorder(options.record)) if options.record else None
            if options.report:
                check_writable(options.report)
            arrays = load_body(options.body)
            source = stack.enter_context(
                open_source(
                    options.source,
                    options.live,
                    options.width,
                    options.height,
                    options.fps,
                    options.retry,
                    options.rotate,
                    options.mirror,
                )
            )
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
            pipeline = self._build(stack, source, camera, arrays, watched=window is not None)
            annotator = Annotator(arrays.faces, self._meter, side_view=True)
            if recorder is not None:
                pipeline.add_sink("record", lambda result: recorder.write(annotator(result), result.frame.time_s), True)
            if writer is not None:
                pipeline.add_sink("save", writer.write, True)
            try:
                self._watch(pipeline, source, arrays, window)
            except StageError as error:
                if isinstance(error.__cause__, UserError):
                    raise error.__cause__ from None
                raise
            finally:
                pipeline.stop()
                with contextlib.suppress(StageError):
                    pipeline.wait(20.0)
                device = self._engines[0].device
                self.report = self._meter.report(self._runtimes, device, source.name, options.look_ahead)
                if options.report:
                    self.report.save(options.report)
            return self.report

    def _build(
        self, stack: contextlib.ExitStack, source: Source, camera: Camera, arrays: BodyArrays, watched: bool
    ) -> Pipeline:
        options = self._options
        movenet = MoveNet(self._open(stack, KEYPOINT_MODELS[options.keypoints]))
        detector = PersonDetector(self._open(stack, "blazepose-detector"))
        network = self._open(stack, options.regressor)
        # What a regressor says is said of the default body; another one's betas and rest pose are not the same.
        conversion = BodyConversion.where_needed(load_body(), arrays) if options.body else None
        regressor = BodyRegressor(network, self._open_body(stack, arrays, network), conversion=conversion)
        _LOG.info(f"networks run on {self._runtimes}, {self._engines[0].device}")
        if options.engine == "auto" and (missing := why_no_tensorrt()):
            _LOG.debug(missing)
        lossless = not source.live
        return Pipeline(
            source,
            camera,
            Tracker(movenet, detector, options.persons, thorough=lossless),
            self._open_flow(stack),
            regressor,
            self._meter,
            lossless,
            options.frames,
            options.duration,
            paced=watched and lossless,
            look_ahead=LookAhead(options.look_ahead, Skeleton(arrays), camera) if options.look_ahead else None,
        )

    def _open_flow(self, stack: contextlib.ExitStack) -> CropFlow | None:
        """RAFT pays on a GPU alone: a CPU takes most of a second for what it does there in milliseconds."""
        wanted = self._options.flow
        if wanted == "none":
            return None
        if wanted == "dis" or (wanted == "auto" and self._engines[0].runtime != "tensorrt"):
            return DisFlow()
        engine = self._open(stack, "raft-small")
        return RaftFlow(engine) if wanted == "raft" or engine.runtime == "tensorrt" else DisFlow()

    def _watch(self, pipeline: Pipeline, source: Source, arrays: BodyArrays, window: MeshWindow | None) -> None:
        """The main thread's part: wait for the end, show progress, serve the window."""
        snapshots = Snapshots(Annotator(arrays.faces, self._meter))
        annotator = Annotator(arrays.faces, self._meter)
        if window is None:
            pipeline.start()
            while not pipeline.wait(0.25):
                self._tell(source)
            return
        extra: VideoRecorder | None = None

        def show(result: Result) -> None:
            window.show(result, Figures(*self._meter.recent(), len(result.people)))
            snapshots.remember(result)
            if (recorder := extra) is not None:  # the main thread may end it meanwhile; then this writes nothing
                recorder.write(annotator(result), result.frame.time_s)

        def obey(key: str) -> None:
            nonlocal extra
            if key == "space":
                pipeline.pause(not pipeline.paused)
            elif key == "s":
                _LOG.info(f"snapshot: {snapshots.save()}")
            elif key == "r" and extra is None:
                extra = VideoRecorder(time.strftime("motionmesh-%Y%m%d-%H%M%S.mp4"))
                _LOG.info(f"recording to {extra.path}")
            elif key == "r" and extra is not None:
                finished, extra = extra, None
                finished.close()
                _LOG.info("recording finished")

        try:
            pipeline.add_sink("window", show, every=False)
            pipeline.start()
            while not pipeline.wait(0.05) and not window.closed:
                self._tell(source)
                for key in window.events():
                    if key == "q":
                        return
                    try:
                        obey(key)
                    except UserError as error:  # a key that cannot be obeyed ends nothing
                        _LOG.warning(str(error))
        finally:
            pipeline.stop()
            if extra is not None:
                extra.close()

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
