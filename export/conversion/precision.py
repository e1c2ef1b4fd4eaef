"""Each network of the pipeline in the precision that is asked for, and how far it is then from float32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from engines.engine import Arrays, Engine
from engines.ort import OnnxRuntimeEngine
from engines.precision.fp16 import to_fp16
from engines.precision.graphs import plain
from engines.tensorrt_builder import PRECISIONS, Precision
from export.conversion.int8_qdq import to_int8
from export.conversion.network import Network
from export.conversion.onnx_tools import OnnxError, check
from export.conversion.operators import check_operators


@dataclass(frozen=True, slots=True)
class Converted:
    """A network in another precision.

    ``data`` is the ONNX model for a GPU; ``twin`` rounds like it in float32, for a CPU (see
    `engines.precision.fp16.Fp16Graphs`). ``remark`` says what is in which precision.
    """

    name: str
    precision: Precision
    data: bytes
    twin: bytes
    remark: str


def convert(network: Network, precision: Precision, samples: Sequence[Arrays]) -> Converted:
    """``network`` in ``precision``, with the same inputs and outputs; ``samples`` of its inputs calibrate int8.

    What would lose accuracy for nothing keeps more: the body stays float32 (in float16 its skin is off by up to 2 mm), and
    where int8 finds no convolution, as in a regressor, float16 is taken. Raises `export.conversion.onnx_tools.OnnxError` for
    a model that the oldest TensorRT would refuse, and when the conversion overflows on the samples.
    """
    model = plain(network.data)
    if precision == "fp32" or network.kind == "body":
        check(model)
        check_operators(model)
        return Converted(network.name, precision, network.data, network.data, "all in fp32")
    graph: onnx.ModelProto
    twin: onnx.ModelProto
    if precision == "int8" and (int8 := to_int8(model, samples)).nodes:
        graph, twin = int8.model, int8.twin
        remark = f"{len(int8.nodes)} convolutions in int8, the rest in fp32"
    else:
        fp16 = to_fp16(model)
        graph, twin = fp16.model, fp16.twin
        remark = f"{len(fp16.nodes)} of {len(model.graph.node)} nodes in fp16"
    for each in (graph, twin):
        check(each)
        check_operators(each)
    for gap in compare(network.data, twin.SerializeToString(), samples[:4]):
        if not np.isfinite(gap.most):
            raise OnnxError(
                f"{network.name}: '{gap.output}' overflows in {'float16' if precision == 'fp16' else 'int8'}"
            )
    return Converted(network.name, precision, graph.SerializeToString(), twin.SerializeToString(), remark)


def distinct(network: Network) -> tuple[Precision, ...]:
    """The precisions in which `convert` gives different graphs."""
    most = {"body": 1, "regressor": 2}.get(network.kind, len(PRECISIONS))
    return PRECISIONS[:most]


@dataclass(frozen=True, slots=True)
class Difference:
    """Largest and mean absolute difference of one output, and its mean absolute value, in its own unit."""

    output: str
    most: float
    mean: float
    size: float


def compare(reference: bytes, other: bytes, samples: Sequence[Arrays]) -> list[Difference]:
    """How far ``other`` is from ``reference``, both run in ONNX Runtime on ``samples``, for each output."""
    with OnnxRuntimeEngine(reference, label="reference") as one, OnnxRuntimeEngine(other, label="conversion") as two:
        return compare_engines(one, two, samples)


def compare_engines(reference: Engine, other: Engine, samples: Sequence[Arrays]) -> list[Difference]:
    """How far the answers of two different engines are apart on ``samples``, for each output."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for feeds in samples:
        expected, found = reference.infer(feeds), other.infer(feeds)
        for name, truth in expected.items():
            gap = np.abs(truth.astype(np.float64) - found[name])
            rows.setdefault(name, []).append((float(gap.max()), float(gap.mean()), float(np.abs(truth).mean())))
    table = {name: np.array(row) for name, row in rows.items()}
    return [
        Difference(name, float(row[:, 0].max()), float(row[:, 1].mean()), float(row[:, 2].mean()))
        for name, row in table.items()
    ]
