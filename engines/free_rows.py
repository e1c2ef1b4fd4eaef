"""A graph that was exported for one row, made to take any number of them at once.

Convolutions and what is done element by element keep their first axis, which becomes free. After them come operators that
mix axes or look values up (the keypoint networks' decoders): from there on every tensor of shape S becomes one of (rows, *S),
and each operator's axes count one further. The numbers of a row are those of the graph for one, whoever is beside it.
"""

from __future__ import annotations

from typing import Any, Final

import onnx
from onnx import TensorProto, helper

from engines.engine import EngineError
from engines.onnx_file import explain
from engines.precision.graphs import fold_constants, replace, shapes

_ELEMENT: Final = frozenset({"Cast", "Clip", "Identity", "Neg", "Relu", "Sigmoid", "Sqrt", "Tanh"})
_PAIRS: Final = frozenset({"Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"})
_IMAGES: Final = frozenset({"Conv", "Resize", "MaxPool", "AveragePool", "GlobalAveragePool"})
_AXES: Final = frozenset({"ArgMax", "Concat", "GatherND", "Reshape", "Split", "Squeeze", "Transpose", "Unsqueeze"})
_KNOWN: Final = _ELEMENT | _PAIRS | _IMAGES | _AXES | {"Constant"}
_FREE: Final = "rows"


def with_free_rows(data: bytes) -> bytes:
    """The serialised model ``data`` with a free first axis of every input and output; itself where that is so already.

    Raises `EngineError` for a model with an operator that is not known here.
    """
    try:
        graph = onnx.load_from_string(data).graph
        firsts = [value.type.tensor_type.shape.dim[0] for value in graph.input]
        if not any(size.HasField("dim_value") for size in firsts):
            return data
        if any(size.dim_value != 1 for size in firsts):
            raise EngineError("only a graph for one row can be made to take more")
        for node in graph.node:
            if node.op_type not in _KNOWN:
                raise EngineError(f"node '{node.name}' ({node.op_type}) is not known to take several rows")
        model = fold_constants(data)
        _Rewriter(model).rewrite()
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))
    except EngineError:
        raise
    except Exception as error:  # those of onnx share no narrower base
        raise EngineError(f"the graph cannot be made to take several rows: {explain(error)}") from error


