"""Operations on ONNX graphs that the conversions of precision share."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper


def fold_constants(data: bytes) -> onnx.ModelProto:
    """The model with constants and casts of weights folded into weights."""
    model = onnx.load_from_string(data)
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    kept: list[onnx.NodeProto] = []
    for node in graph.node:
        value = _constant(node, weights)
        if value is None:
            kept.append(node)
        else:
            weights[node.output[0]] = numpy_helper.from_array(value, node.output[0])
    used = {name for node in kept for name in node.input} | {value.name for value in graph.output}
    tensors = [tensor for name, tensor in weights.items() if name in used]
    replace(graph, kept, tensors)
    return model


def _constant(node: onnx.NodeProto, weights: dict[str, TensorProto]) -> NDArray[np.generic] | None:
    if node.op_type == "Constant":
        (attribute,) = node.attribute
        value = helper.get_attribute_value(attribute)
        return np.asarray(numpy_helper.to_array(value) if isinstance(value, TensorProto) else value)
    if node.op_type == "Cast" and node.input[0] in weights:
        to = helper.tensor_dtype_to_np_dtype(node.attribute[0].i)
        return numpy_helper.to_array(weights[node.input[0]]).astype(to)
    return None


def replace(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto], weights: Iterable[TensorProto]) -> None:
    """Give ``graph`` other nodes and weights. Shapes and types of inner tensors are forgotten."""
    # Listed and copied before the old ones go, for a removed element takes its memory along.
    new_nodes, new_weights = [_copy(node) for node in nodes], [_copy_tensor(weight) for weight in weights]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(new_nodes)
    graph.initializer.extend(new_weights)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _copy_tensor(tensor: TensorProto) -> TensorProto:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    return copy


def float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of all tensors of type float32, weights included."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    found = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def shapes(model: onnx.ModelProto, batch: int = 1) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors, weights included, with ``batch`` for every free dimension of the inputs.

    Raises ``ValueError`` naming a tensor whose shape cannot be known without running the model.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        for size in value.type.tensor_type.shape.dim:
            if not size.HasField("dim_value"):
                size.dim_value = batch
    for value in copy.graph.output:
        value.type.tensor_type.ClearField("shape")
    del copy.graph.value_info[:]
    graph = onnx.shape_inference.infer_shapes(copy, strict_mode=True, data_prop=True).graph
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(size.HasField("dim_value") for size in sizes):
            found[value.name] = tuple(size.dim_value for size in sizes)
    for node in graph.node:
        for name in node.output:
            if name and name not in found:
                raise ValueError(f"the shape of '{name}', made by {node.op_type} '{node.name}', is not known")
    return found
