"""Writing ONNX graphs by hand, node by node, with only operators that every runtime supports."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import TensorProto, helper, numpy_helper

from common.arrays import AnyArray

# What TensorRT 8.6 reads, the oldest that is supported.
_OPSET: Final = 17
_IR_VERSION: Final = 8


class GraphBuilder:
    """Collects nodes and weights. Calling it adds a node and returns the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[TensorProto] = []
        self._shapes: dict[tuple[int, ...], str] = {}

    def __call__(self, operator: str, *inputs: str, into: str = "", **attributes: Any) -> str:
        """Add a node, whose one output is called ``into`` or by a number. Returns the output's name."""
        output = into or f"t{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], f"{operator}.{len(self._nodes)}", **attributes))
        return output

    def weight(self, values: ArrayLike) -> str:
        """A float32 constant."""
        return self._constant(np.array(values, np.float32, order="C"))

    def shape(self, *values: int) -> str:
        """An int64 constant: a shape, axes or indices."""
        if values not in self._shapes:
            self._shapes[values] = self._constant(np.array(values, np.int64))
        return self._shapes[values]

    def part(self, tensor: str, axis: int, start: int, end: int) -> str:
        """``tensor[start:end]`` along ``axis``."""
        return self("Slice", tensor, self.shape(start), self.shape(end), self.shape(axis))

    def model(
        self, inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]], name: str = "body"
    ) -> bytes:
        """The serialised model of all nodes, with these float32 inputs and outputs per person."""
        reads, gives = (
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, ("people", *sizes)) for key, sizes in side.items()]
            for side in (inputs, outputs)
        )
        graph = helper.make_graph(self._nodes, name, reads, gives, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
        return bytes(model.SerializeToString(deterministic=True))

    def _constant(self, values: AnyArray) -> str:
        self._weights.append(numpy_helper.from_array(values, f"w{len(self._weights)}"))
        return self._weights[-1].name
