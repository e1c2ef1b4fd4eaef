"""A source, stages and a clock whose every step the test decides."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from common.arrays import ImageArray
from common.camera import Camera
from realtime.records import BodyEstimate, Box, Flow, Frame, Keypoints, PosePrediction
from realtime.sources.source import FrameTimestamp, Source
from realtime.stages.regressor.body_regressor import Observed

CAMERA = Camera(500.0, 500.0, 31.5, 23.5)


class FakeSource(Source):
    """Frames whose first pixel says their number. ``times`` is each frame's time; ``before`` runs before each read."""

    def __init__(self, times: list[float], live: bool, before: Callable[[int], None] = lambda index: None) -> None:
        super().__init__("fake", live=live)
        self.size, self.fps, self.frame_count = (64, 48), 30.0, len(times)
        self._times, self._before, self._next = times, before, 0

    def open(self) -> None: ...

    def close(self) -> None: ...

    def read_into(self, buffer: ImageArray) -> FrameTimestamp | None:
        if self._next >= len(self._times):
            return None
        index, self._next = self._next, self._next + 1
        self._before(index)
        buffer[:] = index % 251
        return FrameTimestamp(index, time.monotonic_ns(), self._times[index])


def keypoints_of(frame: Frame, person: int = 0) -> Keypoints:
    return Keypoints(frame.sequence, person, np.full((17, 2), 20, np.float32), np.ones(17, np.float32))


class FakeTracker:
    """Sees one person in every frame; notes what it was given. ``work`` runs inside `update`."""

    def __init__(self, work: Callable[[Frame], None] = lambda frame: None) -> None:
        self.seen: list[tuple[int, int]] = []
        self._work = work

    def regions(self, frame: Frame) -> list[tuple[int, Box]]:
        return [(0, Box(32, 24, 40))] if self.seen else []

    def update(self, frame: Frame) -> list[Keypoints]:
        first = int(frame.image[0, 0, 0])
        self._work(frame)
        assert first == int(frame.image[-1, -1, -1]), "the frame changed while it was looked at"
        self.seen.append((frame.sequence, first))
        return [keypoints_of(frame)]


class FakeFlow:
    """Notes the pairs it was asked for."""

    def __init__(self) -> None:
        self.shows = True
        self.pairs: list[tuple[int, int, int, int]] = []

    def __call__(self, previous: Frame, current: Frame, box: Box) -> Flow:
        pixels = int(previous.image[0, 0, 0]), int(current.image[0, 0, 0])
        self.pairs.append((previous.sequence, current.sequence, *pixels))
        dt = current.time_s - previous.time_s
        return Flow(current.sequence, previous.sequence, dt, box, np.zeros((4, 4, 2), np.float32))

    def all(self, previous: Frame, current: Frame, boxes: Sequence[Box]) -> list[Flow]:
        return [self(previous, current, box) for box in boxes]


class FakeRegressor:
    def __init__(self) -> None:
        self.reads_flow = True
        self.times: list[float] = []

    def __call__(self, keypoints: Keypoints, camera: Camera, time_s: float, flow: Flow | None = None) -> BodyEstimate:
        return self.pose(self.predict(keypoints, camera, time_s, flow))

    def predict(self, keypoints: Keypoints, camera: Camera, time_s: float, flow: Flow | None = None) -> PosePrediction:
        assert flow is None or (flow.person, flow.sequence) == (keypoints.person, keypoints.sequence)
        self.times.append(time_s)
        rotations = np.tile(np.eye(3, dtype=np.float32), (24, 1, 1))
        pelvis = np.array([0, 0, 3], np.float32)
        return PosePrediction(keypoints, time_s, rotations, np.zeros(10, np.float32), pelvis, keypoints.points)

    def estimate_all(self, people: Sequence[Observed]) -> list[BodyEstimate]:
        return [self(*one) for one in people]

    def predict_all(self, people: Sequence[Observed]) -> list[PosePrediction]:
        return [self.predict(*one) for one in people]

    def pose(self, prediction: PosePrediction) -> BodyEstimate:
        zero = np.zeros
        return BodyEstimate(
            prediction.keypoints.sequence,
            prediction.keypoints.person,
            zero(3, np.float32),
            zero((23, 3), np.float32),
            prediction.betas,
            prediction.pelvis,
            zero((24, 3), np.float32),
            zero((17, 3), np.float32),
            zero((5, 3), np.float32),
            prediction.keypoints,
        )

    def pose_all(self, predictions: Sequence[PosePrediction]) -> list[BodyEstimate]:
        return [self.pose(prediction) for prediction in predictions]

    def forget(self, before_s: float) -> None: ...


class Gate:
    """Lets a thread pass once for every `open`."""

    def __init__(self) -> None:
        self._semaphore = threading.Semaphore(0)

    def wait(self) -> None:
        assert self._semaphore.acquire(timeout=10), "nobody opened the gate"

    def open(self, times: int = 1) -> None:
        self._semaphore.release(times)
