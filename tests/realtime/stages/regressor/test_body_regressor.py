"""The regressor stage: what it feeds the network, what it remembers, whom it forgets."""

from __future__ import annotations

import numpy as np
import pytest

from body.lbs import NumpyBody
from body.model import load_body
from body.stature import BodyScale, Stature
from common.arrays import AnyArray
from common.camera import Camera
from engines.engine import Arrays, Engine, EngineError, TensorSpec
from engines.finite import FiniteEngine
from engines.registry import open_engine
from realtime.records import Box, Flow, Keypoints
from realtime.stages.regressor.body_regressor import BodyRegressor, Observed

CAMERA = Camera(550.0, 550.0, 319.5, 239.5)
F = np.dtype(np.float32)


class Recorder(Engine):
    """Takes what a regressor is fed; answers a person in the rest pose, 3 m away, and counts frames in its state."""

    runtime, device = "recorder", "none"

    def __init__(self, flow: bool, world: bool = False) -> None:
        shapes = {"points": (-1, 17, 2), "confidence": (-1, 17), "camera": (-1, 4), "dt": (-1,), "state": (-1, 3)}
        if flow:
            shapes |= {"flow": (-1, 32, 32, 2), "box": (-1, 3), "flow_valid": (-1,)}
        self.inputs = tuple(TensorSpec(name, shape, F) for name, shape in shapes.items())
        answers = {"rotations": (-1, 24, 3, 3), "betas": (-1, 10), "pelvis": (-1, 3), "next_state": (-1, 3)}
        if flow:
            answers |= {"joint_error": (-1, 24), "contact": (-1, 4 if world else 2)}
        if world:
            answers |= {"up": (-1, 3), "up_sigma": (-1,), "root_velocity": (-1, 3), "betas_sigma": (-1, 10)}
        self.outputs = tuple(TensorSpec(name, shape, F) for name, shape in answers.items())
        self.fed: list[dict[str, AnyArray]] = []

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        self.check_feeds(feeds)
        self.fed.append({name: np.array(value) for name, value in feeds.items()})
        rotations = np.tile(np.eye(3, dtype=np.float32), (1, 24, 1, 1))
        rotations[0, 0] = np.diag([1, -1, -1])
        return {
            "rotations": rotations,
            "betas": np.full((1, 10), len(self.fed), np.float32),
            "pelvis": np.array([[0, 0, 3]], np.float32),
            "next_state": feeds["state"] + np.float32(1),
            "joint_error": np.full((1, 24), 0.05, np.float32),
            "contact": np.array([[0.9, 0.1]], np.float32),
            "up": np.array([[0, -1, 0]], np.float32),
            "up_sigma": np.array([0.1], np.float32),
            "root_velocity": np.array([[0, 0, 1.5]], np.float32),
        }

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def body() -> NumpyBody:
    return NumpyBody(load_body("body_1722"))


def seen(sequence: int, person: int = 0) -> Keypoints:
    points = np.tile(np.array([320, 240], np.float32), (17, 1)) + np.arange(17, dtype=np.float32)[:, None]
    return Keypoints(sequence, person, points, np.full(17, 0.8, np.float32))


def flow(sequence: int, dt_s: float, person: int = 0) -> Flow:
    field = np.zeros((128, 128, 2), np.float32)
    field[:64, :, 0] = 6.4  # the upper half moves to the right by a twentieth of the crop
    return Flow(sequence, sequence - 1, dt_s, Box(300, 200, 250), field, person)


def test_flow_reaches_the_network_as_means_in_sides_of_the_box(body: NumpyBody) -> None:
    engine = Recorder(flow=True)
    regressor = BodyRegressor(engine, body)
    regressor(seen(0), CAMERA, 0.0)
    estimate = regressor(seen(1), CAMERA, 0.04, flow(1, 0.04))
    first, second = engine.fed
    assert first["flow_valid"].tolist() == [0]
    assert not first["flow"].any()
    assert second["flow_valid"].tolist() == [1]
    assert second["box"].tolist() == [[300, 200, 250]]
    np.testing.assert_allclose(second["flow"][0, :16, :, 0], 0.05, rtol=1e-5)
    np.testing.assert_allclose(second["flow"][0, 16:], 0)
    assert second["dt"] == pytest.approx(0.04)
    assert second["state"].tolist() == [[1, 1, 1]]
    assert estimate.contact is not None
    assert estimate.contact.tolist() == pytest.approx([0.9, 0.1])
    assert estimate.joint_error is not None


