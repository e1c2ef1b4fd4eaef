"""Regressor, filter and body in one run give what they give one by one, with one copy in and one out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import realtime.networks
from body.lbs import NumpyBody
from body.model import BodyArrays, load_body
from body.rotations import axis_angle_to_matrix
from common.camera import Camera
from engines.engine import EngineError
from engines.plans import PlanPolicy
from engines.registry import open_engine
from realtime.options import Options
from realtime.records import BodyEstimate, Box, Flow, Keypoints
from realtime.session import Session
from realtime.stages.regressor.body_regressor import BodyRegressor
from realtime.stages.regressor.engine_regressor import open_posing_regressor
from tests.engines.conftest import FakeGpu, fake_gpu

__all__ = ["fake_gpu"]

CLIP = Path(__file__).resolve().parents[4] / "assets" / "synthetic_walk.mp4"
CAMERA = Camera(544.0, 544.0, 320.0, 240.0)
POLICY = PlanPolicy("fp32")


@pytest.fixture(scope="module")
def arrays() -> BodyArrays:
    return load_body("body_1722")


def watch(regressor: BodyRegressor, frames: int, people: int = 1) -> list[BodyEstimate]:
    """What it makes of people who wave, with flow or without, and of one who was away for a while."""
    rng = np.random.default_rng(7)
    rest = rng.uniform((200, 80), (440, 420), (17, 2))
    found = []
    for frame in range(frames):
        time_s = frame / 30 + 3.0 * (frame > frames // 2)
        for person in range(people):
            points = (rest + 60 * person + 20 * np.sin(frame / 3 + np.arange(17))[:, None]).astype(np.float32)
            keypoints = Keypoints(frame, person, points, np.full(17, 0.8, np.float32))
            field = np.full((128, 128, 2), frame % 5, np.float32)
            flow = Flow(frame, frame - 1, 1 / 30, Box(320, 240, 400), field, person) if frame % 4 else None
            found.append(regressor(keypoints, CAMERA, time_s, flow))
    return found


def test_it_is_what_the_three_are_one_by_one(fake_gpu: FakeGpu, arrays: BodyArrays) -> None:
    with (
        open_engine("motion", "onnxruntime") as network,
        open_posing_regressor("motion", arrays, POLICY) as posing,
    ):
        assert {spec.name for spec in posing.inputs} == {spec.name for spec in network.inputs}
        assert {spec.name for spec in posing.outputs} == {spec.name for spec in network.outputs}
        apart = watch(BodyRegressor(network, NumpyBody(arrays)), 24, people=2)
        copies, waits = fake_gpu.cuda.copies, fake_gpu.cuda.waits
        together = watch(BodyRegressor(posing, posing.poser, filters=False), 24, people=2)
        assert fake_gpu.cuda.waits - waits == 48
        assert fake_gpu.cuda.copies - copies <= 4, "the rest are replays"
        assert posing.replays == 47
    for expected, body in zip(apart, together, strict=True):
        for name in ("vertices", "joints", "keypoints_3d", "transl", "global_orient", "body_pose", "betas"):
            if hasattr(expected, name):
                np.testing.assert_allclose(getattr(body, name), getattr(expected, name), atol=2e-4, err_msg=name)


def test_another_pose_than_the_answered_one_is_posed_on_the_cpu(fake_gpu: FakeGpu, arrays: BodyArrays) -> None:
    with open_posing_regressor("motion", arrays, POLICY) as posing:
        watch(BodyRegressor(posing, posing.poser, filters=False), 2)
        body, plain = posing.poser, NumpyBody(arrays)
        pose, betas = np.full((1, 24, 3), 0.3, np.float32), np.ones((1, 10), np.float32)
        (found,), (expected,) = (each.pose_all(betas, pose) for each in (body, plain))
        for array, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(array, wanted, atol=1e-6)
        assert np.abs(posing.answers[0]["smooth_rotations"] - axis_angle_to_matrix(pose[0])).max() > 0.1


def motion(path: Path, session: Session) -> dict[str, np.ndarray]:
    assert session.run().meshes == 6
    with np.load(path, allow_pickle=False) as data:
        return dict(data)


@pytest.mark.parametrize(("fails", "height_cm"), [(False, None), (True, None), (False, 175.0)])
def test_the_program_gives_the_same_bodies_with_it_and_without(
    fake_gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: bool, height_cm: float | None
) -> None:
    """Where people's height is known, the CPU scales the shape between the network and the body: they run one after the
    other."""
    if fails:

        def refuse(*arguments: object) -> None:
            raise EngineError("no")

        monkeypatch.setattr(realtime.networks, "open_posing_regressor", refuse)
    runs = {}
    for engine in ("onnxruntime", "tensorrt"):
        path = tmp_path / f"{engine}.npz"
        options = Options(
            source=str(CLIP),
            view="none",
            engine=engine,
            save=(path,),
            frames=6,
            flow="dis",
            precision="fp32",
            quality="live",
            height=height_cm,
            persons=1,  # the very same graph: the next crop is where these keypoints are, so that rounding grows
        )
        session = Session(options)
        runs[engine] = motion(path, session)
    np.testing.assert_allclose(runs["tensorrt"]["joints_m"], runs["onnxruntime"]["joints_m"], atol=2e-4)
    assert len(session.networks.engines) == (4 if fails or height_cm else 3), "keypoints, people, regressor (and body)"
    assert session.report is not None
    assert session.report.graph_replays > 6