class _Rewriter:
    """Rewrites one model in place."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._shapes = shapes(model)
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._nodes: list[onnx.NodeProto] = []
        self._images = {value.name for value in model.graph.input}
        """Tensors (1, ...) of the old graph that are (rows, ...)."""
        self._stacked: dict[str, str] = {}
        """Tensors of shape S of the old graph ▶ that of shape (rows, *S) of the new one."""

    def rewrite(self) -> None:
        """Rewrite nodes, inputs and outputs."""
        for node in self._graph.node:
            if self._keeps_rows(node):
                self._images.add(node.output[0])
                if node.op_type == "Split":
                    node = helper.make_node("Identity", [node.input[0]], list(node.output), node.name)
                self._nodes.append(node)
            else:
                self._stack(node)
        for value in self._graph.output:
            if value.name not in self._images:
                self._add("Squeeze", self._stacked[value.name], self._axes(1), into=value.name)
        for value in (*self._graph.input, *self._graph.output):
            value.type.tensor_type.shape.dim[0].ClearField("dim_value")
            value.type.tensor_type.shape.dim[0].dim_param = _FREE
        replace(self._graph, self._nodes, self._weights.values())

    def _keeps_rows(self, node: onnx.NodeProto) -> bool:
        """Whether ``node`` works on each row by itself as it is."""
        read = [name for name in node.input if name and name not in self._weights]
        if not read or any(name not in self._images for name in read):
            return False
        rank = len(self._shapes[read[0]])
        match node.op_type:
            case kind if kind in _ELEMENT:
                return True
            case kind if kind in _PAIRS:
                sizes = [self._shapes[name] for name in node.input]
                return all(len(size) <= rank and (len(size) < rank or size[0] == 1) for size in sizes)
            case kind if kind in _IMAGES:
                return True
            case "Transpose":
                return bool(_attribute(node, "perm", [1])[0] == 0)
            case "Split":
                return len(node.output) == 1
        return False

    def _stack(self, node: onnx.NodeProto) -> None:
        """Add ``node`` with one more axis in front."""
        names = list(node.input)
        extra: dict[str, Any] = {}
        kind = node.op_type
        if kind in _ELEMENT:
            names[0] = self._rows_of(names[0])
        elif kind in _PAIRS:
            rank = max(len(self._shapes[name]) for name in names)
            names = [name if name in self._weights else self._rows_of(name, rank) for name in names]
        elif kind == "Reshape":
            target = [int(size) for size in self._values(names[1])]
            sizes = self._shapes[names[0]]
            target = [sizes[place] if size == 0 else size for place, size in enumerate(target)]
            names = [self._rows_of(names[0]), self._axes(0, *target)]
        elif kind in ("Squeeze", "Unsqueeze"):
            axes = [int(axis) for axis in self._values(names[1])]
            names = [self._rows_of(names[0]), self._axes(*(axis + 1 if axis >= 0 else axis for axis in axes))]
        elif kind in ("ArgMax", "Concat", "Split"):
            axis = _attribute(node, "axis", 0)
            extra["axis"] = axis + 1 if axis >= 0 else axis
            if kind == "Concat":
                one = next(name for name in names if name not in self._weights)
                names = [self._rows_of(name, like=one) for name in names]
            else:
                names[0] = self._rows_of(names[0])
        elif kind == "GatherND":
            extra["batch_dims"] = _attribute(node, "batch_dims", 0) + 1
            one = next(name for name in names if name not in self._weights)
            names = [self._rows_of(name, like=one) for name in names]
        elif kind == "Transpose":
            extra["perm"] = [0, *(place + 1 for place in _attribute(node, "perm", []))]
            names[0] = self._rows_of(names[0])
        else:  # an operator on images after the axes were mixed
            raise EngineError(f"node '{node.name}' ({kind}) is not known to take several rows there")
        made = onnx.NodeProto()
        made.CopyFrom(node)
        del made.input[:]
        made.input.extend(names)
        kept = [attribute for attribute in made.attribute if attribute.name not in extra]
        del made.attribute[:]
        made.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in extra.items())])
        for place, name in enumerate(node.output):
            self._stacked[name] = made.output[place] = f"{name}.rows"
        self._nodes.append(made)

    def _rows_of(self, name: str, rank: int | None = None, like: str = "") -> str:
        """The tensor (rows, *S) of the old tensor ``name`` of shape S, of a weight repeated as often as ``like`` has rows;
        with axes of 1 after the first where S has fewer than ``rank``."""
        if name in self._weights:
            some = self._rows_of(like)
            count = self._add("Slice", self._add("Shape", some), self._axes(0), self._axes(1))
            return self._add("Expand", name, self._add("Concat", count, self._axes(*self._shapes[name]), axis=0))
        if name not in self._stacked:
            self._stacked[name] = self._add("Unsqueeze", name, self._axes(1))
        missing = 0 if rank is None else rank - len(self._shapes[name])
        if not missing:
            return self._stacked[name]
        return self._add("Unsqueeze", self._stacked[name], self._axes(*range(1, missing + 1)))

    def _add(self, kind: str, *inputs: str, into: str = "", **attributes: Any) -> str:
        number = len(self._nodes)
        output = into or f"rows.{number}"
        self._nodes.append(helper.make_node(kind, inputs, [output], f"rows.{kind}.{number}", **attributes))
        return output

    def _axes(self, *values: int) -> str:
        name = "rows.axes." + "_".join(map(str, values))
        if name not in self._weights:
            self._weights[name] = helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
        return name

    def _values(self, name: str) -> list[int]:
        if name not in self._weights:
            raise EngineError(f"tensor '{name}' must be a constant for a graph to take several rows")
        return [int(value) for value in onnx.numpy_helper.to_array(self._weights[name]).ravel()]


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    found = [helper.get_attribute_value(attribute) for attribute in node.attribute if attribute.name == name]
    return found[0] if found else default
