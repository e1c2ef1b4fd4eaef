"""Reading TensorFlow.js models, as far as it needs no TensorFlow."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from export.pretrained.tfjs import TfjsError, read_tfjs_weights, unfuse


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def fused(op: str, *steps: str) -> dict[str, Any]:
    return {
        "name": "net/conv",
        "op": op,
        "input": ["image", "weights", *(["bias"] if "BiasAdd" in steps else [])],
        "attr": {
            "T": {"type": "DT_FLOAT"},
            "padding": {"s": encoded("SAME")},
            "strides": {"list": {"i": ["1", "1", "1", "1"]}},
            "fused_ops": {"list": {"s": [encoded(step) for step in steps]}},
            "num_args": {"i": "1"},
        },
    }


def test_weights_come_back_in_order_shape_and_full_precision() -> None:
    half = np.array([[0.5, -1.25], [3, 65504]], np.float16)
    whole = np.array([7, -9], np.int32)
    scalar = np.float32(0.1)
    manifest: list[dict[str, Any]] = [
        {
            "weights": [
                {"name": "a", "shape": [2, 2], "dtype": "float32", "quantization": {"dtype": "float16"}},
                {"name": "b", "shape": [2], "dtype": "int32"},
            ]
        },
        {"weights": [{"name": "c", "shape": [], "dtype": "float32"}]},
    ]
    data = half.tobytes() + whole.tobytes() + scalar.tobytes()
    weights = read_tfjs_weights(manifest, data)
    assert weights["a"].dtype == np.float32
    np.testing.assert_array_equal(weights["a"], half)
    np.testing.assert_array_equal(weights["b"], whole)
    assert weights["c"].shape == ()
    assert weights["c"] == scalar
    with pytest.raises(TfjsError, match="cut"):
        read_tfjs_weights(manifest, data[:-1])
    with pytest.raises(TfjsError, match="1 bytes of the weights belong to nothing"):
        read_tfjs_weights(manifest, data + b"\0")


def test_other_quantisation_is_refused() -> None:
    manifest: list[dict[str, Any]] = [
        {"weights": [{"name": "a", "shape": [2], "dtype": "float32", "quantization": {"dtype": "uint8"}}]}
    ]
    with pytest.raises(TfjsError, match="quantised to uint8"):
        read_tfjs_weights(manifest, b"\0\0")


@pytest.mark.parametrize(
    ("op", "plain"), [("_FusedConv2D", "Conv2D"), ("FusedDepthwiseConv2dNative", "DepthwiseConv2dNative")]
)
def test_fused_convolution_becomes_a_chain_that_ends_in_its_name(op: str, plain: str) -> None:
    other = {"name": "image", "op": "Placeholder", "attr": {}}
    image, convolution, bias, relu = unfuse([other, fused(op, "BiasAdd", "Relu6")])
    assert image is other
    assert [convolution["op"], bias["op"], relu["op"]] == [plain, "BiasAdd", "Relu6"]
    assert convolution["input"] == ["image", "weights"]
    assert bias["input"] == [convolution["name"], "bias"]
    assert relu["input"] == [bias["name"]]
    assert relu["name"] == "net/conv"
    assert set(convolution["attr"]) == {"T", "padding", "strides"}


def test_bias_alone_and_unknown_fusions() -> None:
    assert [node["name"] for node in unfuse([fused("_FusedConv2D", "BiasAdd")])] == ["net/conv/0", "net/conv"]
    with pytest.raises(TfjsError, match="node 'net/conv' fuses 'Prelu'"):
        unfuse([fused("_FusedConv2D", "BiasAdd", "Prelu")])
