"""Damaged and hostile bytes for tests of readers: whatever a file holds, a reader reads it or ends with an error for the
user, in little memory."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from common.errors import UserError

MAX_BYTES = 200e6
"""What reading a file of one or two megabytes may take."""

few = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "15")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""Few examples by default; ``make fuzz EXAMPLES=2000`` tries more."""


@st.composite
def damaged(draw: st.DrawFn, whole: bytes, words: tuple[bytes, ...] = ()) -> bytes:
    """``whole`` with bytes changed, left out, doubled or cut off, or with one of ``words`` in their place."""
    data = bytearray(whole)
    kinds = ("change", "cut", "leave out", "double", "zero", *(("word",) if words else ()))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        kind = draw(st.sampled_from(kinds))
        length = draw(st.integers(1, 40))
        if kind == "change":
            data[place : place + 1] = bytes([draw(st.integers(0, 255))])
        elif kind == "cut":
            del data[place:]
        elif kind == "leave out":
            del data[place : place + length]
        elif kind == "double":
            data[place:place] = data[place : place + length]
        elif kind == "word":
            data[place : place + draw(st.integers(0, 8))] = draw(st.sampled_from(words))
        else:
            data[place : place + length] = bytes(len(data[place : place + length]))
    return bytes(data)


@st.composite
def reworded(draw: st.DrawFn, whole: str) -> str:
    """The text ``whole`` with some of its words replaced by numbers that are no good, other words of it, or nothing."""
    lines = [line.split(" ") for line in whole.splitlines()]
    known = sorted({word for line in lines for word in line if word})
    bad = ["nan", "inf", "-1", "0", "1e308", "1e-320", "1e400", "999999999", "-999999999", "1_0", "²", "", "{", "}"]
    for _ in range(draw(st.integers(1, 5))):
        line = draw(st.sampled_from(lines))
        place = draw(st.integers(0, len(line) - 1))
        line[place] = draw(st.sampled_from(bad) | st.sampled_from(known))
    if draw(st.booleans()):
        del lines[draw(st.integers(0, len(lines) - 1))]
    return "\n".join(" ".join(line) for line in lines)


def zip_of_zeros(shape: tuple[int, ...], really: int, name: str = "frame") -> bytes:
    """An .npz whose array ``name`` says it has ``shape`` and has ``really`` zero bytes, packed."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:  # noqa: SIM117
        with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            file.write(header.getvalue())
            for _ in range(really // (1 << 20)):
                file.write(bytes(1 << 20))
    return packed.getvalue()


@contextmanager
def little_memory(max_bytes: float = MAX_BYTES) -> Iterator[None]:
    """Fails where what is inside takes more memory at one time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < max_bytes, f"{peak / 1e6:.0f} MB"


def refuses(read: Callable[[Path], object], path: Path, match: str = ".") -> None:
    """Fails unless ``read`` refuses ``path`` with one line for the user, in little memory."""
    with little_memory(), pytest.raises(UserError, match=match) as caught:
        read(path)
    assert len(str(caught.value)) < 600
    assert "allow_pickle" not in str(caught.value)
