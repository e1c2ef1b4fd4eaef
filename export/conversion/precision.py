"""Each network of the pipeline in the precision that is asked for, and how far it is then from float32."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from engines.choices import PRECISIONS, Precision
from engines.engine import Arrays, Engine
from engines.ort import OnnxRuntimeEngine
from engines.precision.fp16 import HEAVY, to_fp16
from engines.precision.graphs import fold_constants, shapes
from export.conversion.int8_qdq import int8_candidates, to_int8
from export.conversion.network import PipelineNetwork
from export.conversion.onnx_tools import OnnxError, check
from export.conversion.operators import check_operators

_LOG = logging.getLogger(__name__)

MIN_IN_INT8 = 0.5
"""The share of a network's arithmetic below which int8 is not worth its changes of type."""


@dataclass(frozen=True, slots=True)
class ConvertedNetwork:
    """A network in another precision."""

    name: str
    """The network's."""
    precision: Precision
    """What it was converted to."""
    data: bytes
    """The ONNX model for a GPU."""
    twin: bytes
    """An ONNX model in float32 that rounds like it, for a CPU (see `engines.precision.fp16.Fp16Graphs`)."""
    remark: str
    """What is in which precision."""


def convert(network: PipelineNetwork, precision: Precision, samples: Sequence[Arrays]) -> ConvertedNetwork:
    """``network`` in ``precision``, with the same inputs and outputs; ``samples`` of its inputs calibrate int8.

    The body stays float32, because float16 moves its vertices by up to 2 mm. In an int8 graph, operators that are not in int8
    are in float16 where float16 suffices. If less than `MIN_IN_INT8` of the arithmetic would be in int8, as in a regressor,
    conversions between the two would cost more than int8 saves, and the graph becomes float16.

    Raises `export.conversion.onnx_tools.OnnxError` for a model that the oldest TensorRT would refuse, and when the
    conversion overflows on the samples.
    """
    model = fold_constants(network.data)
    if precision == "fp32" or network.kind == "body":
        check(model)
        check_operators(model)
        return ConvertedNetwork(network.name, precision, network.data, network.data, "all in fp32")
    graph: onnx.ModelProto
    twin: onnx.ModelProto
    share = arithmetic_share(model, int8_candidates(model)) if precision == "int8" else 0.0
    if precision == "int8" and share >= MIN_IN_INT8:
        int8 = to_int8(model, samples)
        keep = {*int8.nodes, *int8.rounding}
        fp16 = to_fp16(int8.model, keep)
        graph, twin = fp16.model, to_fp16(int8.twin, keep).twin
        remark = (
            f"{len(int8.nodes)} convolutions ({share:.0%} of the arithmetic) in int8, {len(fp16.nodes)} nodes in fp16"
        )
    else:
        fp16 = to_fp16(model)
        graph, twin = fp16.model, fp16.twin
        remark = f"{len(fp16.nodes)} of {len(model.graph.node)} nodes in fp16"
        if precision == "int8":
            remark += f": int8 would hold {share:.0%} of the arithmetic and win nothing"
            _LOG.warning(
                f"{network.name}: int8 would hold {share:.0%} of the arithmetic and win nothing; fp16 is taken"
            )
    for each in (graph, twin):
        check(each)
        check_operators(each)
    for gap in compare_models(network.data, twin.SerializeToString(), samples[:4]):
        if not np.isfinite(gap.most):
            raise OnnxError(
                f"{network.name}: '{gap.output}' overflows in {'float16' if precision == 'fp16' else 'int8'}"
            )
    return ConvertedNetwork(network.name, precision, graph.SerializeToString(), twin.SerializeToString(), remark)


def arithmetic_share(model: onnx.ModelProto, nodes: Collection[str]) -> float:
    """The share of a model's multiply-adds that its ``nodes`` of these names do, 0 to 1."""
    known = shapes(model)
    counted = {node.name: flops(node, known) for node in model.graph.node if node.op_type in HEAVY}
    return sum(counted.get(name, 0) for name in nodes) / max(sum(counted.values()), 1)


def flops(node: onnx.NodeProto, known: Mapping[str, tuple[int, ...]]) -> int:
    """Multiplications and additions of one of the nodes in `engines.precision.fp16.HEAVY`, with the shapes of all tensors."""
    left, right, result = known[node.input[0]], known[node.input[1]], prod(known[node.output[0]])
    if node.op_type == "Conv":
        return 2 * result * prod(right[1:])
    if node.op_type == "ConvTranspose":
        return 2 * prod(left) * prod(right[1:])
    if node.op_type == "Gemm" and any(attribute.name == "transA" and attribute.i for attribute in node.attribute):
        return 2 * result * left[-2]
    return 2 * result * left[-1]


def distinct(network: PipelineNetwork) -> tuple[Precision, ...]:
    """The precisions in which `convert` gives different graphs."""
    most = {"body": 1, "regressor": 2, "flow": 2}.get(network.kind, len(PRECISIONS))
    return PRECISIONS[:most]


@dataclass(frozen=True, slots=True)
class OutputDifference:
    """How far one output is from the reference's, over all samples, in the output's unit."""

    output: str
    """Its name."""
    most: float
    """Largest absolute difference."""
    mean: float
    """Mean absolute difference."""
    size: float
    """Mean absolute value of the reference's output."""


def compare_models(reference: bytes, other: bytes, samples: Sequence[Arrays]) -> list[OutputDifference]:
    """How far ``other`` is from ``reference``, both run in ONNX Runtime on ``samples``, for each output."""
    with OnnxRuntimeEngine(reference, label="reference") as one, OnnxRuntimeEngine(other, label="conversion") as two:
        return compare_engines(one, two, samples)


def compare_engines(reference: Engine, other: Engine, samples: Sequence[Arrays]) -> list[OutputDifference]:
    """How far the answers of two different engines are apart on ``samples``, for each output."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for feeds in samples:
        expected, found = reference.infer(feeds), other.infer(feeds)
        for name, truth in expected.items():
            gap = np.abs(truth.astype(np.float64) - found[name])
            rows.setdefault(name, []).append((float(gap.max()), float(gap.mean()), float(np.abs(truth).mean())))
    table = {name: np.array(row) for name, row in rows.items()}
    return [
        OutputDifference(name, float(row[:, 0].max()), float(row[:, 1].mean()), float(row[:, 2].mean()))
        for name, row in table.items()
    ]
