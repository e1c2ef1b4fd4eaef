"""A TensorFlow.js graph model (model.json and its weights) as a TensorFlow graph.

TensorFlow.js writes a graph in the JSON form of its protocol buffer, but with two fused operators that TensorFlow
itself does not have for the CPU, and with the weights in files beside it. Both are undone here, in plain Python.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from common.arrays import AnyArray
from common.errors import UserError

Node = dict[str, Any]

_CONVOLUTIONS = {"_FusedConv2D": "Conv2D", "FusedDepthwiseConv2dNative": "DepthwiseConv2dNative"}
_CONVOLUTION_ATTRIBUTES = ("T", "strides", "padding", "explicit_paddings", "data_format", "dilations")
_ACTIVATIONS = {"Relu", "Relu6", "Elu", "Sigmoid"}


class TfjsError(UserError, ValueError):
    """The model holds something that this reader does not know."""


def read_tfjs_weights(manifest: list[dict[str, Any]], data: bytes) -> dict[str, AnyArray]:
    """Every weight by name, from the ``weightsManifest`` and the contents of its files, one after the other.

    Weights stored as float16 come back as float32. Raises `TfjsError` for other quantisations and for left-over bytes.
    """
    weights: dict[str, AnyArray] = {}
    at = 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        shape = tuple(entry["shape"])
        stored = np.dtype(entry.get("quantization", {}).get("dtype", entry["dtype"]))
        if "quantization" in entry and stored != np.float16:
            raise TfjsError(f"weight '{entry['name']}' is quantised to {stored}, which is not supported")
        count = math.prod(shape)
        if at + count * stored.itemsize > len(data):
            raise TfjsError("the weights are cut")
        values = np.frombuffer(data, stored, count, at).reshape(shape)
        weights[entry["name"]] = values.astype(entry["dtype"])
        at += values.nbytes
    if at != len(data):
        raise TfjsError(f"{len(data) - at} bytes of the weights belong to nothing")
    return weights


def unfuse(nodes: list[Node]) -> list[Node]:
    """The graph's nodes with each fused convolution written as convolution, bias and activation.

    The last of them takes the fused node's name, so that all others find it. Raises `TfjsError` for unknown fusions.
    """
    return [plain for node in nodes for plain in (_split(node) if node["op"] in _CONVOLUTIONS else (node,))]


def _split(node: Node) -> Iterator[Node]:
    steps = [base64.b64decode(step).decode() for step in node["attr"]["fused_ops"]["list"]["s"]]
    image, weights, *extra = node["input"]
    names = [f"{node['name']}/{place}" for place in range(len(steps))] + [node["name"]]
    kept = {key: node["attr"][key] for key in _CONVOLUTION_ATTRIBUTES if key in node["attr"]}
    yield {"name": names[0], "op": _CONVOLUTIONS[node["op"]], "input": [image, weights], "attr": kept}
    for before, name, step in zip(names, names[1:], steps, strict=False):
        if step == "BiasAdd":
            attributes = {key: kept[key] for key in ("T", "data_format") if key in kept}
            yield {"name": name, "op": step, "input": [before, extra.pop(0)], "attr": attributes}
        elif step in _ACTIVATIONS:
            yield {"name": name, "op": step, "input": [before], "attr": {"T": kept["T"]}}
        else:
            raise TfjsError(f"node '{node['name']}' fuses '{step}', which is not supported")


def to_graph_def(model: dict[str, Any], data: bytes) -> Any:
    """A ``tensorflow.GraphDef`` of the parsed model.json and its weights, ready to run and to convert."""
    import tensorflow as tf
    from google.protobuf import json_format  # type: ignore[import-untyped]

    weights = read_tfjs_weights(model["weightsManifest"], data)
    graph = json_format.ParseDict({"node": unfuse(model["modelTopology"]["node"])}, tf.compat.v1.GraphDef())
    for node in graph.node:
        if node.op == "Const" and node.name in weights:
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(weights[node.name]))
    return graph
