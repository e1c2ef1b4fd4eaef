"""Storing weights in float16 changes no result, and the check refuses what a board could not run."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from common.arrays import FloatArray
from engines.ort import OnnxRuntimeEngine
from export.conversion.onnx_tools import OnnxError, check, drop_unused_domains, normalise, store_fp16


def network(weight: FloatArray, opset: int = 17) -> onnx.ModelProto:
    """A 3x3 convolution with ``weight`` (16, 8, 3, 3) and a small bias that float16 does not hold."""
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w", "b"], ["y"])],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8, 12, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 10, 10])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.full(16, 0.1, np.float32), "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def half_weights() -> FloatArray:
    weight = np.random.default_rng(3).normal(size=(16, 8, 3, 3)).astype(np.float16).astype(np.float32)
    # The corners of the format: negative zero, the smallest subnormal, the largest number.
    weight.flat[:3] = (-0.0, 2.0**-24, 65504.0)
    return weight


def run(model: onnx.ModelProto) -> FloatArray:
    x = np.random.default_rng(4).normal(size=(1, 8, 12, 12)).astype(np.float32)
    with OnnxRuntimeEngine(model.SerializeToString()) as engine:
        result: FloatArray = engine.infer({"x": x})["y"]
        return result


def test_half_storage_changes_no_bit_of_the_result() -> None:
    model = network(half_weights())
    before, size = run(model), model.ByteSize()
    report = store_fp16(model, require_all=True)
    check(model)
    assert report.stored == ("w",)
    assert report.kept == ()
    assert model.ByteSize() < size - 16 * 8 * 9 * 2 + 200
    assert np.array_equal(run(model).view(np.uint32), before.view(np.uint32))


@pytest.mark.parametrize("odd", [np.float32(1 + 2**-12), np.float32(1e6), np.float32(1e-9)])
def test_weights_that_float16_does_not_hold_stay(odd: np.float32) -> None:
    weight = half_weights()
    weight.flat[40] = odd
    model = network(weight)
    before = model.SerializeToString()
    with pytest.raises(OnnxError, match="does not hold 1 weights exactly, the first is 'w'"):
        store_fp16(model, require_all=True)
    assert model.SerializeToString() == before
    assert store_fp16(model).kept == ("w",)
    assert model.SerializeToString() == before


def test_storing_twice_is_storing_once() -> None:
    model = network(half_weights())
    store_fp16(model)
    before = model.SerializeToString()
    assert store_fp16(model).stored == ()
    assert model.SerializeToString() == before


def test_check_refuses_new_operator_sets_and_custom_operators() -> None:
    check(network(half_weights()))
    with pytest.raises(OnnxError, match="operator set 18, newer than 17"):
        check(network(half_weights(), opset=18))
    model = network(half_weights())
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    with pytest.raises(OnnxError, match=r"operators of 'ai.onnx.ml'"):
        check(model)
    drop_unused_domains(model)
    check(model)


def test_check_refuses_a_broken_graph() -> None:
    model = network(half_weights())
    model.graph.node[0].input[0] = "nowhere"
    with pytest.raises(OnnxError, match="the model is not valid"):
        check(model)


def branches(order: tuple[int, ...], names: tuple[str, str, str], weights: tuple[str, str]) -> onnx.ModelProto:
    """``y = relu(x * a) + sigmoid(x * b)``, with its nodes, tensors and weights in any order and of any name."""
    left, right, dead = names
    a, b = weights
    nodes = [
        helper.make_node("Mul", ["x", a], [left], name=left),
        helper.make_node("Mul", ["x", b], [right], name=right),
        helper.make_node("Relu", [left], [left + "+"]),
        helper.make_node("Sigmoid", [right], [right + "+"]),
        helper.make_node("Neg", ["x"], [dead]),
        helper.make_node("Add", [left + "+", right + "+"], ["y"]),
    ]
    values = {a: np.full(3, 2, np.float32), b: np.full(3, -1, np.float32), "dead": np.zeros(3, np.float32)}
    graph = helper.make_graph(
        [nodes[place] for place in order],
        "branches",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])],
        [numpy_helper.from_array(values[name], name) for name in sorted(values)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def test_normalised_models_differ_in_nothing_but_the_graph() -> None:
    x = np.array([-1, 0.5, 2], np.float32)
    one = branches((0, 1, 2, 3, 4, 5), ("p", "q", "r"), ("a", "b"))
    two = branches((4, 1, 3, 0, 2, 5), ("z", "m", "c"), ("w9", "w1"))
    for model in (one, two):
        normalise(model)
        check(model)
        assert len(model.graph.node) == 5
        assert len(model.graph.initializer) == 2
    assert one.SerializeToString() == two.SerializeToString()
    with OnnxRuntimeEngine(one.SerializeToString()) as engine:
        expected = np.maximum(2 * x, 0) + 1 / (1 + np.exp(x))
        np.testing.assert_allclose(engine.infer({"x": x})["y"], expected, rtol=1e-6)
    before = one.SerializeToString()
    normalise(one)
    assert one.SerializeToString() == before
