"""The threads between the camera and the mesh.

    capture ─▶ [one waiting] ─▶ keypoints ∥ flow ∥ detector ─▶ [one waiting] ─▶ regressor ─▶ results ─▶ sinks

The keypoint thread sets the pace: it takes a frame, requests from the flow thread the motion between the frame that it
processed last and this one, finds the keypoints meanwhile, and passes both on together. So flow and keypoints always belong to
the same pair of frames, no frame is processed twice, and a dropped frame means a longer dt, never double speed.

With a look-ahead the regressor holds each frame back until enough later ones have arrived, and smooths it with them. The
frame's image is kept as long, so that each result is drawn on its own image.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from common.camera import Camera
from common.errors import UserError
from realtime.capture import Capture
from realtime.frame_ring import FrameRing
from realtime.measure import Meter
from realtime.queues import Backlog, Closed, DropPolicy, ResultReader, ResultRing, SingleSlotQueue, hand_out
from realtime.records import BodyEstimate, Box, Flow, Frame, Keypoints, Result
from realtime.sources.source import Source
from realtime.stages.flow.crop_flow import CropFlow
from realtime.stages.regressor.body_regressor import BodyRegressor, Observed
from realtime.stages.regressor.look_ahead import LookAhead
from realtime.stages.tracking.finder import FinderThread
from realtime.stages.tracking.tracker import Tracker
from realtime.stages.world.world import World

T = TypeVar("T")

_LOG = logging.getLogger(__name__)

FRAME_SLOTS = 11
"""Images in memory: being written, waiting, current, previous, searched, two around the regressor, two results, two sinks.
One more for each frame of look-ahead."""


class StageError(RuntimeError):
    """A thread failed. ``stage`` names it; the cause is chained."""

    def __init__(self, stage: str, cause: BaseException) -> None:
        super().__init__(f"{stage}: {cause}")
        self.stage = stage


@dataclass(frozen=True, slots=True)
class _FlowRequest:
    """A request for optical flow."""

    previous: Frame
    """The earlier frame."""
    current: Frame
    """The later frame."""
    boxes: tuple[tuple[int, Box], ...]
    """Person number and region, image pixels, of everybody whose flow is requested."""


@dataclass(frozen=True, slots=True)
class _Observation:
    """Keypoints and flow of one frame."""

    frame: Frame
    """With its image."""
    people: tuple[Keypoints, ...]
    """Detected keypoints of each person; empty if nobody was found."""
    flows: tuple[Flow, ...]
    """Flow from the frame before to this one, of everybody who was followed."""
    seen_ns: int
    """Monotonic clock when keypoints and flow were finished, nanoseconds."""


_Answer = tuple[_Observation, tuple[BodyEstimate, ...]]


class Pipeline:
    """Runs the stages over a source.

    Args:
        source: opened.
        camera: intrinsics of its images.
        tracker, flow, regressor: the stages; each is used by one thread only. Without ``flow`` the regressor gets
            keypoints alone.
        meter: gets every measurement.
        policy: whether every frame of the source is processed (files) or the newest one wins (cameras).
        max_frames: stop after so many frames. None: at the end of the source.
        max_seconds: stop after so many seconds of the source's own time.
        paced: a file is not read faster than it plays, because somebody is watching.
        look_ahead: holds frames back until later ones have been seen. None: each is answered at once.
        finder: the ``tracker``'s, if the detector runs in a thread of its own.
        world: estimates the camera's pose in the world. None: results have no world frame.
    """

    def __init__(
        self,
        source: Source,
        camera: Camera,
        tracker: Tracker,
        flow: CropFlow | None,
        regressor: BodyRegressor,
        meter: Meter,
        policy: DropPolicy,
        max_frames: int | None = None,
        max_seconds: float | None = None,
        paced: bool = False,
        look_ahead: LookAhead[Any] | None = None,
        finder: FinderThread | None = None,
        world: World | None = None,
    ) -> None:
        self._camera, self._meter = camera, meter
        self._tracker, self._flow, self._regressor = tracker, flow, regressor
        self._policy, self._world = policy, world
        width, height = source.size
        self._ahead: LookAhead[_Observation] | None = look_ahead
        self.frames = FrameRing(FRAME_SLOTS + (look_ahead.frames if look_ahead else 0), height, width)
        self._finder = finder
        if finder is not None:
            finder.hold = self.frames.hold
        self.results = ResultRing(
            2, policy, lambda result: self.frames.hold(result.frame), lambda result: self.frames.release(result.frame)
        )
        self._capture = Capture(source, self.frames, meter, policy, max_frames, max_seconds, paced)
        self._flow_request: SingleSlotQueue[_FlowRequest] = SingleSlotQueue()
        self._flow_answer: SingleSlotQueue[tuple[Flow, ...]] = SingleSlotQueue()
        self._observed: SingleSlotQueue[_Observation] = SingleSlotQueue()
        self._error: StageError | None = None
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._sinks: list[threading.Thread] = []
        self._backlogs: list[Backlog] = []
        self._zero_s: float | None = None
        self.failures: list[UserError] = []
        """Errors that ended a single sink: a full disk ends the recording, and the rest goes on."""

    # Control, from the main thread

    def start(self) -> None:
        """Start all stages. Sinks that must get the first result are added before."""
        stages: tuple[tuple[str, Callable[[], None]], ...] = (
            ("capture", self._capture.run),
            ("flow", self._track_motion),
            ("detector", self._find_people),
            ("keypoints", self._find_keypoints),
            ("regressor", self._regress),
        )
        for name, work in stages:
            thread = threading.Thread(target=self._guard, args=(name, work), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def add_sink(self, name: str, sink: Callable[[Result], None], every: bool) -> ResultReader:
        """Call ``sink`` in a thread of its own with every result, or with the newest only.

        A `UserError` in it ends this sink alone, see ``failures``; any other error ends the pipeline.
        """
        reader = self.results.reader(every)

        def work() -> None:
            try:
                while True:
                    result = reader.take()
                    if result is not None:
                        try:
                            self._call(name, sink, result)
                        finally:
                            reader.done(result)
            finally:
                reader.leave()

        self._start_sink(name, work)
        return reader

    def add_backlog(self, name: str, sink: Callable[[Result], None]) -> None:
        """Call ``sink`` in a thread of its own with every result, without images and vertices: results wait for a slow
        sink, see `realtime.queues.Backlog`. A sink that needs no more raises `Closed`."""
        backlog = Backlog(64 if self._policy is DropPolicy.WAIT else None)
        self._backlogs.append(backlog)

        def work() -> None:
            try:
                while True:
                    self._call(name, sink, backlog.get())
            finally:
                backlog.leave()

        self._start_sink(name, work)

    def _call(self, name: str, sink: Callable[[Result], None], result: Result) -> None:
        with self._meter.stage(name):
            sink(result)

    def _start_sink(self, name: str, work: Callable[[], None]) -> None:
        def end_alone() -> None:
            try:
                work()
            except UserError as error:
                self.failures.append(error)
                _LOG.warning(str(error))

        thread = threading.Thread(target=self._guard, args=(name, end_alone), name=name, daemon=True)
        self._sinks.append(thread)
        thread.start()

    def pause(self, paused: bool) -> None:
        """Stop processing new frames, or go on. A live source keeps being read, so that it does not fall behind."""
        self._capture.pause(paused)

    def show_flow(self, shown: bool) -> None:
        """Set whether the results' flow fields are displayed, which they are by default. If not, results may lack them."""
        if self._flow is not None:
            self._flow.shows = shown

    @property
    def paused(self) -> bool:
        """Whether the pipeline is paused."""
        return self._capture.paused

    def stop(self) -> None:
        """End early. Frames that are being processed and results that are ready still reach the sinks."""
        self._capture.stop()
        for queue in (self._flow_request, self._flow_answer, self._observed):
            queue.close()
        self._close_finder()
        if not self._threads:  # the regressor's closes them, after its last result
            self._close_results()

    def abandon(self, timeout: float) -> list[str]:
        """Give up on stages that do not come to an end: sinks finish what they have, for at most ``timeout`` seconds.

        Returns the names of the threads that still run; nothing that they use may be closed.
        """
        self.stop()
        self._close_results()
        deadline = time.monotonic() + timeout
        for thread in self._sinks:
            thread.join(max(0.0, deadline - time.monotonic()))
        return self.unfinished

    @property
    def unfinished(self) -> list[str]:
        """The names of the threads that still run."""
        return [thread.name for thread in (*self._threads, *self._sinks) if thread.is_alive()]

    def _close_results(self) -> None:
        self.results.close()
        for backlog in self._backlogs:
            backlog.close()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all is done: True, or False after ``timeout`` seconds. Raises `StageError` when a thread failed."""
        deadline = None if timeout is None else time.monotonic() + timeout
        for thread in (*self._threads, *self._sinks):
            thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                return False
        if self._error is not None:
            raise self._error
        return True

    def _guard(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Closed:
            pass
        except BaseException as error:
            with self._lock:
                if self._error is None:
                    self._error = StageError(name, error)
                    self._error.__cause__ = error
            self.stop()

    # The stages, one thread each

    def _find_keypoints(self) -> None:
        previous: Frame | None = None
        try:
            while True:
                frame = self._capture.waiting.get()
                boxes = tuple(self._tracker.regions(frame))
                wanted = self._flow is not None and (self._regressor.reads_flow or self._flow.shows)
                asked = previous is not None and bool(boxes) and wanted
                if asked and previous is not None:
                    self._flow_request.put(_FlowRequest(previous, frame, boxes))
                with self._meter.stage("keypoints"):
                    people = tuple(self._tracker.update(frame))
                flows = self._flow_answer.get() if asked else ()
                # A second hold, for the regressor; the first lasts until the next frame's flow is computed.
                self.frames.hold(frame)
                self._observed.put(_Observation(frame, people, flows, time.monotonic_ns()))
                if previous is not None:
                    self.frames.release(previous)
                previous = frame
        finally:
            self._flow_request.close()
            self._close_finder()
            self._observed.close()

    def _find_people(self) -> None:
        finder = self._finder
        try:
            while finder is not None:
                request = finder.next_request()
                try:
                    with self._meter.stage("detector"):
                        answer = finder.search(request)
                finally:
                    self.frames.release(request.frame)
                finder.finish(answer)
        finally:
            self._close_finder()

    def _close_finder(self) -> None:
        left = self._finder.close() if self._finder is not None else None
        if left is not None:
            self.frames.release(left.frame)

    def _track_motion(self) -> None:
        flow = self._flow
        try:
            while flow is not None:
                request = self._flow_request.get()
                with self._meter.stage("flow"):
                    found = flow.all(request.previous, request.current, [box for _, box in request.boxes])
                    flows = tuple(
                        replace(one, person=person) for one, (person, _) in zip(found, request.boxes, strict=True)
                    )
                self._flow_answer.put(flows)
        finally:
            self._flow_answer.close()

    def _regress(self) -> None:
        try:
            try:
                for seen, people in self._answers():
                    self._publish(seen, people)
            finally:  # also after a network has failed: frames that were predicted are still published
                for seen, people in self._held_back():
                    self._publish(seen, people, wait=True)
        finally:
            self._close_results()

    def _answers(self) -> Iterator[_Answer]:
        """Each frame with its bodies until the keypoint stage ends; a look-ahead delays them."""
        while True:
            try:
                seen = self._observed.get()
            except Closed:
                return
            ready: _Answer | None = None
            with self._meter.stage("regressor"):
                time_s, motion = seen.frame.time_s, {flow.person: flow for flow in seen.flows}
                each = [Observed(one, self._camera, time_s, motion.get(one.person)) for one in seen.people]
                if self._ahead is None:
                    ready = seen, tuple(self._regressor.estimate_all(each))
                elif due := self._ahead.push(seen, time_s, self._regressor.predict_all(each)):
                    ready = due[0], tuple(self._regressor.pose_all(due[1]))
                self._regressor.forget(time_s - 5.0)
                for flow in seen.flows:
                    flow.release()
            if ready is not None:
                yield ready

    def _held_back(self) -> Iterator[_Answer]:
        """The frames that the look-ahead still holds when the source has ended, with their bodies."""
        if self._ahead is not None:
            for seen, predictions in self._ahead.flush():
                yield seen, tuple(self._regressor.pose_all(predictions))

    def _publish(self, seen: _Observation, people: tuple[BodyEstimate, ...], wait: bool = False) -> None:
        world = None
        if self._world is not None:
            with self._meter.stage("world"):
                world = self._world(seen.frame, people)
                people = self._world.with_feet_locked(people, seen.frame.time_s)
                self._regressor.growths = self._world.growths
        finished = time.monotonic_ns()
        if people:
            self._meter.mesh(seen.frame.captured_ns, finished, len(people))
        if self._ahead is not None:
            self._meter.held_back(seen.seen_ns, finished)
        self._meter.results += 1
        frame = seen.frame
        if self._policy is DropPolicy.NEWEST:  # the times of a live run start at its first result
            if self._zero_s is None:
                self._zero_s = frame.time_s
            frame = replace(frame, time_s=frame.time_s - self._zero_s)
        shown = tuple(flow for flow in seen.flows if flow.field.size)
        result = Result(frame, self._camera, people, finished, shown, world)
        hand_out(result, self._backlogs)
        self.results.publish(result, wait)
        self.frames.release(seen.frame)
