"""A network in float16 where that costs no accuracy, with the casts written into its graph.

TensorRT 11 knows strongly typed networks only: a tensor is float16 if the graph casts it. The rule here needs no list of
layers for any network. Convolutions and matrix products are float16: they carry all the work, and accumulate in float32.
Nodes that only move or drop numbers on their way into one are float16 too, as rounding before or after them is the same; and
so is light arithmetic between two of them (sums, activations), whose input was just rounded and whose result will be. All
else stays float32: coordinates, means and variances, inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.precision.graphs import float_tensors, replace

HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_MOVING = frozenset(
    {"Concat", "DepthToSpace", "Gather", "MaxPool", "Neg", "Pad", "Relu", "Reshape", "Slice", "Split", "Squeeze"}
    | {"Transpose", "Unsqueeze"}
)
LIGHT = frozenset(
    {"Add", "AveragePool", "Clip", "GlobalAveragePool", "LeakyRelu", "Mul", "Resize", "Sigmoid", "Sub", "Tanh"}
)
_LARGEST = float(np.finfo(np.float16).max)
_FIRST_INPUT_ONLY = frozenset({"Resize"})  # its scales are float32 by definition


@dataclass(frozen=True, slots=True)
class Fp16Graphs:
    """A network in float16, twice."""

    model: onnx.ModelProto
    """The float16 graph, for a GPU."""
    twin: onnx.ModelProto
    """float32 throughout; it rounds every number where ``model`` does, so that a CPU, whose runtimes compute float16
    graphs in float32, shows the effect of the GPU's rounding."""
    nodes: tuple[str, ...]
    """Names of the nodes in float16."""


def to_fp16(model: onnx.ModelProto, keep: Collection[str] = ()) -> Fp16Graphs:
    """Convert a `engines.precision.graphs.fold_constants` float32 model.

    Inputs and outputs stay float32, as does a node whose weights float16 cannot hold, and the nodes named in ``keep``.
    """
    chosen = _choose(model, set(keep))
    names = tuple(model.graph.node[place].name or f"node {place}" for place in sorted(chosen))
    return Fp16Graphs(_rewrite(model, chosen, simulate=False), _rewrite(model, chosen, simulate=True), names)


def _choose(model: onnx.ModelProto, keep: set[str]) -> set[int]:
    """Places of the nodes that become float16."""
    graph, floats = model.graph, float_tensors(model)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    held = {name for name, tensor in weights.items() if name in floats and _holds(tensor)}
    makers = {output: place for place, node in enumerate(graph.node) for output in node.output}
    readers: dict[str, list[int]] = {}
    for place, node in enumerate(graph.node):
        for name in node.input:
            readers.setdefault(name, []).append(place)

    def wanted(node: onnx.NodeProto) -> bool:
        if (
            node.name in keep
            or node.op_type not in HEAVY | _MOVING | LIGHT
            or not all(name in floats for name in node.output if name)
        ):
            return False
        return all(name in held for name in node.input if name in weights and name in floats)

    chosen = {place for place, node in enumerate(graph.node) if wanted(node)}
    outward = {value.name for value in graph.output}
    # The greatest set that the rule allows: take away until nothing changes.
    while True:
        leave = set()
        for place in chosen:
            node = graph.node[place]
            if node.op_type in HEAVY:
                continue
            from_fp16 = node.op_type in _MOVING or all(
                makers.get(name) in chosen for name in _inputs(node) if name in floats and name not in weights
            )
            to_fp16 = all(
                name not in outward and all(reader in chosen for reader in readers.get(name, ()))
                for name in node.output
            )
            if not (from_fp16 and to_fp16):
                leave.add(place)
        if not leave:
            return chosen
        chosen -= leave


def _inputs(node: onnx.NodeProto) -> list[str]:
    """The inputs of a node that take its type."""
    return list(node.input[:1] if node.op_type in _FIRST_INPUT_ONLY else node.input)


def _holds(tensor: TensorProto) -> bool:
    values = numpy_helper.to_array(tensor)
    return bool(np.isfinite(values).all() and np.abs(values, dtype=np.float64).max(initial=0) <= _LARGEST)


def _rewrite(model: onnx.ModelProto, chosen: set[int], simulate: bool) -> onnx.ModelProto:
    """The model with ``chosen`` nodes in float16; to ``simulate`` is to stay float32 and round to float16 and back."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph, floats = result.graph, float_tensors(model)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    narrowed: dict[str, TensorProto] = {}
    nodes: list[onnx.NodeProto] = []
    cast: set[str] = set()

    def rounded(source: str, target: str) -> None:
        if simulate:
            nodes.append(_cast(source, f"{target}.narrow", TensorProto.FLOAT16))
            nodes.append(_cast(f"{target}.narrow", target, TensorProto.FLOAT))
        else:
            nodes.append(_cast(source, target, TensorProto.FLOAT16))

    def as_fp16(name: str) -> str:
        target = f"{name}.fp16"
        if name in weights:
            values = numpy_helper.to_array(weights[name]).astype(np.float16)
            narrowed[target] = numpy_helper.from_array(values.astype(np.float32) if simulate else values, target)
        elif name not in cast:
            cast.add(name)
            rounded(name, target)
        return target

    wide = {name for place, node in enumerate(graph.node) if place not in chosen for name in node.input}
    wide |= {value.name for value in graph.output}
    for place, node in enumerate(graph.node):
        if place not in chosen:
            nodes.append(node)
            continue
        typed = set(_inputs(node)) & floats
        node.input[:] = [as_fp16(name) if name in typed else name for name in node.input]
        outputs = list(node.output)
        node.output[:] = [f"{name}.raw" if simulate and name else f"{name}.fp16" if name else "" for name in outputs]
        nodes.append(node)
        for name in filter(None, outputs):
            cast.add(name)
            if simulate:
                rounded(f"{name}.raw", f"{name}.fp16")
            if name in wide:
                nodes.append(_cast(f"{name}.fp16", name, TensorProto.FLOAT))
    used = {name for node in nodes for name in node.input}
    replace(graph, nodes, [tensor for name, tensor in {**weights, **narrowed}.items() if name in used])
    return result


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"cast.{target}", to=to)
