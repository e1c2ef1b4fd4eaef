"""A network whose convolutions compute in int8, with symmetric Q/DQ (QuantizeLinear, DequantizeLinear) pairs in its graph.

Weights get one scale a channel, activations one scale a tensor: the largest absolute value that calibration saw, or less
where cutting off the rare outliers costs less than the coarser steps they would force on all other numbers.

Some convolutions are left to float16 (see `export.conversion.precision.convert`), because int8 costs most and gains least
there: depthwise ones (memory limits them), the first and the last ones (at the resolution of image and output), and
recurrent ones, where errors accumulate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from common.arrays import FloatArray
from engines.engine import Arrays
from engines.ort import OnnxRuntimeEngine
from engines.precision.graphs import replace

_LEVELS = 127
_CUTS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
_SAMPLE = 20_000
"""Most numbers of one tensor that one run of the network contributes."""


@dataclass(frozen=True, slots=True)
class Int8Graphs:
    """A network in int8, twice."""

    model: onnx.ModelProto
    """Graph for a GPU."""
    twin: onnx.ModelProto
    """The same rounding in float32 arithmetic: runtimes for CPUs put integer kernels in place of Q/DQ pairs, some of
    which saturate."""
    nodes: tuple[str, ...]
    """Names of the convolutions in int8."""
    rounding: frozenset[str]
    """Names of the nodes that were added to either graph."""


def int8_candidates(model: onnx.ModelProto) -> tuple[str, ...]:
    """Names of the convolutions that `to_int8` puts into int8."""
    return tuple(node.name for node in _choose(model.graph))


def to_int8(model: onnx.ModelProto, samples: Sequence[Arrays]) -> Int8Graphs:
    """Quantise the convolutions of a `engines.precision.graphs.fold_constants` float32 model, with ``samples`` of its
    inputs.

    Inputs and outputs keep their types; a model without such convolutions stays as it is. Raises ``ValueError`` without
    samples.
    """
    if not samples:
        raise ValueError("int8 needs samples of the network's inputs to calibrate with")
    chosen = _choose(model.graph)
    scales = _calibrate(model, {node.input[0] for node in chosen}, samples)
    names = tuple(node.name for node in chosen)
    graph, twin = (_Writer(model, scales, twin).write(set(names)) for twin in (False, True))
    own = {node.name for node in model.graph.node}
    added = frozenset(node.name for each in (graph, twin) for node in each.graph.node if node.name not in own)
    return Int8Graphs(graph, twin, names, added)


def _choose(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The convolutions that become int8."""
    weights = {tensor.name for tensor in graph.initializer}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def feeds(names: Iterable[str]) -> set[str]:
        """Names of the convolutions that ``names`` reach without passing through another one."""
        found, waiting, known = set(), list(names), set(names)
        while waiting:
            for node in readers.get(waiting.pop(), ()):
                if node.op_type == "Conv":
                    found.add(node.name)
                else:
                    waiting += set(node.output) - known
                    known |= set(node.output)
        return found

    first = feeds(value.name for value in graph.input)

    def wanted(node: onnx.NodeProto) -> bool:
        depthwise = any(attribute.name == "group" and attribute.i > 1 for attribute in node.attribute)
        known = node.input[1] in weights and len(readers[node.input[1]]) == 1
        return known and not depthwise and node.name not in first and bool(feeds(node.output))

    return [node for node in graph.node if node.op_type == "Conv" and wanted(node)]


