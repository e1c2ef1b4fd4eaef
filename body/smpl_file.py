"""Reading SMPL files without trusting them.

SMPL is released as a pickle, and a standard unpickler runs any code that the pickle names. Here only names on a short
allow-list are resolved; chumpy's lazy arrays and scipy's sparse matrices are replaced by stand-ins that only hold
numbers, so neither package is needed. Pickles of Python 2 load too.
"""

from __future__ import annotations

import io
import math
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from body.errors import BodyError
from body.pickle_limits import RefusedPickle, check_expansion, check_opcodes
from common.arrays import AnyArray
from common.npz import check_declared_sizes

_LARGEST_DENSE_BYTES: Final = 20_000_000
_MAX_BYTES: Final = 100_000_000
"""What all fields that are computed from others may take together; SMPL's take 20 MB."""


class StandIn:
    """Holds the state of an object in place of its own class. Constructor arguments are ignored."""

    state: Mapping[str, Any]

    def __init__(self, *arguments: object) -> None:
        """Make an empty stand-in."""
        self.state = {}

    def __setstate__(self, state: object) -> None:
        """Take the pickled state. Raises `RefusedPickle` unless it is a mapping."""
        if not isinstance(state, Mapping):
            raise RefusedPickle(f"{type(self).__name__} with a state that is no mapping")
        self.state = state

    def value(self) -> AnyArray:
        """The array that the object represents. Raises ``ValueError`` or ``KeyError`` where the state is unknown."""
        raise ValueError("an object that holds no array")


class ChumpyArray(StandIn):
    """chumpy.ch.Ch: the array is its member ``x``."""

    def value(self) -> AnyArray:
        """The array."""
        return to_array(self.state["x"])


class ChumpySelect(StandIn):
    """chumpy.reordering.Select: entries ``idxs`` of the flattened ``a``, in ``preferred_shape`` where there is one."""

    def value(self) -> AnyArray:
        """The selected entries."""
        chosen: AnyArray = to_array(self.state["a"]).ravel()[np.asarray(self.state["idxs"])]
        shape = self.state.get("preferred_shape")
        return chosen if shape is None else chosen.reshape(shape)


class SparseColumns(StandIn):
    """scipy.sparse's csc_matrix. Becomes dense."""

    by_rows = False

    def value(self) -> AnyArray:
        """The dense matrix."""
        data, indices, pointers = (np.asarray(self.state[name]) for name in ("data", "indices", "indptr"))
        shape = self.state["_shape"] if "_shape" in self.state else self.state["shape"]
        rows, columns = int(shape[0]), int(shape[1])
        if min(rows, columns) < 0 or rows * columns * max(8, data.dtype.itemsize) > _LARGEST_DENSE_BYTES:
            raise ValueError("a sparse matrix that would be huge")
        steps = np.diff(pointers)
        if (steps < 0).any() or steps.sum() != len(indices):
            raise ValueError("a sparse matrix whose entries are not where it says")
        major = np.repeat(np.arange(len(steps)), steps)
        dense: AnyArray = np.zeros((rows, columns), data.dtype)
        # Duplicate entries are summed, as in scipy.
        np.add.at(dense, (major, indices) if self.by_rows else (indices, major), data)
        return dense


class SparseRows(SparseColumns):
    """scipy.sparse's csr_matrix. Becomes dense."""

    by_rows = True


def to_array(value: object) -> AnyArray:
    """The array behind ``value``, which is a stand-in or anything that numpy accepts."""
    return value.value() if isinstance(value, StandIn) else np.asarray(value)


class _ArrayType:
    """Stands for ``numpy.ndarray`` in pickles, which name it but do not call it: that would take memory of any size."""

    def __init__(self, *arguments: object) -> None:
        raise RefusedPickle("it makes an array of its own")


def _reconstruct_array(kind: object, *shape_and_type: object) -> AnyArray:
    """Numpy's ``_reconstruct``: an empty array, whose contents follow."""
    if kind is not _ArrayType:
        raise RefusedPickle("an array of a class of its own")
    return np.ndarray.__new__(np.ndarray, (0,), np.int8)


def _scalar(dtype: np.dtype[Any], data: bytes | str) -> Any:
    """Numpy's ``scalar``, with all bytes of it given."""
    if not isinstance(data, (bytes, str)) or dtype.hasobject or dtype.itemsize > len(data):
        raise RefusedPickle("a number without its bytes")
    return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype, 1)[0]


def _numpy_names() -> dict[tuple[str, str], Callable[..., Any]]:
    """Helpers of numpy for pickled arrays, under the names of numpy 1 and 2."""
    names: dict[tuple[str, str], Callable[..., Any]] = {("numpy", "ndarray"): _ArrayType, ("numpy", "dtype"): np.dtype}
    for core in ("numpy.core", "numpy._core"):
        names[f"{core}.multiarray", "_reconstruct"] = _reconstruct_array
        names[f"{core}.multiarray", "scalar"] = _scalar
        names[f"{core}.numeric", "_frombuffer"] = _from_buffer
    return names


