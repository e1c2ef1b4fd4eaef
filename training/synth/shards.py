"""Shards of samples: tar files in WebDataset's layout, each with an index row that holds its hash.

The files of one sample, ``KEY.FIELD.npy`` or ``KEY.FIELD.jpg``, follow each other, so any WebDataset reader can use
them. The row in ``index/`` is written last: a shard without a row is unfinished. Writing is deterministic to the byte.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from common.arrays import AnyArray
from common.errors import UserError
from common.files import write_atomically, write_bytes_atomically

INDEX: Final = "index"

Sample = Mapping[str, AnyArray | bytes]
"""Arrays by field name. Bytes under a name with a suffix (``image.jpg``) are written unchanged."""


class ShardError(UserError, ValueError):
    """A shard is missing, unfinished or damaged. The message says what to do."""


@dataclass(frozen=True, slots=True)
class ShardRow:
    """The index row of one shard."""

    file: str
    """File name of the shard."""
    kind: str
    """Kind of its samples."""
    split: str
    """``train``, ``val`` or ``test``."""
    seed: int
    """Seed from which it was made."""
    shard: int
    """Its number."""
    samples: int
    """Number of samples."""
    size: int
    """Size of the file, bytes."""
    sha256: str
    """Hash of the file, hex."""


def shard_name(kind: str, split: str, shard: int) -> str:
    """File name of a shard."""
    return f"{kind}-{split}-{shard:06d}.tar"


def _row_path(folder: Path, name: str) -> Path:
    return folder / INDEX / f"{name}.json"


def write_shard(folder: Path, kind: str, split: str, seed: int, shard: int, samples: Iterable[Sample]) -> ShardRow:
    """Write one shard, then its row. An interrupted run leaves no row, so the next run makes the shard again."""
    name = shard_name(kind, split, shard)
    (folder / INDEX).mkdir(parents=True, exist_ok=True)
    count = 0
    with (
        write_atomically(folder / name) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for count, sample in enumerate(samples, 1):
            for field, value in sample.items():
                _add(tar, f"{shard:06d}-{count - 1:04d}.{field}", value)
    size, digest = (folder / name).stat().st_size, _digest(folder / name)
    row = ShardRow(name, kind, split, seed, shard, count, size, digest)
    write_bytes_atomically(_row_path(folder, name), (json.dumps(asdict(row)) + "\n").encode())
    return row


def _add(tar: tarfile.TarFile, name: str, value: AnyArray | bytes) -> None:
    if isinstance(value, bytes):
        content = value
    else:
        name += ".npy"
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(value), allow_pickle=False)
        content = buffer.getvalue()
    entry = tarfile.TarInfo(name)  # its time, owner and mode are constants
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _slow_digest(path)
        )


def _slow_digest(path: Path) -> str:  # Python 3.10
    """SHA-256 in hex, for Python 3.10, which has no ``hashlib.file_digest``."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def read_row(folder: Path, name: str) -> ShardRow | None:
    """The index row of a shard; None where there is none or it is truncated. Raises `ShardError` for a foreign row."""
    try:
        values = json.loads(_row_path(folder, name).read_text())
    except (OSError, json.JSONDecodeError):
        return None
    try:
        return ShardRow(**values)
    except TypeError:
        raise ShardError(f"{_row_path(folder, name)} is not a row of this index: remove it and run again") from None


def is_intact(folder: Path, row: ShardRow) -> bool:
    """Whether the shard's file has the size and hash of its row."""
    file = folder / row.file
    return file.is_file() and file.stat().st_size == row.size and _digest(file) == row.sha256


def find_shards(folder: Path, kind: str, split: str) -> list[ShardRow]:
    """Rows of all finished shards of one kind and split, by number. Raises `ShardError` when there are none."""
    names = sorted(path.name.removesuffix(".json") for path in (folder / INDEX).glob(f"{kind}-{split}-*.tar.json"))
    rows = [row for name in names if (row := read_row(folder, name)) is not None]
    if not rows:
        raise ShardError(
            f"{folder} holds no finished {kind} shards of {split}: python -m training.synth --kind {kind} "
            f"--split {split} --output {folder} --motion FOLDER --shards 0-9 makes some"
        )
    return rows


def read_shard(folder: Path, row: ShardRow, fields: set[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the samples of one shard.

    Args:
        folder: Folder of the shards.
        row: Row of the shard.
        fields: Names of the fields to read; None for all.

    Yields:
        Key and fields of every sample: arrays, or bytes where the field name has a suffix.

    Raises:
        ShardError: The file is missing, or its size or hash differs from the row.
    """
    if not is_intact(folder, row):
        raise ShardError(
            f"{folder / row.file} is missing or damaged: run python -m training.synth again, which repairs it"
        )
    key = ""
    sample: dict[str, Any] = {}
    with tarfile.open(folder / row.file, "r") as tar:
        for entry in tar:
            found, _, field = entry.name.partition(".")
            if found != key and sample:
                yield key, sample
                sample = {}
            key = found
            name = field.removesuffix(".npy")
            content = tar.extractfile(entry)
            if content is None or (fields is not None and name not in fields):
                continue
            data = content.read()
            sample[name] = np.load(io.BytesIO(data), allow_pickle=False) if field.endswith(".npy") else data
    if sample:
        yield key, sample
