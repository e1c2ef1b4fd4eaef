"""No frame twice, none lost from a file, none old from a camera, and every flow of the right pair."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import numpy as np
import pytest

from body.model import load_body
from body.skeleton import Skeleton
from common.arrays import ImageArray
from realtime.measure import Meter
from realtime.pipeline import FRAME_SLOTS, Pipeline, StageError
from realtime.queues import DropPolicy
from realtime.records import Box, Frame, Keypoints, Result
from realtime.stages.regressor.look_ahead import LookAhead
from realtime.stages.tracking.detection import Detection
from realtime.stages.tracking.finder import FinderThread, SearchRequest
from tests.realtime.fakes import CAMERA, FakeFlow, FakeRegressor, FakeSource, FakeTracker, Gate


def build(
    source: FakeSource, tracker: FakeTracker, flow: FakeFlow | None, policy: DropPolicy, **limits: Any
) -> Pipeline:
    return Pipeline(source, CAMERA, tracker, flow, FakeRegressor(), Meter(), policy, **limits)  # type: ignore[arg-type]


def test_a_file_loses_nothing_however_slow_the_stages_and_sinks_are() -> None:
    times = [0.0, 0.02, 0.05, 0.11, 0.12] + [0.2 + i / 30 for i in range(35)]
    rng = np.random.default_rng(0)
    tracker, flow = FakeTracker(lambda frame: time.sleep(rng.uniform(0, 0.004))), FakeFlow()
    pipeline = build(FakeSource(times, live=False), tracker, flow, DropPolicy.WAIT)
    got: list[tuple[int, int]] = []

    def sink(result: Result) -> None:
        before = int(result.frame.image[0, 0, 0])
        time.sleep(0.003)
        assert before == int(result.frame.image[-1, -1, -1])
        got.append((result.frame.sequence, before))

    reader = pipeline.add_sink("slow sink", sink, every=True)
    pipeline.start()
    assert pipeline.wait(30)
    numbers = [(i, i) for i in range(len(times))]
    assert tracker.seen == numbers
    assert got == numbers
    assert reader.missed == 0
    assert flow.pairs == [(i, i + 1, i, i + 1) for i in range(len(times) - 1)]


def test_flow_carries_both_numbers_and_the_true_time_between_them() -> None:
    times = [0.0, 0.033, 0.5, 0.51]
    results: list[Result] = []
    pipeline = build(FakeSource(times, live=False), FakeTracker(), FakeFlow(), DropPolicy.WAIT)
    pipeline.add_sink("keep", results.append, every=True)
    pipeline.start()
    assert pipeline.wait(10)
    flows = [result.flows[0] for result in results[1:]]
    assert [(flow.previous_sequence, flow.sequence) for flow in flows] == [(0, 1), (1, 2), (2, 3)]
    assert [flow.dt_s for flow in flows] == pytest.approx([0.033, 0.467, 0.01])
    assert results[0].flows == ()


@pytest.mark.parametrize(("reads", "shows", "pairs"), [(True, False, 4), (False, True, 4), (False, False, 0)])
def test_flow_is_computed_for_whoever_reads_or_shows_it(reads: bool, shows: bool, pairs: int) -> None:
    flow, regressor = FakeFlow(), FakeRegressor()
    regressor.reads_flow = reads
    source = FakeSource([i / 30 for i in range(5)], live=False)
    pipeline = Pipeline(source, CAMERA, FakeTracker(), flow, regressor, Meter(), DropPolicy.WAIT)  # type: ignore[arg-type]
    pipeline.show_flow(shows)
    pipeline.start()
    assert pipeline.wait(10)
    assert len(flow.pairs) == pairs


def test_without_flow_keypoints_go_on_alone() -> None:
    results: list[Result] = []
    pipeline = build(FakeSource([i / 30 for i in range(5)], live=False), FakeTracker(), None, DropPolicy.WAIT)
    pipeline.add_sink("keep", results.append, every=True)
    pipeline.start()
    assert pipeline.wait(10)
    assert [result.frame.sequence for result in results] == list(range(5))
    assert all(result.flows == () and len(result.people) == 1 for result in results)


def test_a_live_source_drops_the_oldest_and_never_shows_a_frame_twice() -> None:
    """The keypoint stage is held while the camera delivers ten frames: it must go on with the newest."""
    camera, stage, entered = Gate(), Gate(), Gate()
    source = FakeSource([i / 30 for i in range(13)], live=True, before=lambda index: camera.wait())

    def work(frame: Frame) -> None:
        entered.open()
        stage.wait()

    tracker, flow, meter = FakeTracker(work), FakeFlow(), Meter()
    pipeline = Pipeline(source, CAMERA, tracker, flow, FakeRegressor(), meter, DropPolicy.NEWEST)  # type: ignore[arg-type]
    pipeline.start()
    camera.open()
    entered.wait()  # frame 0 is being processed
    camera.open(10)  # frames 1 to 10 arrive meanwhile
    deadline = time.monotonic() + 5
    while meter.frames_dropped < 9 and time.monotonic() < deadline:
        time.sleep(0.001)
    stage.open()
    entered.wait()  # and now the newest
    camera.open(3)
    stage.open(5)
    assert pipeline.wait(10)
    seen = [sequence for sequence, _ in tracker.seen]
    assert seen[:2] == [0, 10]
    assert seen == sorted(set(seen))
    assert all(number == pixel for number, pixel in tracker.seen)
    assert meter.frames_in == 13
    assert meter.frames_in - meter.frames_dropped == len(seen)
    assert flow.pairs == [(a, b, a, b) for a, b in itertools.pairwise(seen)]


def test_a_stuck_sink_never_holds_a_live_camera_up() -> None:
    release = threading.Event()
    source = FakeSource([i / 30 for i in range(60)], live=True, before=lambda index: time.sleep(0.001))
    tracker = FakeTracker()
    pipeline = build(source, tracker, FakeFlow(), DropPolicy.NEWEST)
    reader = pipeline.add_sink("stuck", lambda result: release.wait(10) and None, every=True)
    pipeline.start()
    deadline = time.monotonic() + 5
    while (not tracker.seen or tracker.seen[-1][0] < 50) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert tracker.seen[-1][0] >= 50
    release.set()
    assert pipeline.wait(10)
    assert reader.missed > 0


@pytest.mark.parametrize("stage", ["capture", "keypoints", "flow", "sink"])
def test_an_error_in_any_thread_stops_all_and_names_its_stage(stage: str) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("boom")

    source = FakeSource([i / 30 for i in range(100)], live=False, before=fail if stage == "capture" else lambda i: None)
    tracker = FakeTracker(fail if stage == "keypoints" else lambda frame: None)
    flow = FakeFlow()
    if stage == "flow":
        flow.__class__ = type("Broken", (FakeFlow,), {"__call__": fail})
    pipeline = build(source, tracker, flow, DropPolicy.WAIT)
    pipeline.add_sink("sink", fail if stage == "sink" else lambda result: None, every=True)
    pipeline.start()
    with pytest.raises(StageError) as caught:
        pipeline.wait(10)
    assert caught.value.stage == stage
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


class AskingTracker(FakeTracker):
    """Asks the detector about every frame that it is free for, and takes what it answers."""

    def __init__(self, finder: FinderThread) -> None:
        super().__init__()
        self.finder, self.answers = finder, list[int]()

    def update(self, frame: Frame) -> list[Keypoints]:
        answer = self.finder.take(wait=False)
        if answer is not None:
            self.answers.append(answer.sequence)
        if self.finder.is_idle:
            self.finder.ask(SearchRequest(frame, [Box(32, 24, 64)], 1))
        return super().update(frame)


@pytest.mark.parametrize("live", [False, True])
def test_the_detector_works_beside_the_keypoints_on_a_frame_that_stays_as_it_is(live: bool) -> None:
    seen: list[int] = []

    def look(image: ImageArray, region: Box) -> list[Detection]:
        before = int(image[0, 0, 0])
        time.sleep(0.01)
        assert before == int(image[-1, -1, -1]), "the image changed while it was searched"
        seen.append(before)
        return []

    finder = FinderThread(look)
    tracker, meter = AskingTracker(finder), Meter()
    source = FakeSource([i / 30 for i in range(80)], live, before=lambda index: time.sleep(0.002))
    policy = DropPolicy.NEWEST if live else DropPolicy.WAIT
    pipeline = Pipeline(source, CAMERA, tracker, None, FakeRegressor(), meter, policy, finder=finder)  # type: ignore[arg-type]
    pipeline.add_sink("look", lambda result: None, every=True)
    pipeline.start()
    assert pipeline.wait(20)
    assert seen[: len(tracker.answers)] == tracker.answers
    assert 1 < len(tracker.answers) < 80
    assert meter.report("none", "none", "fake").stages["detector"].count == len(seen)
    assert pipeline.frames.held <= 3, "every frame that was searched is given back"


def test_an_error_of_the_detector_stops_all_and_names_it() -> None:
    def fail(image: ImageArray, region: Box) -> list[Detection]:
        raise ZeroDivisionError("boom")

    finder = FinderThread(fail)
    tracker = AskingTracker(finder)
    source = FakeSource([i / 30 for i in range(100)], live=False, before=lambda index: time.sleep(0.002))
    pipeline = Pipeline(source, CAMERA, tracker, None, FakeRegressor(), Meter(), DropPolicy.WAIT, finder=finder)  # type: ignore[arg-type]
    pipeline.start()
    with pytest.raises(StageError) as caught:
        pipeline.wait(10)
    assert caught.value.stage == "detector"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_limits_count_frames_and_seconds_of_the_source() -> None:
    for limits, expected in (({"max_frames": 7}, 7), ({"max_seconds": 0.5}, 15)):
        tracker = FakeTracker()
        pipeline = build(
            FakeSource([i / 30 for i in range(90)], live=False), tracker, FakeFlow(), DropPolicy.WAIT, **limits
        )
        pipeline.start()
        assert pipeline.wait(10)
        assert len(tracker.seen) == expected


def test_stopping_early_gives_every_finished_result_to_the_sinks() -> None:
    got: list[int] = []
    holder: list[Pipeline] = []

    def work(frame: Frame) -> None:
        if frame.sequence == 20:
            holder[0].stop()

    pipeline = build(
        FakeSource([i / 30 for i in range(500)], live=False), FakeTracker(work), FakeFlow(), DropPolicy.WAIT
    )
    holder.append(pipeline)
    pipeline.add_sink("keep", lambda result: got.append(result.frame.sequence), every=True)
    pipeline.start()
    assert pipeline.wait(10)
    assert got == list(range(len(got)))
    assert 15 <= len(got) <= 21


def test_pausing_a_file_stops_it_where_it_is() -> None:
    tracker = FakeTracker(lambda frame: time.sleep(0.002))
    pipeline = build(FakeSource([i / 30 for i in range(200)], live=False), tracker, FakeFlow(), DropPolicy.WAIT)
    pipeline.start()
    time.sleep(0.05)
    pipeline.pause(True)
    time.sleep(0.1)
    before = len(tracker.seen)
    time.sleep(0.1)
    assert len(tracker.seen) == before < 200
    pipeline.pause(False)
    assert pipeline.wait(20)
    assert [sequence for sequence, _ in tracker.seen] == list(range(200))


def test_a_pause_that_comes_while_a_frame_is_read_loses_nothing() -> None:
    holder: list[Pipeline] = []
    reached = threading.Event()

    def pause_in_the_middle(index: int) -> None:
        if index == 7:
            holder[0].pause(True)
            reached.set()

    tracker = FakeTracker()
    pipeline = build(
        FakeSource([i / 30 for i in range(20)], False, pause_in_the_middle), tracker, FakeFlow(), DropPolicy.WAIT
    )
    holder.append(pipeline)
    pipeline.start()
    assert reached.wait(5)
    time.sleep(0.05)  # the capture thread looks at the pause meanwhile
    pipeline.pause(False)
    assert pipeline.wait(10)
    assert [sequence for sequence, _ in tracker.seen] == list(range(20))


def test_all_frames_are_given_back_at_the_end() -> None:
    pipeline = build(FakeSource([i / 30 for i in range(50)], live=False), FakeTracker(), FakeFlow(), DropPolicy.WAIT)
    pipeline.add_sink("look", lambda result: None, every=True)
    pipeline.start()
    assert pipeline.wait(10)
    # The last frame is still "previous", and the ring of results keeps two.
    assert pipeline.frames.held <= 3 < FRAME_SLOTS


def look_ahead(frames: int) -> LookAhead[Any]:
    return LookAhead(frames, Skeleton(load_body("body_1722")), CAMERA)


@pytest.mark.parametrize("frames", [1, 7, 30])
def test_a_look_ahead_loses_nothing_and_every_image_waits_with_its_frame(frames: int) -> None:
    source, got = FakeSource([i / 30 for i in range(50)], live=False), []
    pipeline = build(source, FakeTracker(), FakeFlow(), DropPolicy.WAIT, look_ahead=look_ahead(frames))

    def sink(result: Result) -> None:
        assert [person.sequence for person in result.people] == [result.frame.sequence]
        got.append((result.frame.sequence, int(result.frame.image[0, 0, 0]), int(result.frame.image[-1, -1, -1])))

    pipeline.add_sink("keep", sink, every=True)
    pipeline.start()
    assert pipeline.wait(20)
    assert got == [(i, i, i) for i in range(50)]
    assert pipeline.frames.held <= 3


@pytest.mark.parametrize("live", [False, True])
def test_stopping_gives_out_what_was_held_for_later_frames(live: bool) -> None:
    """A slow sink must get them all, from a camera as well: they come at once."""
    holder: list[Pipeline] = []
    stopped: list[int] = []
    got: list[int] = []

    def work(frame: Frame) -> None:
        if frame.sequence >= 20 and not stopped:
            stopped.append(frame.sequence)
            holder[0].stop()

    source = FakeSource([i / 30 for i in range(500)], live, lambda index: time.sleep(0.01 if live else 0))
    tracker = FakeTracker(work)
    pipeline = build(
        source, tracker, FakeFlow(), DropPolicy.NEWEST if live else DropPolicy.WAIT, look_ahead=look_ahead(8)
    )
    holder.append(pipeline)

    def sink(result: Result) -> None:
        if stopped:
            time.sleep(0.02)
        got.append(result.frame.sequence)

    pipeline.add_sink("slow", sink, every=True)
    pipeline.start()
    assert pipeline.wait(10)
    seen = [sequence for sequence, _ in tracker.seen]
    assert got[-8:] in (seen[-8:], seen[-9:-1])  # the frame that was being processed when it stopped may be among them
    if not live:
        assert got == seen[: len(got)]


def test_the_wait_for_later_frames_is_measured() -> None:
    source = FakeSource([i / 30 for i in range(40)], live=True, before=lambda index: time.sleep(0.01))
    meter = Meter()
    pipeline = Pipeline(
        source, CAMERA, FakeTracker(), None, FakeRegressor(), meter, DropPolicy.NEWEST, look_ahead=look_ahead(6)  # type: ignore[arg-type]
    )  # fmt: skip
    pipeline.add_sink("look", lambda result: None, every=True)
    pipeline.start()
    assert pipeline.wait(10)
    report = meter.report("none", "none", "fake", 6)
    assert report.look_ahead_frames == 6
    assert 50 < report.look_ahead_ms <= report.latency_ms.p50
