"""Steps for every ONNX file that this project writes: fp16-stored weights where that is exact, and a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import set_external_data

from common.errors import UserError

MAX_OPSET = 17
"""The newest operator set that the TensorRT of the oldest supported board reads."""

IR_VERSION = 8
"""The file format that goes with `MAX_OPSET`; the onnx package would write its own newest one."""

_SMALL = 256
_FP16_SUFFIX = ".fp16"


class OnnxError(UserError, ValueError):
    """A model breaks one of the rules of this module."""


@dataclass(frozen=True, slots=True)
class Fp16StorageReport:
    """What `store_fp16` did."""

    stored: tuple[str, ...]
    """Names of the weights now in float16."""
    kept: tuple[str, ...]
    """Names of the large ones that it had to leave in float32."""


def store_fp16(model: onnx.ModelProto, *, require_all: bool = False) -> Fp16StorageReport:
    """Store the float32 weights of ``model`` (changed in place) as float16, each followed by a Cast to float32.

    Only weights that float16 holds exactly are touched, so the model computes bit for bit what it did: runtimes fold
    the casts when they load it. Weights of fewer than 256 numbers stay as they are. With ``require_all`` a large weight
    that is not exact raises `OnnxError` and leaves the model as it was.
    """
    graph = model.graph
    interface = {value.name for value in (*graph.input, *graph.output)}
    narrowed: dict[str, TensorProto] = {}
    kept: list[str] = []
    for tensor in graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or tensor.name in interface:
            continue
        full = numpy_helper.to_array(tensor)
        if full.size < _SMALL:
            continue
        with np.errstate(over="ignore"):
            short = full.astype(np.float16)
        # Compared as bits: -0.0 must stay -0.0.
        if np.array_equal(short.astype(np.float32).view(np.uint32), full.view(np.uint32)):
            narrowed[tensor.name] = numpy_helper.from_array(short, tensor.name + _FP16_SUFFIX)
        else:
            kept.append(tensor.name)
    if kept and require_all:
        raise OnnxError(f"float16 does not hold {len(kept)} weights exactly, the first is '{kept[0]}'")
    weights = [narrowed.get(tensor.name, tensor) for tensor in graph.initializer]
    casts = [
        helper.make_node("Cast", [name + _FP16_SUFFIX], [name], name=f"cast.{name}", to=TensorProto.FLOAT)
        for name in narrowed
    ]
    nodes = [*casts, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(weights)
    graph.node.extend(nodes)
    return Fp16StorageReport(tuple(narrowed), tuple(kept))


def share_weights(model: onnx.ModelProto, other: bytes, name: str) -> int:
    """Let ``model`` (changed in place) read its large weights where the serialised model ``other`` holds them, in the file
    ``name`` beside it. Returns how many it finds there."""
    found = 0
    for tensor in model.graph.initializer:
        place = other.find(tensor.raw_data) if len(tensor.raw_data) >= _SMALL else -1
        if place >= 0:
            set_external_data(tensor, name, offset=place, length=len(tensor.raw_data))
            tensor.ClearField("raw_data")
            found += 1
    return found


def check(model: onnx.ModelProto) -> None:
    """Raise `OnnxError` unless ``model`` is valid, of operator set `MAX_OPSET` or older, without custom operators."""
    for opset in model.opset_import:
        if opset.domain not in ("", "ai.onnx"):
            raise OnnxError(f"the model uses operators of '{opset.domain}', which not every runtime has")
        if opset.version > MAX_OPSET:
            raise OnnxError(f"the model uses operator set {opset.version}, newer than {MAX_OPSET}")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise OnnxError(f"the model is not valid: {str(error).strip().splitlines()[0]}") from error


def take_uint8(model: onnx.ModelProto, *images: str) -> None:
    """Let the inputs ``images`` of ``model`` (changed in place), which hold whole numbers of 0..255, be uint8.

    A quarter of the bytes goes to the network then, and its first node makes float32 of them: the only type that every
    TensorRT casts uint8 to.
    """
    graph = model.graph
    for value in graph.input:
        if value.name not in images:
            continue
        value.type.tensor_type.elem_type = TensorProto.UINT8
        readers = [node for node in graph.node if value.name in node.input]
        if all(node.op_type == "Cast" and node.attribute[0].i == TensorProto.FLOAT for node in readers):
            continue
        cast = f"{value.name}.float"
        for node in readers:
            node.input[:] = [cast if name == value.name else name for name in node.input]
        graph.node.insert(0, helper.make_node("Cast", [value.name], [cast], name=f"cast.{cast}", to=TensorProto.FLOAT))


def drop_unused_domains(model: onnx.ModelProto) -> None:
    """Remove imported operator sets that no node uses; converters add them."""
    used = {node.domain for node in model.graph.node} | {""}
    imports = [opset for opset in model.opset_import if opset.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(imports)


def drop_identities(model: onnx.ModelProto) -> None:
    """Let the readers of each Identity of ``model`` (changed in place) read its input: tracing gives a layer that is used twice
    such a second name for its weights, of which a conversion would then keep a copy."""
    graph = model.graph
    outputs = {value.name for value in graph.output}
    aliases: dict[str, str] = {}
    kept = []
    for node in graph.node:  # in the order of computation: an input's own alias is known
        node.input[:] = [aliases.get(name, name) for name in node.input]
        if node.op_type == "Identity" and node.output[0] not in outputs:
            aliases[node.output[0]] = node.input[0]
        else:
            kept.append(_copy(node))
    del graph.node[:]
    graph.node.extend(kept)


def normalise(model: onnx.ModelProto) -> None:
    """Order and name the nodes and tensors of ``model`` (in place) by the graph alone, and drop what no output needs.

    Some converters number things in the order of a hash table, so that two runs write different files; after this they
    write the same. The names of inputs and outputs stay. Raises `OnnxError` for graphs inside of nodes.
    """
    graph = model.graph
    if any(attribute.HasField("g") or attribute.graphs for node in graph.node for attribute in node.attribute):
        raise OnnxError("graphs inside of nodes cannot be normalised")
    makers = {output: node for node in graph.node for output in node.output if output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    names = {value.name: value.name for value in (*graph.input, *graph.output)} | {"": ""}
    nodes: list[onnx.NodeProto] = []
    kept: list[TensorProto] = []
    waiting = [(value.name, False) for value in reversed(graph.output)]
    finished: set[str] = set()
    while waiting:
        tensor, ready = waiting.pop()
        if tensor in finished:
            continue
        if tensor in weights:
            finished.add(tensor)
            names.setdefault(tensor, f"w{len(kept)}")
            kept.append(weights[tensor])
        elif tensor in makers and not ready:
            waiting.append((tensor, True))
            waiting += [(source, False) for source in reversed(makers[tensor].input)]
        elif tensor in makers:
            node = makers[tensor]
            finished.update(node.output)
            for place, output in enumerate(node.output):
                names.setdefault(output, f"t{len(nodes)}.{place}" if place else f"t{len(nodes)}")
            nodes.append(node)
    for place, node in enumerate(nodes):
        node.name = f"{node.op_type}.{place}"
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
        attributes = sorted(map(_copy, node.attribute), key=lambda attribute: attribute.name)
        del node.attribute[:]
        node.attribute.extend(attributes)
    for weight in kept:
        weight.name = names[weight.name]
    # Copied before they go, for a removed element takes its memory along.
    nodes, kept = [_copy(node) for node in nodes], [_copy(weight) for weight in kept]
    # Shapes of inner tensors go by their old names.
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


_Message = TypeVar("_Message", onnx.NodeProto, onnx.AttributeProto, TensorProto)


def _copy(message: _Message) -> _Message:
    copy = type(message)()
    copy.CopyFrom(message)
    return copy
