"""The pipeline as a library: an iterator over results.

for result in stream(Options(source="video.mp4", persons=2)):
    for body in result.people:
        print(result.frame.time_s, body.person, body.transl, body.vertices.shape)
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator

from body.model import BodyArrays, load_body
from body.skeleton import Skeleton
from common.errors import UserError
from realtime.intrinsics import camera_for
from realtime.measure import Meter
from realtime.networks import EngineOpener, Networks
from realtime.options import Options
from realtime.person_limit import PersonLimit
from realtime.pipeline import Pipeline, StageError
from realtime.quality import look_ahead_frames
from realtime.queues import Closed, DropPolicy
from realtime.records import Result
from realtime.sources import Source, open_source_of
from realtime.stages.regressor.look_ahead import LookAhead, averages_shaking
from realtime.stages.tracking.finder import FinderThread
from realtime.stages.world.world import World

_LOG = logging.getLogger(__name__)


def build_pipeline(
    options: Options, arrays: BodyArrays, networks: Networks, source: Source, meter: Meter, watched: bool = False
) -> Pipeline:
    """The stages that ``options`` ask for, over an opened ``source``; not started yet.

    Args:
        options: what to run.
        arrays: the body that is posed.
        networks: opens the engines; whoever entered it closes them.
        source: opened.
        meter: gets every measurement.
        watched: somebody looks on: a file is not read faster than it plays.

    Raises `common.errors.UserError` and the errors derived from it.
    """
    camera = camera_for(source.size, options.fov, options.focal)
    policy = DropPolicy.NEWEST if source.live else DropPolicy.WAIT
    tracker = networks.open_tracker(thorough=policy is DropPolicy.WAIT)
    look_ahead = look_ahead_frames(options, source.fps)
    regressor = networks.open_regressor(arrays, steadied=averages_shaking(look_ahead, source.fps))
    if options.flow not in ("auto", "none") and not regressor.reads_flow:
        _LOG.warning(
            f"--flow {options.flow} has no effect on bodies with --regressor {options.regressor}: it reads none"
        )
    networks.log()
    pipeline = Pipeline(
        source,
        camera,
        tracker,
        networks.open_flow(),
        regressor,
        meter,
        policy,
        options.frames,
        options.duration,
        paced=watched and policy is DropPolicy.WAIT,
        look_ahead=LookAhead(look_ahead, Skeleton(arrays), camera) if look_ahead else None,
        finder=tracker.finder if isinstance(tracker.finder, FinderThread) else None,
        world=World(
            camera,
            arrays,
            _radians(options.tilt),
            _radians(options.roll),
            floor=options.floor == "auto",
            foot_lock=not options.no_foot_lock,
            sizes_known=options.height is not None,
        ),
    )
    if options.persons == "auto" and source.live:
        pipeline.add_backlog("persons", PersonLimit(tracker, meter, source.fps).see)
    return pipeline


def _radians(degrees: float | None) -> float | None:
    return None if degrees is None else math.radians(degrees)


def stream(options: Options, opener: EngineOpener | None = None) -> Iterator[Result]:
    """Run the pipeline and yield its results: every frame of a file, the newest one of a camera.

    A result's frame and bodies are valid until the next one is asked for: copy what you keep. Leaving the loop stops the
    pipeline. Outputs and views of ``options`` (``record``, ``save``, ``view``, ...) are for `realtime.session.Session` and
    ignored here.

    Args:
        options: what to run.
        opener: where the networks' engines come from; None: what ``options`` choose.

    Yields:
        What is known of one frame.

    Raises:
        UserError: Something that the user can put right, from any stage.
        StageError: Another failure of a stage.
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_source_of(options))
        networks = stack.enter_context(Networks(options, opener))
        pipeline = build_pipeline(options, load_body(options.body), networks, source, Meter())
        reader = pipeline.results.reader(every=not source.live)
        stack.callback(_finish, pipeline)
        stack.callback(pipeline.stop)
        stack.callback(reader.leave)
        pipeline.start()
        try:
            while True:
                result = reader.take()
                if result is not None:
                    try:
                        yield result
                    finally:
                        reader.done(result)
        except Closed:
            pass


def _finish(pipeline: Pipeline) -> None:
    """Wait for the threads, and raise what ended one of them."""
    try:
        pipeline.wait()
    except StageError as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
