"""The body as a graph poses like the body on the CPU, for one person and for several, and for bodies of SMPL's own kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from body.lbs import NumpyBody
from body.lbs_onnx import BODY_OUTPUTS, body_to_onnx
from body.model import BodyArrays, load_body
from common.arrays import FloatArray
from common.errors import UserError
from engines.ort import OnnxRuntimeEngine
from engines.precision.fp16 import to_fp16
from engines.precision.graphs import fold_constants
from export.body_graph import TOLERANCE_MM, body_parity, main, sample_poses


@pytest.fixture(scope="module")
def arrays() -> BodyArrays:
    return load_body("body_1722")


@pytest.fixture(scope="module")
def model(arrays: BodyArrays) -> bytes:
    return body_to_onnx(arrays)


def infer(model: bytes, feeds: dict[str, FloatArray]) -> dict[str, FloatArray]:
    with OnnxRuntimeEngine(model) as engine:
        return engine.infer(feeds)


def inputs_of(people: int) -> dict[str, FloatArray]:
    poses = sample_poses(people)
    return {name: poses[name] for name in ("betas", "rotations", "translation")}


def test_it_poses_like_the_body_on_the_cpu(model: bytes, arrays: BodyArrays) -> None:
    assert max(body_parity(model, arrays, people=12).values()) < TOLERANCE_MM


def test_every_vertex_of_another_body_may_have_correctives(arrays: BodyArrays) -> None:
    """SMPL's own correctives reach all vertices, and its betas know no limit."""
    rng = np.random.default_rng(4)
    posedirs = rng.normal(0, 1e-3, arrays.posedirs.shape).astype(np.float32)
    fields = {name: getattr(arrays, name) for name in BodyArrays.__slots__}
    other = BodyArrays(**fields | {"posedirs": posedirs, "beta_limit": float("inf")})
    model = body_to_onnx(other)
    assert max(body_parity(model, other, people=4).values()) < TOLERANCE_MM
    feeds = inputs_of(1)
    feeds["betas"] = np.full((1, 10), 5, np.float32)
    body = NumpyBody(other)
    body.set_shape(feeds["betas"][0])
    expected = body.joints_only(sample_poses(1)["pose"][0, 0], sample_poses(1)["pose"][0, 1:], feeds["translation"][0])
    np.testing.assert_allclose(infer(model, feeds)["joints"][0], expected, atol=2e-5)


def test_betas_beyond_the_limit_are_clamped(model: bytes, arrays: BodyArrays) -> None:
    feeds = inputs_of(1)
    limited = infer(model, feeds | {"betas": np.full((1, 10), arrays.beta_limit, np.float32)})
    beyond = infer(model, feeds | {"betas": np.full((1, 10), 9, np.float32)})
    for name in BODY_OUTPUTS:
        np.testing.assert_array_equal(limited[name], beyond[name])


def test_rounded_factors_would_be_off_by_millimetres(model: bytes) -> None:
    """Why its engine is built without TensorFloat-32, which keeps as many bits of a product's factors as float16."""
    feeds = inputs_of(8)
    exact, rounded = infer(model, feeds), infer(to_fp16(fold_constants(model)).twin.SerializeToString(), feeds)
    gap = np.linalg.norm(exact["vertices"] - rounded["vertices"], axis=-1).max() * 1e3
    assert 1 < gap < 5


def test_nothing_in_the_graph_asks_for_shapes(model: bytes) -> None:
    graph = onnx.load_from_string(model).graph
    kinds = {node.op_type for node in graph.node}
    assert not kinds & {"Shape", "ConstantOfShape", "Loop", "If", "ScatterND", "Expand", "Tile", "Range"}
    shapes = {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "betas": ["people", 10],
        "rotations": ["people", 24, 3, 3],
        "translation": ["people", 3],
        "vertices": ["people", 1722, 3],
        "joints": ["people", 24, 3],
        "keypoints": ["people", 17, 3],
    }


def test_the_same_body_gives_the_same_bytes(model: bytes, arrays: BodyArrays) -> None:
    """A plan is found by them."""
    assert body_to_onnx(arrays) == model


def test_the_command_writes_a_checked_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "some" / "body.onnx"
    main(Path("body_1722"), path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    printed = capsys.readouterr().out
    assert "mm at most" in printed
    assert "numba" in printed
    with pytest.raises(UserError, match="there is no body"):
        main(Path("nobody.npz"), path)
