"""Motion on the disk while it is made: what a killed program leaves can be saved afterwards, all but the last second.

The file: `MAGIC`, the length of a JSON text (uint32), the text, then chunks. A chunk is the number of its rows and the CRC of
their bytes (two uint32), and the rows as in memory (`realtime.outputs.motion_rows.RESULT_ROW`). All numbers are little-endian.
A chunk that is cut short, or was never really written when the power failed, ends the file.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from common.arrays import AnyArray
from common.errors import UserError
from common.files import JSON_ERRORS, claim
from realtime.outputs.motion_rows import RESULT_ROW

MAGIC: Final = b"MOTIONMESH-JOURNAL-4\n"
SUFFIX: Final = ".part"
_MAX_HEAD_BYTES: Final = 1 << 20
_COUNTS: Final = struct.Struct("<II")
_MAX_ROWS: Final = 1 << 20  # in one chunk


class Journal:
    """Appends rows to a new file at ``path``, whose head says ``about``. Raises ``OSError`` when the disk is full or gone."""

    def __init__(self, path: Path, about: Mapping[str, AnyArray]) -> None:
        self.path = path
        head = json.dumps({name: np.asarray(value).tolist() for name, value in about.items()}).encode()
        self._file: IO[bytes] = path.open("x+b", buffering=0)
        self._claim = claim(path)  # as long as this run lives
        self._good = 0
        self._put(MAGIC + struct.pack("<I", len(head)) + head)

    def append(self, rows: AnyArray) -> None:
        """Write ``rows`` (N,) of dtype `RESULT_ROW` so that they are on the disk when this returns, or none of them."""
        data = rows.tobytes()
        self._put(_COUNTS.pack(len(rows), zlib.crc32(data)) + data)

    def close(self) -> AnyArray:
        """Stop writing; the file stays. Returns all that was written, even if the file was removed meanwhile."""
        with self._claim, self._file as file:
            file.seek(len(MAGIC))
            file.seek(int.from_bytes(file.read(4), "little"), os.SEEK_CUR)
            return _read_rows(file, self._good)

    def _put(self, data: bytes) -> None:
        written = 0
        try:
            while written < len(data):  # a disk that gets full takes a part
                written += self._file.write(data[written:])
            os.fsync(self._file.fileno())
        except OSError:
            os.ftruncate(self._file.fileno(), self._good)
            raise
        self._good += written


def read_journal(path: Path) -> tuple[AnyArray, dict[str, Any]]:
    """All whole rows (N,) of a journal, and what its head says. Raises UserError for another or a damaged file."""
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise UserError(f"{path} is no unfinished motion: give a file that ends in {SUFFIX}, made by --save")
            size = int.from_bytes(file.read(4), "little")
            about = json.loads(file.read(size)) if size <= _MAX_HEAD_BYTES else None
            if not isinstance(about, dict):
                raise UserError(f"{path} is damaged: nothing can be read of it")
            return _read_rows(file, path.stat().st_size), about
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except JSON_ERRORS:
        raise UserError(f"{path} is damaged: nothing can be read of it") from None


def _read_rows(file: IO[bytes], file_bytes: int) -> AnyArray:
    chunks = [np.zeros(0, RESULT_ROW)]
    while len(counts := file.read(_COUNTS.size)) == _COUNTS.size:
        count, checksum = _COUNTS.unpack(counts)
        if not 0 < count <= _MAX_ROWS or count * RESULT_ROW.itemsize > file_bytes - file.tell():
            break
        data = file.read(count * RESULT_ROW.itemsize)
        if zlib.crc32(data) != checksum:
            break
        chunks.append(np.frombuffer(data, RESULT_ROW))
    return np.concatenate(chunks)
