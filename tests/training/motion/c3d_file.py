"""C3D files of every kind that the format knows, written straight from its description (c3d.org)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

from common.arrays import AnyArray

INTEL, DEC, MIPS = 84, 85, 86


def c3d_file(
    points: AnyArray, labels: Sequence[str], *, processor: int = INTEL, whole_numbers: bool = False,
    fps: float = 120.0, channels: int = 0,
) -> bytes:  # fmt: skip
    """The bytes of a file with points (N, K, 3), NaN where one is not seen, and ``channels`` analogue values a frame."""
    order = ">" if processor == MIPS else "<"
    scale = 0.1 if whole_numbers else -1.0

    def real(*values: float) -> bytes:
        if processor != DEC:
            return np.array(values, f"{order}f4").tobytes()
        return (np.array(values, "<f4") * 4).view("<u2").reshape(-1, 2)[:, ::-1].astype("<u2").tobytes()

    def whole(*values: int) -> bytes:
        return np.array(values, np.int64).astype(f"{order}u2").tobytes()

    def named(name: str, group: int, content: bytes) -> bytes:
        return struct.pack("<bb", len(name), group) + name.encode() + whole(len(content) + 2) + content

    def parameter(name: str, kind: int, sizes: Sequence[int], data: bytes) -> bytes:
        return named(name, 1, struct.pack("<bB", kind, len(sizes)) + bytes(sizes) + data + b"\0")

    width = max(map(len, labels))
    texts = "".join(label.ljust(width) for label in labels).encode()
    section = b"".join(
        (
            named("POINT", -1, b"\0"),
            parameter("USED", 2, (), whole(points.shape[1])),
            parameter("FRAMES", 2, (), whole(len(points))),
            parameter("SCALE", 4, (), real(scale)),
            parameter("RATE", 4, (), real(fps)),
            parameter("UNITS", -1, (2,), b"mm"),
            parameter("LABELS", -1, (width, len(labels)), texts),
        )
    )
    blocks = -(-(len(section) + 6) // 512)
    parameters = (bytes((1, 80, blocks, processor)) + section).ljust(512 * blocks, b"\0")
    count = points.shape[1]
    header = (
        bytes((2, 80)) + whole(count, channels, 1, len(points), 10) + real(scale) + whole(2 + blocks, 1) + real(fps)
    )
    seen = np.isfinite(points).all(-1, keepdims=True)
    rows = np.concatenate([np.where(seen, points, 0), np.where(seen, 0.0, -1.0)], -1).reshape(len(points), -1)
    rows = np.concatenate([rows, np.full((len(rows), channels), 7.0)], 1)
    if whole_numbers:
        steps = np.where(np.arange(rows.shape[1]) % 4 == 3, 1, 1 / scale)
        data = whole(*np.rint(rows * steps).astype(int).ravel())
    else:
        data = real(*rows.ravel())
    return header.ljust(512, b"\0") + parameters + data.ljust(-(-len(data) // 512) * 512, b"\0")
