"""Lower precision keeps what a network computes, says so in its graph, and is shown by its twin as a GPU would round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from body.model import load_body
from common.arrays import AnyFloatArray, FloatArray
from engines.choices import PRECISIONS
from engines.engine import Engine, TensorSpec
from engines.manifest import resolve, shipped_models
from engines.ort import OnnxRuntimeEngine
from engines.precision.fp16 import HEAVY, to_fp16
from engines.precision.graphs import fold_constants, shapes
from engines.registry import open_engine
from export.checks.precision_report import pipeline_table
from export.conversion.int8_qdq import int8_candidates, to_int8
from export.conversion.network import PipelineNetwork
from export.conversion.onnx_tools import OnnxError, check
from export.conversion.operators import check_operators
from export.conversion.precision import MIN_IN_INT8, arithmetic_share, compare_models, convert, distinct
from export.networks import CLIP, load_networks, record_samples, run_pipeline
from realtime.options import Options
from tests.conftest import Remarks

Feeds = dict[str, FloatArray]


def small_network() -> onnx.ModelProto:
    """Four convolutions with a skip connection, a mean that must not be rounded, and an answer in large numbers."""
    rng = np.random.default_rng(1)

    def weight(*shape: int) -> FloatArray:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    values = {
        "w0": weight(8, 3, 3, 3), "w1": weight(8, 8, 3, 3), "w2": weight(8, 8, 1, 1), "w3": weight(4, 8, 1, 1),
        "far": np.array(3000.25, np.float32),
    }  # fmt: skip
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w0"], ["a"], "first", pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"], "relu"),
        node("Conv", ["b", "w1"], ["c"], "second", pads=[1, 1, 1, 1]),
        node("Add", ["b", "c"], ["d"], "skip"),
        node("Conv", ["d", "w2"], ["e"], "third"),
        node("ReduceMean", ["e"], ["m"], "mean", axes=[2, 3], keepdims=1),
        node("Sub", ["e", "m"], ["f"], "centre"),
        node("Conv", ["f", "w3"], ["g"], "last"),
        node("Add", ["g", "far"], ["y"], "move"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 12, 12])],
        [numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def sample(seed: int = 0) -> Feeds:
    return {"x": np.random.default_rng(seed).normal(size=(1, 3, 12, 12)).astype(np.float32)}


def infer(model: onnx.ModelProto, feeds: Feeds) -> FloatArray:
    with OnnxRuntimeEngine(model.SerializeToString()) as engine:
        answer: FloatArray = engine.infer(feeds)["y"]
        return answer


def types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    return {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}


def test_work_is_halved_and_what_is_delicate_is_not() -> None:
    lower = to_fp16(small_network())
    for model in (lower.model, lower.twin):
        check(model)
        check_operators(model)
    assert set(lower.nodes) == {"first", "relu", "second", "skip", "third", "last"}
    found = types(lower.model)
    assert {name: found[name] for name in ("a.fp16", "d.fp16", "e.fp16")} == dict.fromkeys(
        ("a.fp16", "d.fp16", "e.fp16"), TensorProto.FLOAT16
    )
    assert {found[name] for name in ("e", "m", "f", "g")} == {TensorProto.FLOAT}
    assert {tensor.data_type for tensor in lower.twin.graph.initializer} == {TensorProto.FLOAT}
    assert [value.type for value in lower.model.graph.output] == [value.type for value in small_network().graph.output]


def test_the_twin_rounds_where_the_graph_does() -> None:
    """By hand: every tensor of the float16 part is rounded once, sums run in float32."""
    feeds = sample()
    lower = to_fp16(small_network())
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in small_network().graph.initializer}

    def rounded(x: AnyFloatArray) -> FloatArray:
        return x.astype(np.float16).astype(np.float32)

    def conv(x: FloatArray, weight: FloatArray) -> FloatArray:
        reach = weight.shape[-1] // 2
        padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, weight.shape[2:], (2, 3))
        return rounded(np.einsum("ncyxij,ocij->noyx", windows, rounded(weight), dtype=np.float64))

    b = np.maximum(conv(rounded(feeds["x"]), weights["w0"]), 0)
    e = conv(rounded(b + conv(b, weights["w1"])), weights["w2"])
    f = e - e.mean((2, 3), keepdims=True)
    expected = conv(rounded(f), weights["w3"]) + weights["far"]
    found = infer(lower.twin, feeds)
    # Where float32 and float64 sums fall on both sides of a rounding edge, one number of the chain moves by one step.
    assert (np.abs(found - expected) < 1e-3).mean() > 0.99
    assert np.abs(found - expected).max() < 5e-3
    exact = infer(small_network(), feeds)
    assert np.abs(found - exact).max() > 1e-4, "nothing was rounded"
    assert np.abs(found - exact).max() < 2e-2


def test_what_float16_does_not_hold_stays() -> None:
    model = small_network()
    big = numpy_helper.to_array(model.graph.initializer[1]) * np.float32(1e6)
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(big, "w1"))
    assert "second" not in to_fp16(model).nodes
    # Its answer is beyond float16, too, and the next node reads it: that shows on samples alone.
    with pytest.raises(OnnxError, match=r"'y' overflows in float16"):
        convert(PipelineNetwork("mine", "flow", model.SerializeToString()), "fp16", [sample()])


def test_int8_takes_the_middle_and_says_so() -> None:
    model = small_network()
    int8 = to_int8(model, [sample(seed) for seed in range(4)])
    assert int8.nodes == ("second", "third")
    for each in (int8.model, int8.twin):
        check(each)
        check_operators(each)
    kinds = [node.op_type for node in int8.model.graph.node]
    assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear") == 4
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in int8.twin.graph.node}
    exact, found = infer(model, sample(9)), infer(int8.twin, sample(9))
    spread = np.std(exact)
    assert 1e-4 * spread < np.abs(found - exact).mean() < 0.05 * spread
    # The graph itself: this runtime, told nothing else, may fold the pair of nodes into integer kernels.
    np.testing.assert_allclose(infer(int8.model, sample(9)), found, atol=0.1 * spread)


def test_int8_needs_samples() -> None:
    with pytest.raises(ValueError, match="samples"):
        to_int8(small_network(), [])


def standing_person(state: int) -> Feeds:
    """What a regressor without flow is told of somebody in the default body's rest pose, seen for the first time."""
    arrays = load_body()
    coco = (arrays.coco_regressor @ arrays.v_template) * [1, -1, -1] + [0, 0, 3]
    return {
        "points": (coco[None, :, :2] / coco[None, :, 2:] * 600 + [320, 240]).astype(np.float32),
        "confidence": np.full((1, len(coco)), 0.8, np.float32),
        "camera": np.array([[600, 600, 320, 240]], np.float32),
        "dt": np.full(1, 1 / 30, np.float32),
        "state": np.zeros((1, state), np.float32),
    }


