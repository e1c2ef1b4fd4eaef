"""What an ONNX file may ask for: files outside its folder and sizes that it does not hold are refused before it is run.

A model comes from anywhere. Its weights may be declared to lie in other files (external data), anywhere on the disk as far as
the format is concerned; a few bytes can declare tensors of terabytes; functions may call themselves, and graphs be nested until
a runtime's stack ends. `engines.trial` bounds what can only be known by running it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from engines.engine import EngineError
from engines.protobuf import fields, text_field, varint

MAX_BYTES: Final = (1 << 31) - 1
"""Of a model with all its weights: protocol buffers hold no more."""
_MAX_VALUES: Final = 1 << 28  # of one tensor that a model declares without holding it
_MAX_NESTED: Final = 16

# Field numbers of onnx.proto3.
_MODEL_GRAPH, _MODEL_FUNCTIONS = 7, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_GRAPH_VALUES: Final = (11, 12, 13)
_FUNCTION_NAME, _FUNCTION_NODE, _FUNCTION_DOMAIN = 1, 7, 10
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSORS: Final = (5, 10)
_ATTRIBUTE_GRAPHS: Final = (6, 11)
_ATTRIBUTE_SPARSE: Final = (22, 23)
_SPARSE_TENSORS: Final = (1, 2)
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 2, 8, 9, 13, 14
_ENTRY_KEY, _ENTRY_VALUE = 1, 2
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_SHAPE, _SHAPE_DIM, _DIM_VALUE = 1, 2, 1, 2, 1, 1

_BITS: Final = {
    1: 32,
    2: 8,
    3: 8,
    4: 16,
    5: 16,
    6: 32,
    7: 64,
    9: 8,
    10: 16,
    11: 64,
    12: 32,
    13: 64,
    14: 64,
    15: 128,
    16: 16,
}
"""Of one value, by TensorProto.DataType; others have at least four."""


def check_declared(model: memoryview, label: str, folder: Path | None) -> None:
    """Hold a serialised ``model`` against the limits; ``label`` is what errors call it, ``folder`` is where its external data
    may lie, None where there is no such place.

    Raises `EngineError`, and `MalformedError` where the bytes are no whole model.
    """
    _Checker(label, folder).check(model)


class _Checker:
    def __init__(self, label: str, folder: Path | None) -> None:
        self._label, self._folder = label, folder
        self._external = 0

    def check(self, model: memoryview) -> None:
        calls: dict[tuple[str, str], set[tuple[str, str]]] = {}
        for number, value in fields(model):
            if not isinstance(value, memoryview):
                continue
            if number == _MODEL_GRAPH:
                self._graph(value, 0)
            elif number == _MODEL_FUNCTIONS:
                name = text_field(value, _FUNCTION_DOMAIN), text_field(value, _FUNCTION_NAME)
                calls[name] = {one for node in _each(value, _FUNCTION_NODE) for one in self._node(node, 0)}
        self._functions(calls)

    def _graph(self, graph: memoryview, depth: int) -> set[tuple[str, str]]:
        """Returns the domain and operator of every node, those of nested graphs, too."""
        if depth > _MAX_NESTED:
            raise self._refused(f"nests graphs more than {_MAX_NESTED} deep")
        called: set[tuple[str, str]] = set()
        for number, value in fields(graph):
            if not isinstance(value, memoryview):
                continue
            if number == _GRAPH_NODE:
                called |= self._node(value, depth)
            elif number == _GRAPH_INITIALIZER:
                self._tensor(value)
            elif number == _GRAPH_SPARSE:
                self._sparse(value)
            elif number in _GRAPH_VALUES:
                self._declared(value)
        return called

    def _node(self, node: memoryview, depth: int) -> set[tuple[str, str]]:
        called = {(text_field(node, _NODE_DOMAIN), text_field(node, _NODE_OPERATOR))}
        for attribute in _each(node, _NODE_ATTRIBUTE):
            for number, value in fields(attribute):
                if not isinstance(value, memoryview):
                    continue
                if number in _ATTRIBUTE_TENSORS:
                    self._tensor(value)
                elif number in _ATTRIBUTE_SPARSE:
                    self._sparse(value)
                elif number in _ATTRIBUTE_GRAPHS:
                    called |= self._graph(value, depth + 1)
        return called

    def _functions(self, calls: dict[tuple[str, str], set[tuple[str, str]]]) -> None:
        """Refuse functions that call themselves, through whichever others."""
        left = {name: called & calls.keys() for name, called in calls.items()}
        while left:
            done = {name for name, called in left.items() if not called & left.keys()}
            if not done:
                raise self._refused(f"has a function that calls itself ({min(left)[1]})")
            left = {name: called for name, called in left.items() if name not in done}

    def _sparse(self, sparse: memoryview) -> None:
        count = 1
        for number, value in fields(sparse):
            if number in _SPARSE_TENSORS and isinstance(value, memoryview):
                self._tensor(value)
            elif number == 3:
                for size in _numbers(value):
                    count *= self._size(size, "a sparse tensor")
        if count > _MAX_VALUES:
            raise self._refused(f"declares a sparse tensor of {count:.3g} values")

    def _tensor(self, tensor: memoryview) -> None:
        name, count, kind, raw = "", 1, 0, -1
        location = 0
        external: dict[str, str] = {}
        for number, value in fields(tensor):
            if number == _TENSOR_DIMS:
                for size in _numbers(value):
                    count *= self._size(size, "a tensor")
            elif number == _TENSOR_TYPE and isinstance(value, int):
                kind = value
            elif number == _TENSOR_LOCATION and isinstance(value, int):
                location = value
            elif isinstance(value, memoryview):
                if number == _TENSOR_NAME:
                    name = bytes(value).decode()
                elif number == _TENSOR_RAW:
                    raw = len(value)
                elif number == _TENSOR_EXTERNAL:
                    external[text_field(value, _ENTRY_KEY)] = text_field(value, _ENTRY_VALUE)
        needed = (count * _BITS.get(kind, 4) + 7) // 8
        if location or external:
            self._outside(name, needed, external)
        # Not every kind of field stores a value in its full width, but none in less than half a byte.
        elif needed > (raw if raw >= 0 else 2 * _BITS.get(kind, 8) * len(tensor)):
            raise self._refused(f"declares {count:.3g} values in '{name}' and does not hold them")

    def _outside(self, name: str, needed: int, external: dict[str, str]) -> None:
        """Check a tensor whose data lie in another file."""
        place = external.get("location", "")
        if self._folder is None:
            raise self._refused(f"keeps '{name}' in another file, which a model without a folder cannot")
        folder = self._folder.resolve()
        try:
            path = (folder / place).resolve()
            inside = bool(place) and not Path(place).is_absolute() and path.is_relative_to(folder)
            held = path.stat().st_size if inside and path.is_file() else None
        except (OSError, ValueError, RuntimeError):
            raise self._refused(f"keeps '{name}' in {place!r}, which cannot be read") from None
        if not inside:
            raise self._refused(f"keeps '{name}' outside of its own folder ({place!r})")
        if held is None:
            raise self._refused(f"keeps '{name}' in {place!r}, which is not there beside it")
        try:
            offset = int(external.get("offset") or 0)
            length = int(external.get("length") or needed)
        except ValueError:
            raise self._refused(f"does not say where in {place!r} '{name}' is") from None
        if offset < 0 or length < needed or offset + length > held:
            raise self._refused(f"declares {needed} bytes for '{name}', which {place!r} does not hold")
        self._external += length
        if self._external > MAX_BYTES:
            raise self._refused("declares weights of more than 2 GB")

    def _declared(self, value: memoryview) -> None:
        """Check the shape of an input, an output or a value in between; unknown sizes count once."""
        count = 1
        for kind in _each(value, _VALUE_TYPE):
            for tensor in _each(kind, _TYPE_TENSOR):
                for shape in _each(tensor, _TENSOR_SHAPE):
                    for dimension in _each(shape, _SHAPE_DIM):
                        for number, size in fields(dimension):
                            if number == _DIM_VALUE and isinstance(size, int):
                                # Exporters write -1 and 0 for sizes that they do not know.
                                count *= max(size if size < 1 << 63 else 1, 1)
        if count > _MAX_VALUES:
            name = text_field(value, _VALUE_NAME)
            raise self._refused(f"declares {count:.3g} values in '{name}', more than fit into the memory")

    def _size(self, size: int, what: str) -> int:
        if size >= 1 << 63:
            raise self._refused(f"declares {what} of negative size")
        return size

    def _refused(self, why: str) -> EngineError:
        return EngineError(f"{self._label} {why}: export it again")


def _each(message: memoryview, field: int) -> Iterator[memoryview]:
    for number, value in fields(message):
        if number == field and isinstance(value, memoryview):
            yield value


def _numbers(value: int | memoryview) -> Iterator[int]:
    """The numbers of a repeated field: one by one, or packed."""
    if isinstance(value, int):
        yield value
        return
    at = 0
    while at < len(value):
        one, at = varint(value, at)
        yield one
