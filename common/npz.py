"""Reading untrusted .npz files: no pickles, and no more memory than in proportion to the file."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from common.arrays import AnyArray

SMALL_BYTES: Final = 50_000_000
"""Bytes that any file may unpack to."""
LARGEST_RATIO: Final = 20
"""Factor on its own size that a larger file may unpack to: arrays of motion pack to a half or a third."""
_CHUNK_BYTES: Final = 1 << 20
_ONE_ARRAY: Final = b"\x93NUMPY"
NPZ_ERRORS: Final = (
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    RuntimeError,  # encrypted entries; its child NotImplementedError: unknown compression
    MemoryError,
    SyntaxError,  # numpy reads a small Python expression from each entry
    tokenize.TokenError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What `read_npz` raises for a damaged or hostile file, besides ``OSError`` for one that cannot be read."""


def read_npz(source: Path | bytes, wanted: Collection[str] | None = None) -> dict[str, AnyArray]:
    """The arrays of an .npz file, those named in ``wanted`` alone where that is given.

    Nothing is unpacked of a file whose declared sizes are out of proportion, and no array that declares another size than
    its entry has. Raises one of `NPZ_ERRORS`, with a message for the user, and ``OSError``.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    with _stream(source) as stream, _archive(stream) as archive:
        entries = archive.infolist()
        check_declared_sizes(entries, size)
        names = {entry.filename.removesuffix(".npy"): entry for entry in entries}
        arrays: dict[str, AnyArray] = {}
        for name, entry in names.items():
            if wanted is None or name in wanted:
                with archive.open(entry) as file:
                    arrays[name] = _read_array(file, entry.file_size, name)
    return arrays


def names_in(path: Path) -> frozenset[str]:
    """The names of an .npz file's arrays; empty where it cannot be read, or is something else."""
    try:
        with _stream(path) as stream, _archive(stream) as archive:
            return frozenset(entry.removesuffix(".npy") for entry in archive.namelist())
    except (OSError, *NPZ_ERRORS):
        return frozenset()


def read_npy(path: Path) -> AnyArray:
    """The array of an .npy file. Raises one of `NPZ_ERRORS`, with a message for the user, and ``OSError``."""
    with path.open("rb") as file:
        return _read_array(file, path.stat().st_size, path.name)


def _stream(source: Path | bytes) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _archive(stream: IO[bytes]) -> zipfile.ZipFile:
    if stream.read(len(_ONE_ARRAY)) == _ONE_ARRAY:
        raise ValueError("it holds a single array")
    return zipfile.ZipFile(stream)


def check_declared_sizes(entries: Collection[zipfile.ZipInfo], file_bytes: int) -> None:
    """Raise ValueError where the ``entries`` of a zip file of ``file_bytes`` unpack to more than a file of that size may."""
    declared = sum(entry.file_size for entry in entries)
    if declared > max(SMALL_BYTES, LARGEST_RATIO * file_bytes):
        raise ValueError(f"it would take {declared / 1e6:.0f} MB when unpacked, out of proportion to its size")


def _read_array(file: Any, size: int, name: str) -> AnyArray:
    """The array in ``file``, a readable binary stream of ``size`` bytes."""
    version = np.lib.format.read_magic(file)
    header: Any = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, dtype = header(file)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are not read from files")
    count = math.prod(shape)
    if count < 0 or count * max(1, dtype.itemsize) > size:
        raise ValueError(f"{name} declares more than it holds")
    if not dtype.itemsize:
        return np.zeros(shape, dtype)  # of an empty text
    data = np.empty(count * dtype.itemsize, np.uint8)
    for begin in range(0, len(data), _CHUNK_BYTES):  # unpacking all at once would take the memory twice
        part = data[begin : begin + _CHUNK_BYTES]
        if file.readinto(part.data) != len(part):
            raise ValueError(f"{name} is cut short")
    array: AnyArray = data.view(dtype).reshape(shape, order="F" if in_columns else "C")
    return array