def test_flow_over_another_time_than_the_persons_does_not_count(body: NumpyBody) -> None:
    """Missed for a frame: the flow is of the last frame only, the keypoints of the last two."""
    engine = Recorder(flow=True)
    regressor = BodyRegressor(engine, body)
    regressor(seen(0), CAMERA, 0.0)
    regressor(seen(2), CAMERA, 0.066, flow(2, 0.033))
    assert engine.fed[1]["flow_valid"].tolist() == [0]


def test_what_a_network_knows_of_the_world_is_handed_on_and_its_shape_is_taken_as_it_is(body: NumpyBody) -> None:
    regressor = BodyRegressor(Recorder(flow=True, world=True), body)
    regressor(seen(0), CAMERA, 0.0)
    estimate = regressor(seen(1), CAMERA, 0.04)
    assert estimate.up is not None
    assert estimate.up.tolist() == [0, -1, 0]
    assert estimate.up_sigma == pytest.approx(0.1)
    assert estimate.root_velocity is not None
    assert estimate.root_velocity[2] == 1.5
    assert estimate.betas.tolist() == [2] * 10
    older = BodyRegressor(Recorder(flow=True), body)
    older(seen(0), CAMERA, 0.0)
    estimate = older(seen(1), CAMERA, 0.04)
    assert estimate.up is None
    assert estimate.up_sigma is None
    assert estimate.betas.tolist() == [1.5] * 10  # the mean of all predictions


def test_a_network_without_flow_is_not_fed_any(body: NumpyBody) -> None:
    engine = Recorder(flow=False)
    estimate = BodyRegressor(engine, body)(seen(0), CAMERA, 0.0, flow(0, 0.03))
    assert set(engine.fed[0]) == {"points", "confidence", "camera", "dt", "state"}
    assert estimate.contact is None


def test_people_have_memories_of_their_own_and_the_gone_are_forgotten(body: NumpyBody) -> None:
    engine = Recorder(flow=True)
    regressor = BodyRegressor(engine, body)
    for person, time_s in ((0, 0.0), (1, 0.0), (0, 0.04), (0, 0.08), (1, 0.08)):
        regressor(seen(0, person), CAMERA, time_s)
    assert [float(feeds["state"][0, 0]) for feeds in engine.fed] == [0, 0, 1, 2, 1]
    regressor(seen(0, 1), CAMERA, 4.0)  # away for too long: begins anew
    assert float(engine.fed[-1]["state"][0, 0]) == 0
    regressor.forget(2.0)
    regressor(seen(0, 0), CAMERA, 4.04)
    assert float(engine.fed[-1]["state"][0, 0]) == 0


@pytest.mark.parametrize("name", ["motion", "keypoints"])
def test_every_shipped_regressor_gives_a_person(name: str, body: NumpyBody) -> None:
    with open_engine(name) as engine:
        regressor = BodyRegressor(engine, body)
        for frame in range(3):
            estimate = regressor(seen(frame), CAMERA, frame / 30, flow(frame, 1 / 30) if frame else None)
    assert np.isfinite(estimate.vertices).all()
    assert estimate.transl[2] > 0.3
    assert estimate.contact is not None


def test_another_network_is_refused(body: NumpyBody) -> None:
    with open_engine("movenet-lightning") as engine, pytest.raises(EngineError, match="not a regressor"):
        BodyRegressor(engine, body)


class Counter(Engine):
    """``engine``; counts its runs, and answers NaN for the rows whose nose is at ``bad`` px."""

    def __init__(self, engine: Engine, bad: float = -1.0) -> None:
        self._engine, self._bad, self.runs = engine, np.float32(bad), 0
        self.runtime, self.device, self.inputs, self.outputs = (
            engine.runtime, engine.device, engine.inputs, engine.outputs
        )  # fmt: skip

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        self.runs += 1
        out = self._engine.infer(feeds)
        out["pelvis"][feeds["points"][:, 0, 0] == self._bad] = np.nan
        return out

    def close(self) -> None:
        self._engine.close()


def walkers(frame: int) -> list[Observed]:
    """Three people, one of whom comes later; all move a little."""
    rng = np.random.default_rng(2)
    shapes = rng.normal(0, [[30, 80]], (3, 17, 2))
    people = []
    for person in range(3 if frame > 2 else 2):
        points = shapes[person] + [150 + 120 * person + 2 * frame, 240]
        keypoints = Keypoints(frame, person, points.astype(np.float32), np.full(17, 0.8, np.float32))
        field = rng.normal(0, 1, (128, 128, 2)).astype(np.float32)
        flow = Flow(frame, frame - 1, 1 / 30, Box(150 + 120 * person, 240, 200), field, person) if frame else None
        people.append(Observed(keypoints, CAMERA, frame / 30, flow))
    return people


