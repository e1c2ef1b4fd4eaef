"""Checks an ONNX file before a runtime gets it, and reads the names of its tensors.

Runtimes report a broken file in different ways, some with a C++ trace, and some rename an output that is only an alias
of another tensor. So the names are read from the file itself, from the top two levels of its protocol buffer, without a
package.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.engine import EngineError
from engines.onnx_limits import MAX_BYTES, check_declared
from engines.protobuf import MalformedError, fields, text_field

# Field numbers of onnx.proto3.
_MODEL_IR_VERSION, _MODEL_GRAPH = 1, 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 5, 11, 12
_TENSOR_NAME, _VALUE_INFO_NAME = 8, 1


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """A model ready to be given to a runtime."""

    label: str
    """What errors call it."""
    source: bytes | Path
    """The serialised model, or the path when the runtime shall read the file by itself: only so can it find weights
    that are stored beside the file."""
    inputs: tuple[str, ...]
    """Names of the tensors that the caller feeds, in the file's order."""
    outputs: tuple[str, ...]
    """Names of the tensors that the caller gets, likewise."""


def open_onnx(model: bytes | Path, label: str = "") -> OnnxModel:
    """Check that ``model``, a file or its contents, is a whole ONNX model and name its tensors.

    Raises `EngineError` when the file cannot be read, is cut, is no ONNX model, or declares what `check_declared` refuses.
    """
    if isinstance(model, bytes):
        label, data = label or "the model", model
    else:
        label = label or model.name
        try:
            if not model.is_file() and model.exists():
                raise EngineError(f"cannot read {model}: it is no file")
            if model.is_file() and model.stat().st_size > MAX_BYTES:
                raise EngineError(f"{label} is too large for an ONNX model, which has at most 2 GB")
            data = model.read_bytes()
        except OSError as error:
            raise EngineError(f"cannot read {model}: {error.strerror or error}") from error
    try:
        inputs, outputs = _interface(memoryview(data))
        check_declared(memoryview(data), label, None if isinstance(model, bytes) else model.parent)
    except (MalformedError, UnicodeDecodeError):
        raise EngineError(f"{label} is not an ONNX model, or is cut: copy or export it again") from None
    return OnnxModel(label, model, inputs, outputs)


def explain(error: BaseException) -> str:
    """The informative line of a runtime's exception, without its source locations and error codes."""
    lines = [line.strip() for line in str(error).splitlines()]
    informative = [line for line in lines if line and not line.startswith(("Exception from", "Check '"))]
    text = informative[-1] if informative else type(error).__name__
    return text.rsplit("[ONNXRuntimeError] : ", 1)[-1][:300]


def _interface(model: memoryview) -> tuple[tuple[str, ...], tuple[str, ...]]:
    graph: memoryview | None = None
    version = 0
    for number, value in fields(model):
        if number == _MODEL_GRAPH and isinstance(value, memoryview):
            graph = value
        elif number == _MODEL_IR_VERSION and isinstance(value, int):
            version = value
    if graph is None or not version:
        raise MalformedError
    inputs: list[str] = []
    outputs: list[str] = []
    constants: set[str] = set()
    for number, value in fields(graph):
        if not isinstance(value, memoryview):
            continue
        if number == _GRAPH_INPUT:
            inputs.append(text_field(value, _VALUE_INFO_NAME))
        elif number == _GRAPH_OUTPUT:
            outputs.append(text_field(value, _VALUE_INFO_NAME))
        elif number == _GRAPH_INITIALIZER:
            constants.add(text_field(value, _TENSOR_NAME))
    if not outputs:
        raise MalformedError
    # Before IR version 4 every weight had to be listed as an input too.
    return tuple(name for name in inputs if name not in constants), tuple(outputs)
