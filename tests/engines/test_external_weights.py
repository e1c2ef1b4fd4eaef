"""Weights in another file become a model's own, byte for byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.engine import EngineError
from engines.external_weights import with_weights
from engines.manifest import MODELS_FOLDER, shipped_models
from engines.ort import OnnxRuntimeEngine
from engines.protobuf import MalformedError
from export.conversion.onnx_tools import share_weights


def network(side: int) -> onnx.ModelProto:
    """A sum over ``side`` pixels of what a large and a small weight make of them."""
    random = np.random.default_rng(1)
    large = random.normal(size=(3, 500)).astype(np.float32)
    weights = [numpy_helper.from_array(large, "large"), numpy_helper.from_array(np.float32([1.5]), "small")]
    nodes = [
        helper.make_node("MatMul", ["x", "large"], ["m"], "dot"),
        helper.make_node("Add", ["m", "small"], ["a"]),
        helper.make_node("LeakyRelu", ["a"], ["r"], alpha=0.25),
        helper.make_node("ReduceSum", ["r"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", side, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        weights,
    )
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def shared() -> tuple[bytes, bytes, bytes]:
    """A network, one of another size, and the latter with the weights of the former."""
    large, small = network(9).SerializeToString(), network(4)
    whole = small.SerializeToString()
    assert share_weights(small, large, "large.onnx") == 1
    return large, whole, small.SerializeToString()


def test_the_model_is_as_if_the_weights_had_been_its_own() -> None:
    large, whole, small = shared()
    assert len(small) < 1000 < len(whole)
    asked = []

    def read(name: str) -> bytes:
        asked.append(name)
        return large

    assert with_weights(small, read) == whole
    assert asked == ["large.onnx"]
    assert with_weights(whole, read) == whole


def test_runtimes_read_the_files_as_well(tmp_path: Path) -> None:
    large, whole, small = shared()
    (tmp_path / "large.onnx").write_bytes(large)
    (tmp_path / "small.onnx").write_bytes(small)
    feeds = {"x": np.random.default_rng(2).normal(size=(2, 4, 3)).astype(np.float32)}
    with OnnxRuntimeEngine(tmp_path / "small.onnx") as one:
        found = one.infer(feeds)["y"]
    with OnnxRuntimeEngine(whole) as other:
        assert other.infer(feeds)["y"] == found != 0


def test_weights_that_are_not_there_are_noticed() -> None:
    large, _, small = shared()
    with pytest.raises(MalformedError):
        with_weights(small, lambda _: large[:1000])
    model = onnx.load_from_string(small)
    (entry,) = (each for each in model.graph.initializer[0].external_data if each.key == "offset")
    for wrong in ("-5", "soon"):
        entry.value = wrong
        changed = model.SerializeToString()
        with pytest.raises(MalformedError):
            with_weights(changed, lambda _: large)


@pytest.mark.parametrize("harm", ["weights changed", "weights missing", "row missing", "another row"])
def test_a_model_without_its_weights_is_refused_in_one_line(tmp_path: Path, harm: str) -> None:
    row = next(model for model in shipped_models().values() if model.weights)
    shutil.copy(row.path, tmp_path)
    shutil.copy(MODELS_FOLDER / f"{row.weights}.onnx", tmp_path)
    rows = json.loads((MODELS_FOLDER / "manifest.json").read_text())["models"]
    beside = tmp_path / f"{row.weights}.onnx"
    if harm == "weights changed":
        beside.write_bytes(beside.read_bytes()[:-1] + b"?")
    elif harm == "weights missing":
        beside.unlink()
    elif harm == "row missing":
        rows = [each for each in rows if each["name"] != row.weights]
    else:
        next(each for each in rows if each["name"] == row.name)["weights"] = "motion"
    (tmp_path / "manifest.json").write_text(json.dumps({"models": rows}))
    with pytest.raises(EngineError, match=r"(is damaged|is missing).*: restore it with `git checkout") as caught:
        shipped_models(tmp_path / "manifest.json")[row.name].read()
    assert "\n" not in str(caught.value)
