"""Bodies from strangers: small files that would take gigabytes, and damaged ones."""

from __future__ import annotations

import contextlib
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from body.errors import BodyError
from body.model import DATA, load_body
from body.smpl_file import read_pickle, read_smpl_npz
from tests.body.smpl_like import smpl_fields
from tests.foreign import damaged, few, little_memory, refuses

ARRAY = pickle.dumps({"v_template": np.zeros((4, 3)), "f": np.zeros((2, 3), np.uint32), "x": np.float64(3)}, protocol=2)


def nested(depth: int, width: int) -> list[Any]:
    """A list of lists that hold one another ``width`` times: ``width`` ** ``depth`` numbers in a few bytes."""
    inner: list[Any] = [0.0] * width
    for _ in range(depth - 1):
        inner = [inner] * width
    return inner


def endless() -> list[Any]:
    itself: list[Any] = []
    itself.append(itself)
    return itself


class Sparse:
    """Pickles as scipy's matrix with any members."""

    def __init__(self, **state: object) -> None:
        self.__dict__.update(state)


def as_scipy(matrix: Sparse) -> bytes:
    """The pickle of a body whose regressor is ``matrix``."""
    content = pickle.dumps({"J_regressor": matrix, "v_template": matrix}, 2)
    name = f"c{Sparse.__module__}\n{Sparse.__qualname__}\n".encode()
    assert name in content
    return content.replace(name, b"cscipy.sparse.csc\ncsc_matrix\n")


def field(inside: bytes) -> bytes:
    """A pickle of protocol 2: a dictionary whose ``v_template`` is what ``inside`` makes."""
    return b"\x80\x02}X\x0a\x00\x00\x00v_template" + inside + b"s."


_NDARRAY = b"cnumpy\nndarray\n"
_SHAPE = b"(" + b"J" + struct.pack("<i", 2**31 - 1) + b"t"
BOMBS: dict[str, bytes] = {
    "lists of the same list": pickle.dumps({"v_template": nested(10, 10)}, 2),
    "a list in itself": pickle.dumps({"v_template": endless()}, 2),
    "a name of lists": b"\x80\x02}" + pickle.dumps(nested(5, 3), 2)[2:-1].replace(b"]", b")") + b"K\x01s.",
    "a place far out in the memo": field(b"K\x01r\xff\xff\xff\x0f"),
    "the same as a text": field(b"K\x01p999999999\n"),
    "bytes of gigabytes": b"\x80\x04\x8e" + struct.pack("<Q", 8 << 30) + b"x.",
    "an array of its own": field(_NDARRAY + b"(" + _SHAPE + b"U\x02f8tR"),
    "an array of its own, the other way": field(_NDARRAY + b"(" + _SHAPE + b"U\x02f8t\x81"),
    "a number without bytes": field(
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(U\x0aV999999999K\x00K\x01tRtR"
    ),
    "sets": b"\x80\x04]" + b"\x8f0" * 700_000 + b".",
    "a large sparse matrix": as_scipy(
        Sparse(data=np.zeros(1), indices=np.zeros(1, int), indptr=np.array([0, 1]), _shape=(10**5, 10**5))
    ),
    "pointers that lie": as_scipy(
        Sparse(data=np.zeros(1), indices=np.zeros(1, int), indptr=np.array([0, 10**10]), _shape=(3, 3))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_small_pickles_take_little_memory(tmp_path: Path, name: str) -> None:
    path = tmp_path / "body.pkl"
    path.write_bytes(BOMBS[name])
    assert path.stat().st_size < 1_500_000
    refuses(load_body, path)


def test_many_sparse_matrices_count_together(tmp_path: Path) -> None:
    one = Sparse(data=np.zeros(1), indices=np.zeros(1, int), indptr=np.array([0, 1]), _shape=(1500, 1500))
    content = pickle.dumps({str(number): one for number in range(100)}, 2)
    name = f"c{Sparse.__module__}\n{Sparse.__qualname__}\n".encode()
    (tmp_path / "body.pkl").write_bytes(content.replace(name, b"cscipy.sparse.csc\ncsc_matrix\n"))
    refuses(load_body, tmp_path / "body.pkl", match="huge")


def test_chumpy_in_chumpy_in_chumpy(tmp_path: Path) -> None:
    content = field(b"cchumpy\nCh\n)\x81}X\x01\x00\x00\x00x" * 5000 + b"K\x01" + b"sb" * 5000)
    (tmp_path / "body.pkl").write_bytes(content)
    refuses(load_body, tmp_path / "body.pkl", match="not an SMPL body")


def test_a_number_too_large_for_an_array(tmp_path: Path) -> None:
    fields = smpl_fields(load_body()) | {"v_template": 10**400}
    (tmp_path / "body.pkl").write_bytes(pickle.dumps(fields, 2))
    refuses(load_body, tmp_path / "body.pkl")
    (tmp_path / "format.pkl").write_bytes(pickle.dumps({"format": 10**5000}, 2))
    refuses(load_body, tmp_path / "format.pkl")


def test_a_packed_body_of_millions_of_vertices(tmp_path: Path) -> None:
    with np.load(DATA / "body_1722.npz") as archive:
        entries = dict(archive)
    entries["v_template"] = np.zeros((3_000_000, 3), np.float16)
    np.savez_compressed(tmp_path / "body.npz", **entries)
    assert (tmp_path / "body.npz").stat().st_size < 1_500_000
    refuses(load_body, tmp_path / "body.npz", match="vertices")


def test_what_is_allowed_is_read_all_the_same() -> None:
    fields = {"a": [1.0, [2.0, 3.0]], "b": np.float32(2.5), "c": np.arange(3), "d": {"e": (1, "x")}, 3: "no text"}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        read = read_pickle(pickle.dumps(fields, protocol), "test")
        assert (read["a"], read["b"], read["d"]) == ([1.0, [2.0, 3.0]], 2.5, {"e": (1, "x")})
        assert type(read["b"]) is np.float32
        np.testing.assert_array_equal(read["c"], [0, 1, 2])
        assert set(read) == {"a", "b", "c", "d"}


def loads(read: Callable[[bytes, str], object], content: bytes) -> None:
    """Fails where ``read`` takes much memory or fails in another way than it says."""
    with little_memory(), contextlib.suppress(BodyError):
        read(content, "body")


@few
@given(
    damaged(ARRAY, (b"cnumpy\nndarray\n", b"h\x00", b"r\xff\xff\xff\x00", b"(", b"t", b"R", b"\x81", b"b", b"]", b"}"))
)
def test_damaged_pickles(content: bytes) -> None:
    loads(read_pickle, content)


@few
@given(st.data())
def test_damaged_bodies(data: st.DataObject) -> None:
    loads(read_smpl_npz, data.draw(damaged((DATA / "body_1722.npz").read_bytes())))
