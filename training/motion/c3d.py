"""Reading C3D files: optical markers as laboratories record them (c3d.org, "The C3D File Format").

A header of 512 bytes says where parameters and data begin. Parameters are named values in named groups. A frame of the data
has four numbers for each point (x, y, z, and what is below zero where the point was not seen), then the analogue channels,
as 16-bit integers or as floats, in the byte order of the processor that wrote the file. All sizes that the file states are
checked against the file's own size before memory is allocated.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from common.arrays import DoubleArray, FloatArray

_BLOCK: Final = 512
_KEY: Final = 0x50
_INTEL, _DEC, _MIPS = 84, 85, 86
_TEXT, _BYTE, _INTEGER, _FLOAT = -1, 1, 2, 4
_MAX_BYTES: Final = 1 << 30
_HEADER_LAST: Final = 0xFFFF
"""The last frame where the header's 16 bits do not hold the true one."""

Value = list[str] | DoubleArray


@dataclass(frozen=True)
class C3d:
    """Points of one file."""

    points: FloatArray
    """float32 (N, K, 3) in ``unit``; NaN where a point was not seen."""
    labels: list[str]
    """Names of the points; there may be fewer than K."""
    unit: str
    """Unit of length as the file writes it."""
    fps: float
    """Frame rate, frames/s."""


class _Numbers:
    """Numbers in the byte order of the processor that wrote the file."""

    def __init__(self, data: bytes, processor: int) -> None:
        if processor not in (_INTEL, _DEC, _MIPS):
            raise ValueError(f"written by an unknown processor ({processor})")
        self._data, self._is_dec = data, processor == _DEC
        self._order = ">" if processor == _MIPS else "<"

    def integers(self, at: int, count: int) -> npt.NDArray[np.int16]:
        self._check(at, 2 * count)
        return np.frombuffer(self._data, f"{self._order}i2", count, at).astype(np.int16)

    def floats(self, at: int, count: int) -> FloatArray:
        self._check(at, 4 * count)
        if not self._is_dec:
            return np.frombuffer(self._data, f"{self._order}f4", count, at).astype(np.float32)
        # The VAX' format: 16-bit halves exchanged, and an exponent that is larger by two.
        halves = np.frombuffer(self._data, "<u2", 2 * count, at).reshape(-1, 2)[:, ::-1]
        return np.ascontiguousarray(halves).view("<f4").ravel().astype(np.float32) / np.float32(4)

    def word(self, at: int) -> int:
        return int(self.integers(at, 1)[0]) & 0xFFFF

    def _check(self, at: int, size: int) -> None:
        if at < 0 or at + size > len(self._data):
            raise ValueError("cut short")


def parse_c3d(path: Path) -> C3d:
    """Read a file's points. Raises ``OSError``, and ValueError for a file that is damaged or something else."""
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError(f"larger than {_MAX_BYTES >> 20} MiB")
    data = path.read_bytes()
    if len(data) < 2 * _BLOCK or data[1] != _KEY:
        raise ValueError("it does not begin as a C3D file does")
    begin = (data[0] - 1) * _BLOCK
    if begin < 0 or begin + 4 > len(data):
        raise ValueError("its parameters lie outside of the file")
    numbers = _Numbers(data, data[begin + 3])
    groups = _parameters(data, begin, numbers)
    point = groups.get("POINT", {})
    labels = [text for name in ("LABELS", "LABELS2", "LABELS3") for text in _texts(point.get(name))]
    units = _texts(point.get("UNITS"))
    rate = _number(point.get("RATE"))
    fps = float(numbers.floats(20, 1)[0]) if rate is None else rate
    return C3d(_points(data, numbers, groups), labels, units[0].lower() if units else "mm", fps)


