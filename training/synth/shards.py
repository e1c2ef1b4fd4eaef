"""Shards of samples on disk: tar files in WebDataset's layout, each with a row of an index that holds its hash.

A sample is the files of one key, ``KEY.FIELD.npy`` or ``KEY.FIELD.jpg``, one after the other; any WebDataset reader takes them.
A shard that has no row in ``index/`` is not finished: the row is written last. Writing is deterministic to the byte.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError

INDEX: Final = "index"

Sample = Mapping[str, NDArray[Any] | bytes]
"""Arrays by field name; bytes under a name with a suffix (``image.jpg``) are written as they are."""


class ShardError(UserError, ValueError):
    """A shard that is missing, unfinished or damaged. The message says what to do."""


@dataclass(frozen=True, slots=True)
class ShardRow:
    """The index's row of one shard: ``file`` name, ``kind``, ``split``, ``seed`` and number that it follows from, how many
    ``samples`` and ``size`` bytes it has, and its ``sha256``."""

    file: str
    kind: str
    split: str
    seed: int
    shard: int
    samples: int
    size: int
    sha256: str


def shard_name(kind: str, split: str, shard: int) -> str:
    return f"{kind}-{split}-{shard:06d}.tar"


def _row_path(folder: Path, name: str) -> Path:
    return folder / INDEX / f"{name}.json"


def write_shard(folder: Path, kind: str, split: str, seed: int, shard: int, samples: Iterable[Sample]) -> ShardRow:
    """Write one shard and then its row. Whatever interrupts this leaves a shard without a row, which the next run makes
    again."""
    name = shard_name(kind, split, shard)
    (folder / INDEX).mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.{os.getpid()}.part"
    count = 0
    try:
        with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
            for count, sample in enumerate(samples, 1):
                for field, value in sample.items():
                    _add(tar, f"{shard:06d}-{count - 1:04d}.{field}", value)
        digest = _digest(part)
        row = ShardRow(name, kind, split, seed, shard, count, part.stat().st_size, digest)
        part.replace(folder / name)
    finally:
        part.unlink(missing_ok=True)
    text = _row_path(folder, name).with_suffix(f".{os.getpid()}.part")
    text.write_text(json.dumps(asdict(row)) + "\n")
    text.replace(_row_path(folder, name))
    return row


def _add(tar: tarfile.TarFile, name: str, value: NDArray[Any] | bytes) -> None:
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
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def read_row(folder: Path, name: str) -> ShardRow | None:
    """The index's row of a shard; None where it has none, or one that is cut off. Raises `ShardError` for a foreign one."""
    try:
        values = json.loads(_row_path(folder, name).read_text())
    except (OSError, json.JSONDecodeError):
        return None
    try:
        return ShardRow(**values)
    except TypeError:
        raise ShardError(f"{_row_path(folder, name)} is not a row of this index: remove it and run again") from None


def is_intact(folder: Path, row: ShardRow) -> bool:
    """Whether the shard's file is what its row says, to the byte."""
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
    """Keys and samples of one shard, of all ``fields`` or some: arrays, and bytes where the field has a suffix of its own.

    Raises `ShardError` when the file is missing or is not what its row says.
    """
    if not is_intact(folder, row):
        raise ShardError(f"{folder / row.file} is missing or damaged: run python -m training.synth again, it mends it")
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
