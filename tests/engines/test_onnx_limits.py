"""ONNX files that ask for what is not theirs, or for more than there is."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.engine import EngineError
from engines.manifest import shipped_models
from engines.onnx_file import open_onnx
from engines.trial import try_model

_FLOAT = TensorProto.FLOAT
_WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def _model(
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto] | None = None,
    shape: tuple[int, ...] = (2, 3),
    functions: list[onnx.FunctionProto] | None = None,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", _FLOAT, shape)],
        [helper.make_tensor_value_info("y", _FLOAT, None)],
        weights or [],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets, functions=functions or [])


def _external(location: str, **more: str) -> onnx.ModelProto:
    weight = numpy_helper.from_array(_WEIGHT, "w")
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        weight.external_data.add(key=key, value=value)
    return _model([helper.make_node("Add", ["x", "w"], ["y"])], [weight])


def _saved(model: onnx.ModelProto, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "own.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def _refused(path: Path) -> str:
    with pytest.raises(EngineError) as caught:
        open_onnx(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_beside_the_model_are_read(tmp_path: Path) -> None:
    path = _saved(_external("w.bin"), tmp_path)
    path.with_name("w.bin").write_bytes(_WEIGHT.tobytes())
    assert open_onnx(path).inputs == ("x",)
    try_model(path)


@pytest.mark.parametrize("location", ["../secret.bin", "sub/../../secret.bin", "{absolute}", "link.bin", ""])
def test_weights_outside_of_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(_WEIGHT.tobytes())
    path = _saved(_external(location.format(absolute=secret)), tmp_path / "model")
    (path.parent / "sub").mkdir()
    (path.parent / "link.bin").symlink_to(secret)
    assert "outside of its own folder" in _refused(path)


@pytest.mark.parametrize(
    ("held", "more", "why"),
    [
        (23, {}, "does not hold"),
        (24, {"offset": "8"}, "does not hold"),
        (24, {"length": "4"}, "does not hold"),
        (24, {"offset": "-8"}, "does not hold"),
        (24, {"length": "999999999999"}, "does not hold"),
        (24, {"offset": "here"}, "does not say where"),
        (None, {}, "is not there"),
    ],
)
def test_other_files_that_do_not_hold_the_weights(
    tmp_path: Path, held: int | None, more: dict[str, str], why: str
) -> None:
    path = _saved(_external("w.bin", **more), tmp_path)
    if held is not None:
        path.with_name("w.bin").write_bytes(bytes(held))
    assert why in _refused(path)


def test_contents_without_a_folder_have_no_other_files() -> None:
    with pytest.raises(EngineError, match="without a folder"):
        open_onnx(_external("w.bin").SerializeToString())


def _huge_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [1 << 20, 1 << 20]


def _huge_weight_without_raw_data(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.float_data.extend([0.0] * 6)
    weight.dims[:] = [1 << 40]


def _negative_weight(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[:] = [-2, -3]


def _huge_input(model: onnx.ModelProto) -> None:
    for dimension in model.graph.input[0].type.tensor_type.shape.dim:
        dimension.dim_value = 1 << 16


def _huge_constant(model: onnx.ModelProto) -> None:
    constant = numpy_helper.from_array(_WEIGHT)
    constant.dims[:] = [1 << 50]
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=constant))


def _huge_sparse(model: onnx.ModelProto) -> None:
    sparse = helper.make_sparse_tensor(
        numpy_helper.from_array(np.ones(1, np.float32), "s"), numpy_helper.from_array(np.zeros(1, np.int64)), [1 << 45]
    )
    model.graph.sparse_initializer.append(sparse)


@pytest.mark.parametrize(
    "spoil",
    [_huge_weight, _huge_weight_without_raw_data, _negative_weight, _huge_input, _huge_constant, _huge_sparse],
)
def test_sizes_that_a_file_does_not_hold_are_refused(spoil: Callable[[onnx.ModelProto], None], tmp_path: Path) -> None:
    model = _model([helper.make_node("Add", ["x", "w"], ["y"])], [numpy_helper.from_array(_WEIGHT, "w")])
    open_onnx(model.SerializeToString())
    spoil(model)
    assert "declares" in _refused(_saved(model, tmp_path))


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
def test_functions_that_call_themselves_are_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    functions = [
        helper.make_function(
            "own",
            name,
            ["x"],
            ["y"],
            [helper.make_node(names[(place + 1) % len(names)], ["x"], ["y"], domain="own")],
            [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)],
        )
        for place, name in enumerate(names)
    ]
    model = _model([helper.make_node("a", ["x"], ["y"], domain="own")], functions=functions)
    assert "calls itself" in _refused(_saved(model, tmp_path))


def test_graphs_that_are_nested_without_end_are_refused(tmp_path: Path) -> None:
    graph = helper.make_graph([], "inner", [], [helper.make_tensor_value_info("x", _FLOAT, None)])
    for _ in range(20):
        node = helper.make_node("If", ["b"], ["y"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("y", _FLOAT, None)])
        graph.node[0].attribute[1].ClearField("g")  # twice as large with each level otherwise
    model = _model(list(graph.node))
    assert "nests graphs" in _refused(_saved(model, tmp_path))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(3 << 30)
    assert "too large" in _refused(path)
    assert "no file" in _refused(tmp_path)


def _constant(name: str, values: list[int]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def _computed_shape() -> onnx.ModelProto:
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["huge"]),
        helper.make_node("ReduceSum", ["huge"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return _model(nodes, [_constant("shape", [1 << 20, 1 << 14])])


def _tiles_of_tiles() -> onnx.ModelProto:
    nodes = [helper.make_node("Tile", ["x" if k == 0 else f"t{k}", "many"], [f"t{k + 1}"]) for k in range(4)]
    nodes.append(helper.make_node("Identity", ["t4"], ["y"]))
    return _model(nodes, [_constant("many", [300, 300])])


def _endless_loop() -> onnx.ModelProto:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Sin", ["v"], ["v2"])],
        "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("v", _FLOAT, None)],
        [value("c2", TensorProto.BOOL, []), value("v2", _FLOAT, None)],
    )
    nodes = [helper.make_node("Loop", ["most", "yes", "x"], ["y"], body=body)]
    yes = numpy_helper.from_array(np.array(True), "yes")
    return _model(nodes, [numpy_helper.from_array(np.array(1 << 62, np.int64), "most"), yes])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is bounded on Linux only")
@pytest.mark.parametrize("make", [_computed_shape, _tiles_of_tiles])
def test_sizes_that_are_computed_are_bounded(make: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    with pytest.raises(EngineError, match=r"own\.onnx needs more than 2 GB of memory|more than 4294967296 bytes"):
        try_model(_saved(make(), tmp_path), "onnxruntime", max_bytes=2 << 30)
    assert max(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before, 0) < 3 << 20  # KB


def test_a_loop_without_end_is_left(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"own\.onnx does not answer within 8 s"):
        try_model(_saved(_endless_loop(), tmp_path), "onnxruntime", longest_s=8)
    assert time.monotonic() - began < 60


def test_what_the_runtime_says_is_passed_on(tmp_path: Path) -> None:
    path = _saved(_model([helper.make_node("NoSuchOperator", ["x"], ["y"])]), tmp_path)
    with pytest.raises(EngineError, match="NoSuchOperator") as caught:
        try_model(path, "onnxruntime")
    assert "\n" not in str(caught.value)


def test_shipped_models_keep_the_limits() -> None:
    for file in shipped_models().values():
        open_onnx(file.read(), file.name)
