"""Checks that a graph uses only operators that the oldest supported TensorRT (8.6) reads.

onnx-tensorrt's table of operators (docs/operators.md) was not available for 8.6, so the list is what its tables of 8.5 and
9.2 have in common, and LayerNormalization, which 8.6 added according to its changelog. The restrictions checked are those
of 8.5, less what 8.6 lifted (TopK). Types are not checked: the table names fewer than
the layers take (a reduction of INT32, for one, NVIDIA's documentation of the layer allows since 8.2). Only the
operators that networks of this kind use are listed.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.conversion.onnx_tools import OnnxError

ALLOWED = frozenset(
    {"Abs", "Add", "And", "ArgMax", "ArgMin", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat"}
    | {"Constant", "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "DepthToSpace", "DequantizeLinear", "Div", "Elu"}
    | {"Equal", "Erf", "Exp", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gemm", "Greater"}
    | {"GlobalAveragePool", "GlobalMaxPool", "GreaterOrEqual", "HardSigmoid", "Identity", "LayerNormalization"}
    | {"LeakyRelu", "Less", "LessOrEqual", "Log", "MatMul", "Max", "MaxPool", "Min", "Mul", "Neg", "Not", "Or", "Pad"}
    | {"Pow", "PRelu", "QuantizeLinear", "Range", "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin"}
    | {"ReduceSum", "Relu", "Reshape", "Resize", "Round", "Shape", "Sigmoid", "Sin", "Slice", "Softmax", "Softplus"}
    | {"Sign", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Tile", "TopK", "Transpose", "Unsqueeze", "Where"}
    | {"Atan"}
)
_RESIZE = {
    "mode": ("nearest", "linear"),
    "coordinate_transformation_mode": (
        "half_pixel",
        "pytorch_half_pixel",
        "tf_half_pixel_for_nn",
        "asymmetric",
        "align_corners",
    ),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
}
_AXES = {"Slice": 3, "Squeeze": 1, "Unsqueeze": 1}
"""Which input of these operators names axes."""
_TYPES = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL})


def check_operators(model: onnx.ModelProto) -> None:
    """Check that TensorRT 8.6 has a layer for every node of a `engines.precision.graphs.fold_constants` ``model``.

    Raises `OnnxError` naming the first node without one.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for place, node in enumerate(model.graph.node):
        problem = _problem(node, weights)
        if problem:
            raise OnnxError(f"node {place} '{node.name}' ({node.op_type}): {problem}")


def _problem(node: onnx.NodeProto, weights: dict[str, TensorProto]) -> str:
    if node.domain not in ("", "ai.onnx"):
        return f"an operator of '{node.domain}', which TensorRT does not have"
    if node.op_type not in ALLOWED:
        return "TensorRT 8.6 has no such operator"
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return _qdq_problem(node, weights)
    if node.op_type == "Resize":
        chosen = ((name, attributes[name].decode()) for name in _RESIZE if name in attributes)
        return next((f"{name} '{mode}' is not supported" for name, mode in chosen if mode not in _RESIZE[name]), "")
    place = _AXES.get(node.op_type, len(node.input))
    if place < len(node.input) and node.input[place] not in weights:
        return "the axes must be a weight"
    if node.op_type == "MaxPool" and len(node.output) > 1:
        return "the indices of a maximum are not supported"
    if node.op_type == "Cast" and attributes["to"] not in _TYPES:
        return f"no cast to {TensorProto.DataType.Name(attributes['to'])}"
    return ""


def _qdq_problem(node: onnx.NodeProto, weights: dict[str, TensorProto]) -> str:
    if len(node.input) < 3:
        return "without a zero point this is UINT8: give an INT8 zero point of 0"
    zero_point = weights.get(node.input[2])
    if node.input[1] not in weights or zero_point is None:
        return "scale and zero point must be weights"
    if zero_point.data_type != TensorProto.INT8:
        return f"the zero point is {TensorProto.DataType.Name(zero_point.data_type)}: only symmetric INT8 is supported"
    return (
        "the zero point is not 0: only symmetric INT8 is supported" if np.any(numpy_helper.to_array(zero_point)) else ""
    )
