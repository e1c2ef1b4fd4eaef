"""Networks that are no regressors, or answer what no regressor answers: one line that names it, never a traceback."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from body.lbs import NumpyBody
from body.model import load_body
from common.arrays import AnyArray
from common.camera import Camera
from common.errors import UserError
from engines.engine import Arrays, Engine, EngineError, TensorSpec
from engines.manifest import resolve
from engines.onnx_file import open_onnx
from engines.openvino_cpu import OpenVinoEngine
from engines.ort import OnnxRuntimeEngine
from realtime.records import Keypoints
from realtime.stages.regressor.body_regressor import BodyRegressor, Observed
from realtime.stages.regressor.ensemble import MemoryEnsemble
from tests.foreign import damaged, few

F = np.dtype(np.float32)
INPUTS = {"points": (-1, 17, 2), "confidence": (-1, 17), "camera": (-1, 4), "dt": (-1,), "state": (-1, 8)}
ANSWER = {
    "rotations": np.tile(np.eye(3, dtype=np.float32), (1, 24, 1, 1)),
    "betas": np.zeros((1, 10), np.float32),
    "pelvis": np.array([[0, 0, 3]], np.float32),
    "next_state": np.zeros((1, 8), np.float32),
}


class Double(Engine):
    """Declares and answers what a test wants, one row for each person."""

    runtime, device = "double", "none"

    def __init__(
        self, inputs: dict[str, TensorSpec], declared: dict[str, TensorSpec], answer: dict[str, AnyArray]
    ) -> None:
        self.inputs, self.outputs, self._answer = tuple(inputs.values()), tuple(declared.values()), answer

    def infer(self, feeds: Arrays) -> dict[str, AnyArray]:
        people = len(feeds["state"])
        return {name: np.repeat(array, people, 0) if array.ndim else array for name, array in self._answer.items()}

    def close(self) -> None: ...


def specs(shapes: dict[str, tuple[int, ...]]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, shape, F) for name, shape in shapes.items()}


def declared(answer: dict[str, AnyArray]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, (-1, *array.shape[1:]), array.dtype) for name, array in answer.items()}


@pytest.fixture(scope="module")
def body() -> NumpyBody:
    return NumpyBody(load_body("body_1722"))


def observed(person: int, frame: int) -> Observed:
    points = np.linspace(100, 300, 34, dtype=np.float32).reshape(17, 2)
    keypoints = Keypoints(frame, person, points, np.full(17, 0.8, np.float32))
    return Observed(keypoints, Camera(500.0, 500.0, 320.0, 240.0), frame / 30, None)


def one(regressor: BodyRegressor) -> object:
    return regressor(*observed(0, 0))


def several(regressor: BodyRegressor) -> object:
    return regressor.estimate_all([observed(person, 0) for person in range(3)])


def test_the_doubles_are_good(body: NumpyBody) -> None:
    regressor = BodyRegressor(Double(specs(INPUTS), declared(ANSWER), ANSWER), body)
    one(regressor)
    several(regressor)


WRONG = [
    ("rotations", np.zeros((1, 24, 6), np.float32)),
    ("rotations", np.zeros((1, 23, 3, 3), np.float32)),
    ("rotations", np.zeros((24, 3, 3), np.float32)),
    ("rotations", np.zeros((1, 24, 3, 3))),
    ("betas", np.zeros((1, 16), np.float32)),
    ("betas", np.zeros((), np.float32)),
    ("betas", np.zeros((0, 10), np.float32)),
    ("betas", np.zeros((1, 10), np.float16)),
    ("pelvis", np.zeros((1, 4), np.float32)),
    ("next_state", np.zeros((1, 9), np.float32)),
    ("steady_points", np.zeros((1, 16, 2), np.float32)),
    ("up", np.zeros((1, 4), np.float32)),
    ("up_sigma", np.zeros((1, 3), np.float32)),
    ("contact", np.zeros((1,), np.float32)),
    ("joint_error", np.zeros((1, 3), np.float32)),
    ("root_velocity", np.zeros((3,), np.float32)),
    ("betas_sigma", np.zeros((1, 3), np.float32)),
]


@pytest.mark.parametrize("ask", [one, several])
@pytest.mark.parametrize("steadied", [False, True])
@pytest.mark.parametrize("admits", [False, True])
@pytest.mark.parametrize(("name", "array"), WRONG)
def test_answers_of_another_shape_are_named(
    body: NumpyBody, name: str, array: AnyArray, admits: bool, steadied: bool, ask: Callable[[BodyRegressor], object]
) -> None:
    """Whether the network ``admits`` them in what it declares, or not."""
    answer = {**ANSWER, name: array}
    known = {**ANSWER, name: array if admits else np.zeros((1, 1), np.float32)}
    says = declared(known)
    if not admits:  # as where a runtime cannot tell
        says[name] = TensorSpec(name, (), F)
    engine: Engine = Double(specs(INPUTS), says, answer)
    with pytest.raises(EngineError, match=f"'{name}' is .* wanted float32"):
        ask(BodyRegressor(MemoryEnsemble(engine) if steadied else engine, body))


@pytest.mark.parametrize(
    ("name", "shape"),
    [("points", (-1, 18, 2)), ("points", (-1, 34)), ("camera", (-1, 3, 3)), ("state", (8,)), ("state", ()),
     ("state", (-1, 2**31 - 1)), ("state", (-1, -1)), ("dt", (-1, 1))],
)  # fmt: skip
def test_inputs_of_another_shape_are_named(body: NumpyBody, name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(EngineError, match="not a regressor of this project"):
        BodyRegressor(Double(specs({**INPUTS, name: shape}), declared(ANSWER), ANSWER), body)


@pytest.mark.parametrize("model", ["movenet-lightning", "movenet-multipose", "raft-small", "keypoints"])
def test_other_networks_are_refused(body: NumpyBody, model: str) -> None:
    network = resolve(model)
    with OnnxRuntimeEngine(network.read()) as engine:
        if model == "keypoints":  # a regressor without flow
            one(BodyRegressor(engine, body))
            return
        with pytest.raises(EngineError, match="not a regressor of this project"):
            BodyRegressor(engine, body)


WHOLE = resolve("keypoints").read()


@few
@given(
    damaged(WHOLE, (b"rotations", b"state", b"../../etc/passwd")), st.sampled_from([OnnxRuntimeEngine, OpenVinoEngine])
)
def test_a_damaged_network_is_read_or_refused(
    body: NumpyBody, data: bytes, runtime: type[OnnxRuntimeEngine] | type[OpenVinoEngine]
) -> None:
    try:
        open_onnx(data)
        engine = runtime(data)
    except UserError:
        return
    with engine:
        try:
            engine.warm_up()
            one(BodyRegressor(engine, body))
        except UserError as error:
            assert "\n" not in str(error)  # noqa: PT017  # it may also be read