@pytest.mark.parametrize("name", ["movenet-lightning", "keypoints"])
def test_shipped_networks_keep_their_interface_and_their_answers(name: str) -> None:
    file = resolve(name)
    network = PipelineNetwork(name, file.kind, file.read())
    rng = np.random.default_rng(3)
    with OnnxRuntimeEngine(network.data) as engine:
        feeds = {
            spec.name: (rng.random([abs(size) for size in spec.shape]) * 100 + 1).astype(spec.dtype)
            for spec in engine.inputs
        }
        interface = (engine.inputs, engine.outputs)
    if file.kind == "regressor":  # points that are nobody have no answer to keep
        feeds |= standing_person(len(feeds["state"][0]))
    lower = convert(network, "fp16", [feeds])
    with OnnxRuntimeEngine(lower.data) as engine:
        assert (engine.inputs, engine.outputs) == interface
    for gap in compare_models(network.data, lower.twin, [feeds]):
        assert gap.mean <= 0.02 * max(gap.size, 1e-3), gap
    assert len(lower.data) < 1.2 * len(network.data)


def float32_products(model: onnx.ModelProto) -> set[str]:
    """Names of convolutions and matrix products that compute in float32: neither of float16 nor behind a Q/DQ pair."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.input)}
    kinds |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    makers = {name: node for node in inferred.node for name in node.output}

    def is_int8(name: str) -> bool:
        return name in makers and makers[name].op_type == "DequantizeLinear"

    return {
        node.name
        for node in inferred.node
        if node.op_type in HEAVY
        and not all(kinds[name] == TensorProto.FLOAT16 for name in node.input)
        and not all(is_int8(name) for name in node.input[:2])
    }


@pytest.mark.parametrize(("name", "kept"), [("movenet-lightning", set()), ("movenet-multipose", set())])
def test_an_int8_graph_has_no_float32_product_but_named_ones(name: str, kept: set[str]) -> None:
    file = resolve(name)
    network = PipelineNetwork(name, file.kind, file.read())
    with OnnxRuntimeEngine(network.data) as engine:
        rng = np.random.default_rng(0)
        feeds = {
            spec.name: (rng.random([abs(n) for n in spec.shape]) * 255).astype(spec.dtype) for spec in engine.inputs
        }
    converted = convert(network, "int8", [feeds])
    graph = onnx.load_from_string(converted.data)
    assert float32_products(graph) == kept
    quantised = [node for node in graph.graph.node if node.op_type == "QuantizeLinear"]
    assert len(quantised) > 40
    assert "convolutions (8" in converted.remark, "most of the arithmetic is in int8"
    for gap in compare_models(network.data, converted.twin, [feeds]):
        assert np.isfinite(gap.most)


@pytest.mark.parametrize("name", shipped_models())
def test_a_float16_graph_has_no_float32_product(name: str) -> None:
    graph = to_fp16(fold_constants(resolve(name).read())).model
    assert float32_products(graph) == set()


def test_where_int8_cannot_win_fp16_is_taken_and_that_is_said(remarks: Remarks) -> None:
    file = resolve("raft-small")
    model = fold_constants(file.read())
    assert 0 < arithmetic_share(model, int8_candidates(model)) < MIN_IN_INT8
    file = resolve("keypoints")
    network = PipelineNetwork("keypoints", file.kind, file.read())
    feeds = standing_person(next(spec.shape[1] for spec in specs(network) if spec.name == "state"))
    assert convert(network, "int8", [feeds]).data == convert(network, "fp16", [feeds]).data
    assert remarks.warnings == ["keypoints: int8 would hold 0% of the arithmetic and win nothing; fp16 is taken"]


def specs(network: PipelineNetwork) -> tuple[TensorSpec, ...]:
    with OnnxRuntimeEngine(network.data) as engine:
        return engine.inputs


@pytest.mark.parametrize("kind", ["body", "regressor", "keypoints"])
def test_precisions_that_are_no_different_are_known(kind: str) -> None:
    """A regressor has no convolution in the middle; a body stays as it is."""
    model = resolve("keypoints" if kind == "regressor" else "movenet-lightning")
    network = PipelineNetwork("some", kind, model.read())
    with OnnxRuntimeEngine(network.data) as engine:
        feeds = {spec.name: np.ones([abs(size) for size in spec.shape], spec.dtype) for spec in engine.inputs}
    graphs = {convert(network, precision, [feeds]).data for precision in PRECISIONS}
    assert len(graphs) == len(distinct(network))


def one_node(kind: str, inputs: list[str], domain: str = "", **attributes: object) -> onnx.ModelProto:
    values = {
        "scale": np.array(0.1, np.float32), "zero": np.array(3, np.uint8), "shifted": np.array(3, np.int8),
        "sizes": np.array([1, 1, 8, 8], np.int64), "scales": np.array([1, 1, 2, 2], np.float32),
    }  # fmt: skip
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, ["y"], "culprit", domain=domain, **attributes)],
        "bad",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in values.items() if name in inputs],
    )
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


REFUSED = [
    (one_node("Det", ["x"]), "has no such operator"),
    (one_node("Mine", ["x"], "my.domain"), "an operator of 'my.domain'"),
    (one_node("QuantizeLinear", ["x", "scale", "zero"]), "the zero point is UINT8"),
    (one_node("QuantizeLinear", ["x", "scale", "shifted"]), "the zero point is not 0"),
    (one_node("QuantizeLinear", ["x", "scale"]), "this is UINT8"),
    (one_node("Resize", ["x", "", "scales"], mode="cubic"), "mode 'cubic'"),
    (
        one_node("Resize", ["x", "", "scales"], mode="linear", coordinate_transformation_mode="tf_crop_and_resize"),
        "coordinate_transformation_mode 'tf_crop_and_resize'",
    ),
    (one_node("Squeeze", ["x", "computed"]), "the axes must be a weight"),
    (one_node("Cast", ["x"], to=TensorProto.DOUBLE), "no cast to DOUBLE"),
]


@pytest.mark.parametrize(("model", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_graphs_that_the_oldest_tensorrt_refuses_are_refused_by_name(model: onnx.ModelProto, says: str) -> None:
    with pytest.raises(OnnxError, match=r"node 0 'culprit'") as caught:
        check_operators(model)
    assert says in str(caught.value)


def test_folded_weights_and_shapes() -> None:
    data = resolve("movenet-lightning").read()
    model = fold_constants(data)
    weights = {tensor.name for tensor in model.graph.initializer}
    assert not any(node.op_type == "Constant" for node in model.graph.node)
    assert all(node.input[1] in weights for node in model.graph.node if node.op_type == "Conv")
    known = shapes(model)
    assert known["Identity:0"] == (1, 1, 17, 3)
    assert all(name in known for node in model.graph.node for name in node.output if name)


def test_a_regressor_of_ones_own_is_measured_too(tmp_path: Path) -> None:
    file = tmp_path / "mine.onnx"
    file.write_bytes(resolve("keypoints").read())
    networks = load_networks([str(file)])
    samples = record_samples(networks, CLIP, 4)["mine"]
    assert len(samples) == 4
    assert samples[0]["points"].shape == (1, 17, 2)
    lower = convert(networks["mine"], "fp16", samples)

    def opener(model: str) -> Engine:
        return OnnxRuntimeEngine(lower.twin if model == str(file) else resolve(model).read())

    options = Options(source=str(CLIP), regressor=str(file), frames=6)
    whole = run_pipeline(options, lambda model: open_engine(model, "onnxruntime"))
    lower = run_pipeline(options, opener)
    (row,) = pipeline_table(whole, {"fp16": lower})[2:]
    name, frames, keypoints, joints, _ = (cell.strip() for cell in row.strip("|").split("|"))
    assert (name, frames, keypoints) == ("fp16", "6 of 6", "0.00 / 0.00")  # only the regressor was rounded
    assert 0 < float(joints.split(" / ")[0]) < 5
