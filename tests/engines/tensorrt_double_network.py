"""The network and the ONNX parser of the double of ``tensorrt``: what it finds in a graph and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import onnx
from onnx import TensorProto

Shape = tuple[int, ...]
UNSUPPORTED = {"Det", "DFT", "StringNormalizer"}

_ONNX = {
    TensorProto.FLOAT: "FLOAT",
    TensorProto.FLOAT16: "HALF",
    TensorProto.INT8: "INT8",
    TensorProto.UINT8: "UINT8",
    TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64",
    TensorProto.BOOL: "BOOL",
}
_LAYERS = {
    "QuantizeLinear": "QUANTIZE",
    "DequantizeLinear": "DEQUANTIZE",
    "Cast": "CAST",
    "Constant": "CONSTANT",
    "Conv": "CONVOLUTION",
}


class ITensor:
    def __init__(self, name: str, shape: Shape, dtype: Any) -> None:
        self.name, self.shape, self.dtype = name, shape, dtype


class ILayer:
    def __init__(self, kind: Any, outputs: list[ITensor]) -> None:
        self.type, self.num_outputs, self._outputs = kind, len(outputs), outputs
        self.precision: Any = None

    def get_output(self, index: int) -> ITensor | None:
        return self._outputs[index] if index < len(self._outputs) else None


class INetworkDefinition:
    def __init__(self, trt: Any, flags: int) -> None:
        self._trt, self._flags = trt, flags
        self._model = b""
        self._inputs: list[ITensor] = []
        self._layers: list[ILayer] = []

    num_inputs = property(lambda self: len(self._inputs))
    num_layers = property(lambda self: len(self._layers))

    def get_input(self, index: int) -> ITensor | None:
        return self._inputs[index] if index < len(self._inputs) else None

    def get_layer(self, index: int) -> ILayer:
        return self._layers[index]

    def _fill(self, data: bytes, model: onnx.ModelProto) -> None:
        self._model = data
        inferred = onnx.shape_inference.infer_shapes(model).graph
        typed = {value.name: value for value in [*inferred.value_info, *inferred.input, *inferred.output]}
        weights = {value.name for value in inferred.initializer}

        def tensor(name: str) -> ITensor | None:
            value = typed.get(name)
            if value is None or value.type.tensor_type.elem_type not in _ONNX:
                return None
            kind = getattr(self._trt.DataType, _ONNX[value.type.tensor_type.elem_type], self._trt.DataType.INT32)
            dims = value.type.tensor_type.shape.dim
            return ITensor(name, tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims), kind)

        self._inputs = [
            found for value in inferred.input if value.name not in weights and (found := tensor(value.name))
        ]
        for node in inferred.node:
            outputs = [found for name in node.output if (found := tensor(name))]
            self._layers.append(ILayer(self._trt.LayerType[_LAYERS.get(node.op_type, "UNARY")], outputs))


class ParserError:
    def __init__(self, node: int, name: str, operator: str, text: str) -> None:
        self._node, self._name, self._operator, self._text = node, name, operator, text

    def code(self) -> Any:
        return SimpleNamespace(name="UNSUPPORTED_NODE")

    def desc(self) -> str:
        return self._text

    def node(self) -> int:
        return self._node


class _NamedParserError(ParserError):
    def node_name(self) -> str:
        return self._name

    def node_operator(self) -> str:
        return self._operator


class OnnxParser:
    def __init__(self, network: INetworkDefinition, log: Callable[[str], None], major: int) -> None:
        self._network, self._log = network, log
        self._kind = _NamedParserError if major >= 10 else ParserError
        self._errors: list[ParserError] = []

    num_errors = property(lambda self: len(self._errors))

    def parse(self, model: bytes, path: str | None) -> bool:
        try:
            proto = onnx.load_model_from_string(model)
            onnx.checker.check_model(proto)
        except Exception as error:
            self._errors.append(self._kind(-1, "", "", str(error)))
            return False
        for place, node in enumerate(proto.graph.node):
            if node.op_type in UNSUPPORTED:
                text = f"In node {place} with name: {node.name}:\n no importer registered for op: {node.op_type}"
                self._errors.append(self._kind(place, node.name, node.op_type, text))
        if not self._errors:
            self._network._fill(model, proto)
        return not self._errors

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]