def _calibrate(model: onnx.ModelProto, tensors: Iterable[str], samples: Sequence[Arrays]) -> dict[str, float]:
    """One scale for each of ``tensors``, from what they hold while the network runs on ``samples``."""
    inputs = {value.name for value in model.graph.input}
    wanted = sorted(set(tensors) - inputs)
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    known = {value.name for value in watched.graph.output}
    watched.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in wanted if name not in known
    )
    seen: dict[str, list[FloatArray]] = {name: [] for name in tensors}
    random = np.random.default_rng(0)
    with OnnxRuntimeEngine(watched.SerializeToString(), label="the network under calibration") as engine:
        for feeds in samples:
            values = {**feeds, **engine.infer(feeds)}
            for name, kept in seen.items():
                flat = np.abs(np.asarray(values[name], np.float32).reshape(-1))
                few = flat if len(flat) <= _SAMPLE else random.choice(flat, _SAMPLE, replace=False)
                kept.append(np.append(few, flat.max()))
    return {name: _scale(np.concatenate(kept)) for name, kept in seen.items()}


def _scale(values: FloatArray) -> float:
    """The scale with the least squared error of the numbers whose absolute ``values`` are given."""
    most = float(values.max())
    if most == 0:
        return 1.0
    errors = []
    for cut in _CUTS:
        scale = np.float32(most * cut / _LEVELS)
        rounded = np.minimum(np.rint(values / scale), _LEVELS) * scale
        errors.append(float(np.square(rounded - values).mean()))
    return most * _CUTS[int(np.argmin(errors))] / _LEVELS


class _Writer:
    """Writes one of the two graphs."""

    def __init__(self, model: onnx.ModelProto, scales: Mapping[str, float], twin: bool) -> None:
        self._model, self._scales, self._twin = model, scales, twin
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._rounded: dict[str, str] = {}

    def write(self, chosen: set[str]) -> onnx.ModelProto:
        result = onnx.ModelProto()
        result.CopyFrom(self._model)
        for node in result.graph.node:
            if node.name in chosen:
                node.input[0], node.input[1] = self._activation(node.input[0]), self._weight(node.input[1])
            self._nodes.append(node)
        used = {name for node in self._nodes for name in node.input} | {value.name for value in result.graph.output}
        replace(result.graph, self._nodes, [tensor for name, tensor in self._weights.items() if name in used])
        return result

    def _activation(self, name: str) -> str:
        """``name`` rounded to int8 levels of its scale; a tensor that several convolutions read is rounded once."""
        if name not in self._rounded:
            scale = self._constant(f"{name}.scale", np.array(self._scales[name], np.float32))
            self._rounded[name] = self._round(name, scale)
        return self._rounded[name]

    def _weight(self, name: str) -> str:
        if name not in self._rounded:
            values = numpy_helper.to_array(self._weights[name])
            column = (-1, *(1 for _ in values.shape[1:]))
            scale = np.abs(values).reshape(len(values), -1).max(1) / np.float32(_LEVELS)
            scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)
            if self._twin:
                levels = np.rint(values / scale.reshape(column))
                self._rounded[name] = self._constant(f"{name}.rounded", levels * scale.reshape(column))
            else:
                # As int8 weights it would be smaller, but older parsers want float32 weights before the pair of nodes.
                self._rounded[name] = self._round(name, self._constant(f"{name}.scale", scale), axis=0)
        return self._rounded[name]

    def _round(self, name: str, scale: str, **axis: Any) -> str:
        steps, result = f"{name}.levels", f"{name}.rounded"
        if self._twin:
            low, high = (self._constant(f"level{sign:+d}", np.float32(sign * _LEVELS)) for sign in (-1, 1))
            self._add("Div", [name, scale], f"{name}.steps")
            self._add("Round", [f"{name}.steps"], f"{name}.whole")
            self._add("Clip", [f"{name}.whole", low, high], steps)
            self._add("Mul", [steps, scale], result)
        else:
            zeros = np.zeros(self._weights[scale].dims, np.int8)
            zero = self._constant(f"{name}.zero", zeros)
            self._add("QuantizeLinear", [name, scale, zero], steps, **axis)
            self._add("DequantizeLinear", [steps, scale, zero], result, **axis)
        return result

    def _constant(self, name: str, value: NDArray[np.generic] | np.float32) -> str:
        self._weights[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, inputs, [output], name=f"{kind}.{output}", **attributes))
