"""A torch module as an ONNX model."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import onnx
import torch
from torch import Tensor, nn

from export.conversion.onnx_tools import IR_VERSION, MAX_OPSET, normalise


def trace(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    sizes: Sequence[tuple[int, ...]],
) -> onnx.ModelProto:
    """Trace ``module`` on ``example``; the first dimension of every input and output becomes free.

    ``sizes`` are the other dimensions of the outputs, which tracing forgets; `export.conversion.onnx_tools.check` proves them.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter asks for a package more and writes operator sets that older boards do not read.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module.eval(),
            example,
            buffer,  # type: ignore[arg-type]  # the signature forgets file objects
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_axes={name: {0: "people"} for name in (*inputs, *outputs)},
            opset_version=MAX_OPSET,
            dynamo=False,
        )
    model = onnx.load_from_string(buffer.getvalue())
    model.ir_version = IR_VERSION
    normalise(model)
    for output, shape in zip(model.graph.output, sizes, strict=True):
        for axis, size in enumerate(shape, 1):
            output.type.tensor_type.shape.dim[axis].dim_value = size
    return model
