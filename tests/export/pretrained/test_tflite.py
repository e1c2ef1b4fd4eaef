"""Translating TensorFlow Lite graphs, against the arithmetic written out in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.ort import OnnxRuntimeEngine
from export.conversion.onnx_tools import check
from export.pretrained.tflite_graph import Operator, SparseLevel, TfliteError, TfliteGraph, densify
from export.pretrained.tflite_to_onnx import tflite_to_onnx

CONVOLUTION = {"Padding": 0, "StrideH": 2, "StrideW": 2, "DilationHFactor": 1, "DilationWFactor": 1}


def run(graph: TfliteGraph, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """The graph's only output for ``image`` (1, H, W, C), which ONNX gets as (1, C, H, W)."""
    model = tflite_to_onnx(graph, {"in": "image", "out": "result"})
    check(model)
    with OnnxRuntimeEngine(model.SerializeToString()) as engine:
        result: NDArray[np.float32] = engine.infer({"image": image.transpose(0, 3, 1, 2)})["result"]
        return result


def convolve(image: NDArray[np.float32], weight: NDArray[np.float32], depthwise: bool) -> NDArray[np.float32]:
    """TensorFlow's SAME convolution with stride 2 of (1, H, W, C), the odd padding below and right."""
    height, width, size = image.shape[1], image.shape[2], weight.shape[1]
    rows, columns = -(-height // 2), -(-width // 2)
    total = [max((n - 1) * 2 + size - m, 0) for n, m in ((rows, height), (columns, width))]
    padded = np.pad(image[0], [*((t // 2, t - t // 2) for t in total), (0, 0)])
    pattern = "hwc,hwc->c" if depthwise else "hwc,ohwc->o"
    kernel = weight[0] if depthwise else weight
    return np.array(
        [
            [np.einsum(pattern, padded[2 * y : 2 * y + size, 2 * x : 2 * x + size], kernel) for x in range(columns)]
            for y in range(rows)
        ],
        np.float32,
    )[None]


@pytest.mark.parametrize("side", [6, 7])
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(("activation", "bounds"), [(0, (-np.inf, np.inf)), (1, (0, np.inf)), (3, (0, 6))])
def test_convolution(side: int, depthwise: bool, activation: int, bounds: tuple[float, float]) -> None:
    random = np.random.default_rng(side)
    image = random.normal(size=(1, side, side + 1, 4)).astype(np.float32)
    weight = random.normal(size=(1, 3, 3, 4) if depthwise else (5, 3, 3, 4)).astype(np.float16)
    channels = 4 if depthwise else 5
    bias = random.normal(size=channels).astype(np.float32)
    expected = convolve(image, weight.astype(np.float32), depthwise) + bias
    graph = TfliteGraph(
        shapes=(image.shape, weight.shape, weight.shape, bias.shape, expected.shape),
        names=("in", "half", "weight", "bias", "out"),
        constants={1: weight, 3: bias},
        operators=(
            Operator("DEQUANTIZE", (1,), (2,)),
            Operator(
                "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
                (0, 2, 3),
                (4,),
                {**CONVOLUTION, "FusedActivationFunction": activation},
            ),
        ),
        inputs=(0,),
        outputs=(4,),
    )
    np.testing.assert_allclose(run(graph, image).transpose(0, 2, 3, 1), expected.clip(*bounds), atol=1e-5)


def test_pad_add_and_reshape_keep_the_order_of_the_source() -> None:
    image = np.arange(2 * 3 * 2, dtype=np.float32).reshape(1, 2, 3, 2)
    amounts = np.array([[0, 0], [1, 0], [0, 2], [0, 3]], np.int32)
    padded = np.pad(image, amounts)
    graph = TfliteGraph(
        shapes=(image.shape, amounts.shape, padded.shape, padded.shape, (1, padded.size // 5, 5)),
        names=("in", "amounts", "padded", "double", "out"),
        constants={1: amounts},
        operators=(
            Operator("PAD", (0, 1), (2,)),
            Operator("ADD", (2, 2), (3,), {"FusedActivationFunction": 0}),
            Operator("RESHAPE", (3,), (4,)),
        ),
        inputs=(0,),
        outputs=(4,),
    )
    np.testing.assert_array_equal(run(graph, image), (2 * padded).reshape(1, -1, 5))


def test_depth_to_space_and_concatenation_of_images() -> None:
    image = np.arange(2 * 2 * 8, dtype=np.float32).reshape(1, 2, 2, 8)
    blocks = image.reshape(1, 2, 2, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(1, 4, 4, 2)
    graph = TfliteGraph(
        shapes=(image.shape, (1, 4, 4, 2), (1, 4, 4, 4)),
        names=("in", "blocks", "out"),
        constants={},
        operators=(
            Operator("DEPTH_TO_SPACE", (0,), (1,), {"BlockSize": 2}),
            Operator("CONCATENATION", (1, 1), (2,), {"Axis": -1, "FusedActivationFunction": 0}),
        ),
        inputs=(0,),
        outputs=(2,),
    )
    np.testing.assert_array_equal(run(graph, image).transpose(0, 2, 3, 1), np.concatenate([blocks, blocks], -1))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"AlignCorners": 0, "HalfPixelCenters": 1}, [0, 0.25, 0.75, 1.25, 1.75, 2]),
        ({"AlignCorners": 0, "HalfPixelCenters": 0}, [0, 0.5, 1, 1.5, 2, 2]),
        ({"AlignCorners": 1, "HalfPixelCenters": 0}, [0, 0.4, 0.8, 1.2, 1.6, 2]),
    ],
)
def test_resize(options: dict[str, int], expected: list[float]) -> None:
    image = np.arange(3, dtype=np.float32).reshape(1, 1, 3, 1)
    graph = TfliteGraph(
        shapes=(image.shape, (1, 1, 6, 1)),
        names=("in", "out"),
        constants={},
        operators=(Operator("RESIZE_BILINEAR", (0,), (1,), options),),
        inputs=(0,),
        outputs=(1,),
    )
    np.testing.assert_allclose(run(graph, image).ravel(), expected, atol=1e-6)


def test_unknown_operator_is_named() -> None:
    graph = TfliteGraph(((1, 2), (1, 2)), ("in", "out"), {}, (Operator("SOFTMAX", (0,), (1,)),), (0,), (1,))
    with pytest.raises(TfliteError, match="operator SOFTMAX is not supported"):
        tflite_to_onnx(graph, {})


def test_densify_compressed_rows() -> None:
    dense = np.array([[0, 5, 0, 6], [0, 0, 0, 0], [7, 0, 8, 9]], np.float16)
    levels = [
        SparseLevel(size=3),
        SparseLevel(segments=np.array([0, 2, 2, 5]), indices=np.array([1, 3, 0, 2, 3])),
    ]
    found = densify((3, 4), (0, 1), (), levels, np.array([5, 6, 7, 8, 9], np.float16))
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, dense)


def test_densify_blocks() -> None:
    """Blocks of 2 x 2 in a 4 x 4 matrix, as the format's own documentation lays them out."""
    dense = np.array([[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]], np.float32)
    levels = [
        SparseLevel(size=2),
        SparseLevel(segments=np.array([0, 1, 2]), indices=np.array([0, 1])),
        SparseLevel(size=2),
        SparseLevel(size=2),
    ]
    found = densify((4, 4), (0, 1, 2, 3), (0, 1), levels, np.arange(1, 9, dtype=np.float32))
    np.testing.assert_array_equal(found, dense)