def _from_buffer(buffer: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: Any) -> AnyArray:
    """Equivalent of numpy's ``_frombuffer`` for pickles of protocol 5."""
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order)


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Python 3 writes bytes into old pickle protocols as a call of ``_codecs.encode``; latin1 is the one it uses."""
    if encoding != "latin1":
        raise RefusedPickle(f"encoding {encoding}")
    return text.encode("latin1")


def _reconstruct_object(kind: type, base: type, state: object) -> object:
    """``copyreg._reconstructor`` for stand-ins only: how protocols 0 and 1 make plain objects."""
    if not (isinstance(kind, type) and issubclass(kind, StandIn)):
        raise RefusedPickle("an object that is no array")
    return kind()


def _allowed() -> dict[tuple[str, str], Callable[..., Any]]:
    names = _numpy_names()
    for module in ("scipy.sparse.csc", "scipy.sparse._csc"):
        names[module, "csc_matrix"] = names[module, "csc_array"] = SparseColumns
    for module in ("scipy.sparse.csr", "scipy.sparse._csr"):
        names[module, "csr_matrix"] = names[module, "csr_array"] = SparseRows
    names["chumpy.ch", "Ch"] = names["chumpy", "Ch"] = ChumpyArray
    names["chumpy.reordering", "Select"] = ChumpySelect
    names["chumpy.ch", "MatVecMult"] = StandIn  # the rest joints, which follow from other fields
    names["_codecs", "encode"] = _encode
    names["collections", "OrderedDict"] = OrderedDict
    for module in ("copy_reg", "copyreg"):
        names[module, "_reconstructor"] = _reconstruct_object
    for module in ("__builtin__", "builtins"):
        names[module, "object"] = object
        names[module, "slice"] = slice
    return names


ALLOWED_GLOBALS: Final[Mapping[tuple[str, str], Callable[..., Any]]] = _allowed()
"""Every (module, name) that a pickle may use, and what it resolves to."""


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED_GLOBALS[module, name]
        except KeyError:
            raise RefusedPickle(f"it asks for {module}.{name}") from None


def unpickle_arrays(
    content: bytes, origin: str, advice: str = "an SMPL pickle holds only arrays, get it from SMPL's own site"
) -> object:
    """Contents of a pickle of arrays, numbers, text, lists and dictionaries, of any Python version and protocol.

    Args:
        content: The pickle.
        origin: Name of the file in messages.
        advice: End of the message about a refused pickle.

    Returns:
        The object. Arrays of chumpy and scipy are `StandIn`; `to_array` makes them arrays.

    Raises:
        BodyError: The pickle is refused or damaged.
    """
    try:
        check_opcodes(content)
        loaded = _ArraysOnly(io.BytesIO(content), encoding="latin1").load()
        check_expansion(loaded, len(content), StandIn)
        return loaded
    except RefusedPickle as error:
        raise BodyError(f"{origin} is refused: {error}; {advice}") from error
    except Exception as error:  # a damaged pickle can fail in any way, inside numpy too
        raise BodyError(f"{origin} is not a readable pickle ({error}); download or copy it again") from error


def read_pickle(content: bytes, origin: str) -> dict[str, Any]:
    """The fields of a pickled SMPL: arrays as arrays, everything else unchanged. ``origin`` names the file in messages.

    Fields whose stand-in cannot be converted to an array are dropped: SMPL's files carry some that are not needed. So are
    fields whose name is no text.

    Raises:
        BodyError: The pickle is refused, damaged, or not a dictionary.
    """
    loaded = unpickle_arrays(content, origin)
    if not isinstance(loaded, Mapping):
        kind = type(loaded).__name__
        raise BodyError(f"{origin} is no SMPL body (it holds a {kind}); give the SMPL file as it was released")
    return _readable({name: value for name, value in loaded.items() if isinstance(name, str)}, origin)


def _readable(fields: Mapping[str, Any], origin: str) -> dict[str, Any]:
    readable: dict[str, Any] = {}
    computed = 0
    for name, value in fields.items():
        if isinstance(value, StandIn):
            value = _array_or_none(value)
            computed += 0 if value is None else value.nbytes
            if computed > _MAX_BYTES:
                raise BodyError(f"{origin} is refused: its arrays would be huge; get it from where it was released")
        if value is not None:
            readable[name] = value
    return readable


def _array_or_none(value: StandIn) -> AnyArray | None:
    try:
        return to_array(value)
    except (KeyError, ValueError, IndexError, TypeError, MemoryError, OverflowError, RecursionError):
        return None


def read_smpl_npz(content: bytes, origin: str) -> dict[str, Any]:
    """The entries of an ``.npz``. Pickled objects in it go through the same allow-list.

    Raises:
        BodyError: The archive is damaged or one of its objects is refused.
    """
    fields: dict[str, Any] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            check_declared_sizes(archive.infolist(), len(content))
            for member in archive.namelist():
                fields[member.removesuffix(".npy")] = _read_npy(archive.read(member), f"{origin} ({member})")
    except BodyError:
        raise
    except Exception as error:  # zip and zlib raise half a dozen kinds
        raise BodyError(f"{origin} is not a readable .npz ({error}); download or copy it again") from error
    return _readable(fields, origin)


def _read_npy(content: bytes, origin: str) -> Any:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(stream)
    if not dtype.hasobject:
        if not dtype.itemsize or dtype.itemsize * math.prod(shape) > len(content):
            raise ValueError("an array that declares more than it holds")
        return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    objects = np.asarray(unpickle_arrays(stream.read(), origin))
    if shape == () and objects.size == 1:
        only = objects.reshape(-1)[0]
        return only
    return objects
