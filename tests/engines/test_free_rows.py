"""A graph for one row that takes several gives each row what the graph for one gives."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.engine import EngineError
from engines.free_rows import with_free_rows
from engines.manifest import resolve
from engines.ort import OnnxRuntimeEngine
from tests.engines.conftest import linear_model

CLIP = Path(__file__).resolve().parents[2] / "assets" / "synthetic_walk.mp4"


def crops(size: int) -> np.ndarray:
    """Four frames of a person who walks, two unlike parts of them, and noise: uint8 (7, size, size, 3)."""
    video = cv2.VideoCapture(str(CLIP))
    frames = [np.asarray(video.read()[1]) for _ in range(16)][::4]
    parts = [frame[:, 80:560] for frame in frames] + [frames[0][100:400, 200:500], frames[2][:300, :300]]
    noise = np.random.default_rng(0).integers(0, 255, (size, size, 3), np.uint8)
    return np.stack([*(np.asarray(cv2.resize(part, (size, size)), np.uint8) for part in parts), noise])


@pytest.mark.parametrize(("model", "size"), [("movenet-lightning", 192), ("movenet-thunder", 256)])
def test_a_keypoint_network_answers_each_crop_as_if_it_were_alone(model: str, size: int) -> None:
    data, images = resolve(model).read(), crops(size)
    with OnnxRuntimeEngine(data) as one, OnnxRuntimeEngine(with_free_rows(data)) as many:
        assert many.inputs[0].shape == (-1, size, size, 3)
        assert (one.max_rows, many.max_rows >= 6) == (1, True)
        expected = np.concatenate([one.infer({"input:0": image[None]})["Identity:0"] for image in images])
        for count in (7, 1, 2):
            found = many.infer({"input:0": images[:count]})["Identity:0"]
            np.testing.assert_allclose(found, expected[:count], atol=1e-5)
    assert expected[:, 0, :, 2].mean(1)[:4].min() > 0.15, "somebody is seen"


def small(*nodes: onnx.NodeProto, out: list[int]) -> bytes:
    """x (1, 3, 4) to y of shape ``out``, with the weights that the nodes below read."""
    weights = {
        "two": np.array([2], np.int64),
        "shape": np.array([0, 2, -1], np.int64),
        "row": np.arange(4, dtype=np.float32)[None],
        "zero": np.array([0], np.int64),
        "cell": np.array([[0, 1], [0, 2]], np.int64),
    }
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


GRAPHS = {
    "a weight beside every row": small(helper.make_node("Concat", ["x", "rows"], ["y"], axis=1), out=[1, 4, 4]),
    "axes that move": small(
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("Squeeze", ["t", "one"], ["s"]),
        helper.make_node("Unsqueeze", ["s", "zero"], ["y"]),
        out=[1, 3, 4],
    ),
    "a lookup with a constant place": small(helper.make_node("GatherND", ["x", "cell"], ["y"]), out=[2, 4]),
    "unlike ranks": small(
        helper.make_node("Squeeze", ["x", "zero"], ["s"]), helper.make_node("Mul", ["s", "x"], ["y"]), out=[1, 3, 4]
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_operators_that_mix_axes_keep_rows_apart(name: str) -> None:
    model = onnx.load_from_string(GRAPHS[name])
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.arange(4, dtype=np.float32).reshape(1, 1, 4), "rows"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
        ]
    )
    if name.startswith("a lookup"):  # its answer has no axis of one to be freed
        model.graph.node.append(helper.make_node("Unsqueeze", ["y", "zero"], ["z"]))
        del model.graph.output[:]
        model.graph.output.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 2, 4]))
    data = model.SerializeToString()
    x = np.random.default_rng(1).normal(size=(5, 3, 4)).astype(np.float32)
    with OnnxRuntimeEngine(data) as one, OnnxRuntimeEngine(with_free_rows(data)) as many:
        (answer,) = (spec.name for spec in one.outputs)
        expected = np.concatenate([one.infer({"x": row[None]})[answer] for row in x])
        np.testing.assert_allclose(many.infer({"x": x})[answer], expected, rtol=1e-6)


def test_what_is_free_already_is_left_alone() -> None:
    data = linear_model("n")
    assert with_free_rows(data) is data


def test_what_cannot_be_made_to_take_rows_is_said() -> None:
    with pytest.raises(EngineError, match="only a graph for one row"):
        with_free_rows(linear_model(2))
    with pytest.raises(EngineError, match=r"\(MatMul\) is not known to take several rows"):
        with_free_rows(linear_model(1))
    with pytest.raises(EngineError, match="is not known to take several rows"):
        with_free_rows(resolve("movenet-multipose").read())
    with pytest.raises(EngineError, match="cannot be made to take several rows"):
        with_free_rows(b"no graph")
