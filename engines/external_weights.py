"""Weights that a model keeps in another file (ONNX's external data), written into the model.

Two sizes of one network share their weights so. Shipped models are checked and then given to runtimes as bytes, which have no
folder to look for other files in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from engines.protobuf import MalformedError, field_bytes, fields, text_field

# Field numbers of onnx.proto3.
_MODEL_GRAPH, _GRAPH_INITIALIZER = 7, 5
_TENSOR_RAW, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 9, 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_ELSEWHERE: Final = (_TENSOR_EXTERNAL, _TENSOR_LOCATION)


def with_weights(model: bytes, read: Callable[[str], bytes]) -> bytes:
    """The serialised ``model`` with the weights that lie in other files; ``read`` gives the contents of one by its name.

    Raises `MalformedError` where such a file is shorter than the model says, or the model is none.
    """
    return b"".join(
        field_bytes(number, _graph(value, read) if number == _MODEL_GRAPH and isinstance(value, memoryview) else value)
        for number, value in fields(memoryview(model))
    )


def _graph(graph: memoryview, read: Callable[[str], bytes]) -> bytes:
    return b"".join(
        field_bytes(
            number, _tensor(value, read) if number == _GRAPH_INITIALIZER and isinstance(value, memoryview) else value
        )
        for number, value in fields(graph)
    )


def _tensor(tensor: memoryview, read: Callable[[str], bytes]) -> bytes:
    place: dict[str, str] = {}
    kept = []
    for number, value in fields(tensor):
        if number == _TENSOR_EXTERNAL and isinstance(value, memoryview):
            place[text_field(value, _ENTRY_KEY)] = text_field(value, _ENTRY_VALUE)
        elif number not in _ELSEWHERE:
            kept.append(field_bytes(number, value))
    if not place:
        return bytes(tensor)
    try:
        offset, length = int(place["offset"]), int(place["length"])
        weights = read(place["location"])[offset : offset + length]
    except (KeyError, ValueError):
        raise MalformedError from None
    if offset < 0 or len(weights) != length:
        raise MalformedError
    return b"".join([*kept, field_bytes(_TENSOR_RAW, weights)])
