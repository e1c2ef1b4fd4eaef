"""Translate a convolutional TensorFlow Lite graph into ONNX: NCHW, fixed shapes, float32, plain operators.

Images are NHWC in the source and NCHW here. A tensor of other than four dimensions keeps the source's order, which is
why an image is turned back before it is reshaped into one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.conversion.onnx_tools import IR_VERSION, MAX_OPSET
from export.pretrained.tflite_graph import Operator, TfliteError, TfliteGraph

_NHWC_AXIS_IN_NCHW = {0: 0, 1: 2, 2: 3, 3: 1}
_SAME = 0  # Padding of the schema; 1 is VALID
_RELU, _RELU6 = 1, 3  # ActivationFunctionType of the schema


def tflite_to_onnx(graph: TfliteGraph, names: Mapping[str, str]) -> onnx.ModelProto:
    """The graph as an ONNX model of operator set 17.

    ``names`` maps the source's names of inputs and outputs to the wanted ones. Raises `TfliteError` for operators and
    options that this translator does not know.
    """
    return _Translation(graph, names).model()


class _Translation:
    def __init__(self, graph: TfliteGraph, names: Mapping[str, str]) -> None:
        self._graph = graph
        self._constants = dict(graph.constants)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, TensorProto] = {}
        self._names = {
            number: names.get(graph.names[number], graph.names[number]) for number in (*graph.inputs, *graph.outputs)
        }

    def model(self) -> onnx.ModelProto:
        translate: dict[str, Callable[[Operator], None]] = {
            "DEQUANTIZE": self._dequantize,
            "DENSIFY": self._dequantize,
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "ADD": self._add,
            "PAD": self._pad,
            "RESIZE_BILINEAR": self._resize,
            "DEPTH_TO_SPACE": self._depth_to_space,
            "RESHAPE": self._reshape,
            "CONCATENATION": self._concatenation,
        }
        for operator in self._graph.operators:
            if operator.name not in translate:
                raise TfliteError(f"operator {operator.name} is not supported")
            translate[operator.name](operator)
        inputs = [self._value(number) for number in self._graph.inputs]
        outputs = [self._value(number) for number in self._graph.outputs]
        graph = helper.make_graph(self._nodes, "tflite", inputs, outputs, list(self._weights.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", MAX_OPSET)])
        model.ir_version = IR_VERSION
        return model

    def _dequantize(self, operator: Operator) -> None:
        """float16 or sparse weights: they were expanded when the file was read, so only the type is left to change."""
        source, target = operator.inputs[0], operator.outputs[0]
        if source not in self._constants:
            raise TfliteError(f"{operator.name} of a tensor that is not constant is not supported")
        self._constants[target] = self._constants[source].astype(np.float32)
        if self._constants[target].shape != self._graph.shapes[target]:
            raise TfliteError(f"{operator.name} changes the shape of '{self._graph.names[source]}'")

    def _convolution(self, operator: Operator) -> None:
        image, weights, bias = operator.inputs
        depthwise = operator.name == "DEPTHWISE_CONV_2D"
        kernel = self._constants[weights].transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        option = operator.options
        size, strides = kernel.shape[2:], (option["StrideH"], option["StrideW"])
        dilations = (option["DilationHFactor"], option["DilationWFactor"])
        pads = [0, 0, 0, 0]
        if option["Padding"] == _SAME:
            given, wanted = self._graph.shapes[image][1:3], self._graph.shapes[operator.outputs[0]][1:3]
            for axis in range(2):
                reach = (size[axis] - 1) * dilations[axis] + 1
                total = max((wanted[axis] - 1) * strides[axis] + reach - given[axis], 0)
                # TensorFlow puts the odd row or column after the image.
                pads[axis], pads[axis + 2] = total // 2, total - total // 2
        self._node(
            "Conv",
            [
                self._tensor(image),
                self._weight(f"w{weights}", kernel.astype(np.float32)),
                self._weight(f"b{bias}", self._constants[bias].astype(np.float32)),
            ],
            operator,
            kernel_shape=list(size),
            strides=list(strides),
            dilations=list(dilations),
            pads=pads,
            group=self._graph.shapes[image][3] if depthwise else 1,
        )

    def _add(self, operator: Operator) -> None:
        if self._constants.keys() & set(operator.inputs):
            raise TfliteError("ADD of a constant is not supported")
        self._node("Add", [self._tensor(number) for number in operator.inputs], operator)

    def _pad(self, operator: Operator) -> None:
        image, amounts = operator.inputs
        before_after = self._constants[amounts][[0, 3, 1, 2]].T.astype(np.int64)
        self._node("Pad", [self._tensor(image), self._weight(f"pads{amounts}", before_after.ravel())], operator)

    def _resize(self, operator: Operator) -> None:
        given, wanted = self._graph.shapes[operator.inputs[0]], self._graph.shapes[operator.outputs[0]]
        scales = np.array([1, 1, wanted[1] / given[1], wanted[2] / given[2]], np.float32)
        if operator.options["AlignCorners"]:
            mode = "align_corners"
        else:
            mode = "half_pixel" if operator.options["HalfPixelCenters"] else "asymmetric"
        inputs = [self._tensor(operator.inputs[0]), "", self._weight(f"scales{operator.outputs[0]}", scales)]
        self._node("Resize", inputs, operator, mode="linear", coordinate_transformation_mode=mode)

    def _depth_to_space(self, operator: Operator) -> None:
        size = operator.options["BlockSize"]
        self._node("DepthToSpace", [self._tensor(operator.inputs[0])], operator, blocksize=size, mode="DCR")

    def _reshape(self, operator: Operator) -> None:
        source, target = operator.inputs[0], operator.outputs[0]
        tensor, shape = self._tensor(source), self._graph.shapes[target]
        if len(shape) == 4:
            raise TfliteError("RESHAPE into an image is not supported")
        if len(self._graph.shapes[source]) == 4:
            turned = f"t{source}.nhwc{target}"
            self._nodes.append(helper.make_node("Transpose", [tensor], [turned], name=turned, perm=[0, 2, 3, 1]))
            tensor = turned
        self._node("Reshape", [tensor, self._weight(f"shape{target}", np.array(shape, np.int64))], operator)

    def _concatenation(self, operator: Operator) -> None:
        rank = len(self._graph.shapes[operator.outputs[0]])
        axis = operator.options["Axis"] % rank
        inputs = [self._tensor(number) for number in operator.inputs]
        self._node("Concat", inputs, operator, axis=_NHWC_AXIS_IN_NCHW[axis] if rank == 4 else axis)

    def _node(self, kind: str, inputs: list[str], operator: Operator, **attributes: Any) -> None:
        """Add a node that makes the operator's output, followed by the activation that is fused into it."""
        output = self._tensor(operator.outputs[0])
        activation = operator.options.get("FusedActivationFunction", 0)
        made = f"{output}.linear" if activation else output
        self._nodes.append(helper.make_node(kind, inputs, [made], name=f"{kind}.{output}", **attributes))
        if activation == _RELU:
            self._nodes.append(helper.make_node("Relu", [made], [output], name=f"Relu.{output}"))
        elif activation == _RELU6:
            bounds = [self._weight("zero", np.float32(0)), self._weight("six", np.float32(6))]
            self._nodes.append(helper.make_node("Clip", [made, *bounds], [output], name=f"Clip.{output}"))
        elif activation:
            raise TfliteError(f"the fused activation {activation} is not supported")

    def _tensor(self, number: int) -> str:
        return self._names.get(number, f"t{number}")

    def _weight(self, name: str, value: NDArray[Any] | np.float32) -> str:
        if name not in self._weights:
            self._weights[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def _value(self, number: int) -> onnx.ValueInfoProto:
        shape = list(self._graph.shapes[number])
        if len(shape) == 4:
            shape = [shape[0], shape[3], shape[1], shape[2]]
        return helper.make_tensor_value_info(self._tensor(number), TensorProto.FLOAT, shape)
