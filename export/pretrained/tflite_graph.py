"""A TensorFlow Lite model as plain Python: constants as arrays, operators by name, options as a dictionary."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError

_DTYPES: dict[int, type[np.generic]] = {
    0: np.float32,
    1: np.float16,
    2: np.int32,
    3: np.uint8,
    4: np.int64,
    9: np.int8,
}  # TensorType of the format's schema


class TfliteError(UserError, ValueError):
    """The model holds something that this reader does not know."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: its builtin name in capitals, the numbers of its tensors, and its options by the schema's names."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TfliteGraph:
    """``shapes`` and ``names`` of all tensors by number (images are NHWC), the constants, and the operators in order."""

    shapes: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    constants: dict[int, NDArray[Any]]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SparseLevel:
    """One level of a sparse tensor's storage: ``size`` entries if it is dense, else compressed rows as in CSR."""

    size: int = 0
    segments: NDArray[np.int64] | None = None
    indices: NDArray[np.int64] | None = None


def densify(
    shape: Sequence[int],
    order: Sequence[int],
    block_map: Sequence[int],
    levels: Sequence[SparseLevel],
    values: NDArray[Any],
) -> NDArray[Any]:
    """The full array of a sparse tensor.

    ``levels`` lists the stored dimensions from the outermost in; ``order`` says which one each level is: a dimension of
    the tensor, or, from ``len(shape)`` on, the inside of the blocks along dimension ``block_map[number - len(shape)]``.
    ``values`` (n,) are the stored numbers in that order; all others are zero.
    """
    rank = len(shape)
    block = [1] * rank
    for dimension, level in zip(order, levels, strict=True):
        if dimension >= rank:
            block[block_map[dimension - rank]] = level.size
    where = np.zeros((rank, 1), np.int64)
    position = np.zeros(1, np.int64)
    for dimension, level in zip(order, levels, strict=True):
        if level.segments is None or level.indices is None:
            counts = np.full(len(position), level.size)
            start = position * level.size
        else:
            counts = level.segments[position + 1] - level.segments[position]
            start = level.segments[position]
        # Every entry so far branches into ``counts`` of the next level.
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        position = np.repeat(start, counts) + within
        where = np.repeat(where, counts, axis=1)
        coordinate = within if level.indices is None else level.indices[position]
        if dimension < rank:
            where[dimension] += coordinate * block[dimension]
        else:
            where[block_map[dimension - rank]] += coordinate
    dense = np.zeros(shape, values.dtype)
    dense[tuple(where)] = values[position]
    return dense


def read_tflite(data: bytes) -> TfliteGraph:
    """Parse the contents of a ``.tflite`` file of one graph. Raises `TfliteError`."""
    import tflite

    if data[4:8] != b"TFL3":
        raise TfliteError("this is not a TensorFlow Lite model")
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(number) for number in range(graph.TensorsLength())]
    constants = {
        number: _constant(tensor, model.Buffers(tensor.Buffer()).DataAsNumpy())
        for number, tensor in enumerate(tensors)
        if model.Buffers(tensor.Buffer()).DataLength()
    }
    codes = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}
    operators = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        code = model.OperatorCodes(operator.OpcodeIndex())
        # Old files have the number in the first field, new ones in the second; the other is smaller.
        name = codes[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        operators.append(
            Operator(
                name,
                tuple(operator.InputsAsNumpy().tolist()),
                tuple(operator.OutputsAsNumpy().tolist()),
                _options(tflite, name, operator),
            )
        )
    return TfliteGraph(
        tuple(tuple(tensor.ShapeAsNumpy().tolist()) if tensor.ShapeLength() else () for tensor in tensors),
        tuple(tensor.Name().decode() for tensor in tensors),
        constants,
        tuple(operators),
        tuple(graph.InputsAsNumpy().tolist()),
        tuple(graph.OutputsAsNumpy().tolist()),
    )


_POOLING = ("Padding", "StrideH", "StrideW", "FusedActivationFunction")
_OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", (*_POOLING, "DilationHFactor", "DilationWFactor")),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*_POOLING, "DilationHFactor", "DilationWFactor")),
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", ("AlignCorners", "HalfPixelCenters")),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", ("BlockSize",)),
    "CONCATENATION": ("ConcatenationOptions", ("Axis", "FusedActivationFunction")),
}


def _options(tflite: Any, name: str, operator: Any) -> dict[str, int]:
    if name not in _OPTIONS:
        return {}
    kind, keys = _OPTIONS[name]
    table = operator.BuiltinOptions()
    options = getattr(tflite, kind)()
    options.Init(table.Bytes, table.Pos)
    return {key: int(getattr(options, key)()) for key in keys}


def _constant(tensor: Any, raw: NDArray[np.uint8]) -> NDArray[Any]:
    if tensor.Type() not in _DTYPES:
        raise TfliteError(f"tensor '{tensor.Name().decode()}' is of the unsupported type {tensor.Type()}")
    values = np.frombuffer(raw.tobytes(), _DTYPES[tensor.Type()])
    shape = tensor.ShapeAsNumpy().tolist() if tensor.ShapeLength() else []
    sparsity = tensor.Sparsity()
    if sparsity is None:
        return values.reshape(shape)
    levels = [_level(sparsity.DimMetadata(number)) for number in range(sparsity.DimMetadataLength())]
    block_map = sparsity.BlockMapAsNumpy().tolist() if sparsity.BlockMapLength() else []
    return densify(shape, sparsity.TraversalOrderAsNumpy().tolist(), block_map, levels, values)


def _level(metadata: Any) -> SparseLevel:
    import tflite

    if metadata.Format() == tflite.DimensionType.DENSE:
        return SparseLevel(size=metadata.DenseSize())
    vectors = {1: tflite.Int32Vector, 2: tflite.Uint16Vector, 3: tflite.Uint8Vector}  # SparseIndexVector

    def read(kind: int, table: Any) -> NDArray[np.int64]:
        vector = vectors[kind]()
        vector.Init(table.Bytes, table.Pos)
        return np.asarray(vector.ValuesAsNumpy(), np.int64)

    return SparseLevel(
        segments=read(metadata.ArraySegmentsType(), metadata.ArraySegments()),
        indices=read(metadata.ArrayIndicesType(), metadata.ArrayIndices()),
    )