def test_people_go_through_the_network_together_and_get_what_they_would_get_alone() -> None:
    body = NumpyBody(load_body("body_1722"))
    with open_engine("motion", "onnxruntime") as engine:
        together, alone = Counter(engine), Counter(engine)
        one, other = BodyRegressor(together, body), BodyRegressor(alone, body)
        for frame in range(6):
            found = one.estimate_all(walkers(frame))
            assert together.runs == frame + 1
            for estimate, observed in zip(found, walkers(frame), strict=True):
                wanted = other(*observed)
                assert (estimate.person, estimate.sequence) == (wanted.person, frame)
                np.testing.assert_allclose(estimate.joints, wanted.joints, atol=1e-3)
                np.testing.assert_allclose(estimate.body_pose, wanted.body_pose, atol=1e-3)
                np.testing.assert_allclose(estimate.vertices, wanted.vertices, atol=1e-3)


def test_an_answer_that_cannot_be_costs_nobody_else_a_frame() -> None:
    body = NumpyBody(load_body("body_1722"))
    with open_engine("motion", "onnxruntime") as engine:
        bad = float(walkers(4)[1].keypoints.points[0, 0])
        spoilt = BodyRegressor(FiniteEngine(Counter(engine, bad), "motion", None), body)
        sound = BodyRegressor(engine, body)
        for frame in range(4):
            spoilt.predict_all(walkers(frame))
            sound.predict_all(walkers(frame))
        left = spoilt.predict_all(walkers(4))
        assert [one.keypoints.person for one in left] == [0, 2]
        for one, wanted in zip(left, [sound.predict(*walkers(4)[person]) for person in (0, 2)], strict=True):
            np.testing.assert_allclose(one.rotations, wanted.rotations, atol=1e-3)
        assert [one.keypoints.person for one in spoilt.predict_all(walkers(5))] == [0, 1, 2]


def test_people_of_a_known_height_look_the_same_from_farther_away() -> None:
    body = NumpyBody(load_body("body_1722"))
    with open_engine("motion", "onnxruntime") as engine:
        free = BodyRegressor(engine, body)
        for height_m in (1.6, 1.8):
            held = BodyRegressor(engine, body, stature=Stature(body.arrays, height_m))
            for frame in range(3):
                before, after = free(*walkers(frame)[0]), held(*walkers(frame)[0])
            rest = [body.arrays.v_template + body.arrays.shapedirs @ one.betas for one in (before, after)]
            heights = [float(np.ptp(vertices[:, 1])) for vertices in rest]
            assert heights[1] == pytest.approx(height_m, abs=1e-3)
            growth = heights[1] / heights[0]
            assert after.transl[2] / before.transl[2] == pytest.approx(growth, rel=0.02)
            off = np.linalg.norm(CAMERA.project(after.joints) - CAMERA.project(before.joints), axis=1)
            assert off.mean() < 0.7
            assert off.max() < 2.5
            assert before.root_velocity is not None
            assert after.root_velocity is not None
            np.testing.assert_allclose(after.root_velocity, before.root_velocity * np.float32(growth), rtol=1e-3)
            free = BodyRegressor(engine, body)


def test_who_is_to_be_larger_is_farther_away_and_looks_the_same() -> None:
    body = NumpyBody(load_body("body_1722"))
    with open_engine("motion", "onnxruntime") as engine:
        free, grown = BodyRegressor(engine, body), BodyRegressor(engine, body, scale=BodyScale(body.arrays))
        for frame in range(3):
            grown.growths = {walkers(frame)[0].keypoints.person: 1.04}
            before, after = free(*walkers(frame)[0]), grown(*walkers(frame)[0])
        assert (before.growth, after.growth) == (1.0, pytest.approx(1.04, abs=1e-4))
        assert after.transl[2] / before.transl[2] == pytest.approx(1.04, rel=0.02)
        off = np.linalg.norm(CAMERA.project(after.joints) - CAMERA.project(before.joints), axis=1)
        assert off.mean() < 0.7
        grown.growths = {}
        assert grown(*walkers(3)[0]).growth == 1.0
