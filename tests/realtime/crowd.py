"""Several people through keypoints, flow, regressor and body, with whatever engines a test gives; they come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import numpy as np

from body.lbs import NumpyBody
from body.model import load_body
from common.camera import Camera
from engines.plans import PlanPolicy
from engines.registry import open_engine
from realtime.records import BodyEstimate, Box, Frame, Keypoints
from realtime.stages.flow.crop_flow import RaftFlow
from realtime.stages.flow.raft_engine import open_raft
from realtime.stages.keypoints.movenet import CropView, MoveNet
from realtime.stages.regressor.body_regressor import BodyRegressor, Observed
from realtime.stages.regressor.engine_regressor import open_posing_regressor
from tests.realtime.quick_flow import quick_flow

CAMERA = Camera(544.0, 544.0, 320.0, 240.0)
PEOPLE = 6
Stages = tuple[MoveNet, RaftFlow, BodyRegressor]


def on_the_gpu(folder: Path, stack: ExitStack, rows: int = PEOPLE) -> Stages:
    """The stages as a GPU runs them, in float32, with a quick network of RAFT's shape."""
    (folder / "quick.onnx").write_bytes(quick_flow())
    policy = PlanPolicy("fp32", rows=rows)
    keypoints = stack.enter_context(open_engine("movenet-lightning", "tensorrt", plans=policy))
    posing = open_posing_regressor("motion", load_body("body_1722"), policy)
    raft = open_raft(str(folder / "quick.onnx"), 32, policy)
    for engine in (posing, raft):
        stack.enter_context(engine)
    flow = RaftFlow(raft, raft.start)
    flow.shows = False
    return MoveNet(keypoints), flow, BodyRegressor(posing, posing.poser, filters=False)


def on_the_cpu(stack: ExitStack) -> Stages:
    """The stages in ONNX Runtime."""
    keypoints = stack.enter_context(open_engine("movenet-lightning", "onnxruntime"))
    motion = stack.enter_context(open_engine("motion", "onnxruntime"))
    flow = RaftFlow(stack.enter_context(open_engine(quick_flow(), "onnxruntime")))
    return MoveNet(keypoints), flow, BodyRegressor(motion, NumpyBody(load_body("body_1722")))


def watch(
    stages: Stages, present: Sequence[Sequence[int]], after: Callable[[int], None] = lambda frame: None
) -> Iterator[list[BodyEstimate]]:
    """The bodies of those who are ``present`` in each frame; ``after`` is called with the number of each when it is done.

    Keypoints are searched where everybody is, and the regressor is told of made-up ones, so that it has something to do. Who
    was not present one frame earlier has no flow, and who has just left has one.
    """
    movenet, flow, regressor = stages
    rng = np.random.default_rng(5)
    image = rng.integers(0, 255, (12, 16, 3), np.uint8).repeat(40, 0).repeat(40, 1)
    frames = [Frame(number, 0, number / 30, np.roll(image, 3 * number, 1)) for number in range(len(present) + 1)]
    rest = rng.uniform((-60, -140), (60, 140), (17, 2))
    boxes = [Box(70 + 100 * person, 240, 300) for person in range(PEOPLE)]
    before: Sequence[int] = ()
    for (last, now), people in zip(pairwise(frames), present, strict=True):
        seen = movenet.all(now.image, [CropView(boxes[person]) for person in people])
        assert len(seen) == len(people)
        flows = dict(zip(before, flow.all(last, now, [boxes[person] for person in before]), strict=True))
        observed = []
        for person, (points, confidence) in zip(people, seen, strict=True):
            waving = rest + [boxes[person].x, 240] + 9 * np.sin(now.sequence / 3 + person + np.arange(17))[:, None]
            points = (waving + 0.1 * (points - points.mean(0))).astype(np.float32)
            keypoints = Keypoints(now.sequence, person, points, np.maximum(confidence, np.float32(0.7)))
            observed.append(Observed(keypoints, CAMERA, now.time_s, flows.get(person)))
        bodies = regressor.estimate_all(observed)
        assert [body.person for body in bodies] == list(people)
        for one in flows.values():
            one.release()
        after(now.sequence)
        yield bodies
        before = people


def assert_near(found: Sequence[Sequence[BodyEstimate]], expected: Sequence[Sequence[BodyEstimate]]) -> None:
    """Fail where bodies differ by more than two engines' rounding."""
    for bodies, wanted in zip(found, expected, strict=True):
        for one, other in zip(bodies, wanted, strict=True):
            for name in ("vertices", "joints", "keypoints_3d", "transl", "body_pose", "betas"):
                if hasattr(other, name):
                    np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=2e-3, err_msg=name)