def _parameters(data: bytes, begin: int, numbers: _Numbers) -> dict[str, dict[str, Value]]:
    """All parameters by group and name, both in capitals."""
    end = min(len(data), begin + data[begin + 2] * _BLOCK)
    names: dict[int, str] = {}
    found: list[tuple[int, str, Value]] = []
    at = begin + 4
    while at + 2 <= end:
        length, group = struct.unpack_from("<bb", data, at)
        if length == 0 or group == 0:
            break
        after_name = at + 2 + abs(length)
        name = data[at + 2 : after_name].decode("latin-1").strip().upper()
        step = numbers.word(after_name)
        if group < 0:
            names[-group] = name
        else:
            found.append((group, name, _value(data, after_name + 2, numbers)))
        if step == 0:
            break
        at = after_name + step
    groups: dict[str, dict[str, Value]] = {}
    for group, name, value in found:
        groups.setdefault(names.get(group, ""), {})[name] = value
    return groups


def _value(data: bytes, at: int, numbers: _Numbers) -> Value:
    if at + 2 > len(data):
        raise ValueError("cut short")
    kind, dimensions = struct.unpack_from("<bb", data, at)
    if not 0 <= dimensions <= 7 or kind not in (_TEXT, _BYTE, _INTEGER, _FLOAT):
        raise ValueError("a parameter of an unknown kind")
    sizes = list(data[at + 2 : at + 2 + dimensions])
    at += 2 + dimensions
    count = int(np.prod(sizes, dtype=np.int64)) if sizes else 1
    if at + count * abs(kind) > len(data):
        raise ValueError("cut short")
    if kind == _TEXT:
        width = sizes[0] if sizes else 1
        texts = [data[at + place : at + place + width] for place in range(0, count, max(1, width))]
        return [text.decode("latin-1").strip("\0 ") for text in texts]
    if kind == _FLOAT:
        return numbers.floats(at, count).astype(np.float64)
    whole = np.frombuffer(data, np.int8, count, at) if kind == _BYTE else numbers.integers(at, count)
    return whole.astype(np.float64)


def _texts(value: Value | None) -> list[str]:
    return value if isinstance(value, list) else []


def _number(value: Value | None) -> float | None:
    return float(value[0]) if isinstance(value, np.ndarray) and len(value) else None


def _points(data: bytes, numbers: _Numbers, groups: dict[str, dict[str, Value]]) -> FloatArray:
    count, channels, first, last = (numbers.word(at) for at in (2, 4, 6, 8))
    begin = (numbers.word(16) - 1) * _BLOCK
    scale = float(numbers.floats(12, 1)[0])
    if not np.isfinite(scale) or scale == 0 or begin < 0:
        raise ValueError("its header does not say where or how large its points are")
    frames = last - first + 1
    if last == _HEADER_LAST:
        frames = _many_frames(groups, frames)
    size = 4 if scale < 0 else 2
    width = 4 * count + channels
    if count < 1 or frames < 1:
        raise ValueError("it holds no points")
    if begin + frames * width * size > len(data):
        raise ValueError(f"cut short: {frames} frames of {count} points are said to be in it")
    flat = numbers.floats(begin, frames * width) if scale < 0 else numbers.integers(begin, frames * width)
    table = flat.reshape(frames, width)[:, : 4 * count].reshape(frames, count, 4)
    points = table[..., :3].astype(np.float32)
    if scale > 0:
        points *= np.float32(scale)
    points[table[..., 3] < 0] = np.nan
    return points


def _many_frames(groups: dict[str, dict[str, Value]], counted: int) -> int:
    """The number of frames of a file that has more than the header can hold."""
    trial = groups.get("TRIAL", {})
    fields = [trial.get(name) for name in ("ACTUAL_START_FIELD", "ACTUAL_END_FIELD")]
    if all(isinstance(field, np.ndarray) and len(field) == 2 for field in fields):
        start, end = (int(field[0]) % 65536 + 65536 * int(field[1]) for field in fields)  # type: ignore[index]
        return end - start + 1
    stated = _number(groups.get("POINT", {}).get("FRAMES"))
    return counted if stated is None or not np.isfinite(stated) else int(stated) % (1 << 31)
