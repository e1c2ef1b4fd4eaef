"""Reading a user's SMPL files: every dialect loads, and nothing in a file is ever run."""

from __future__ import annotations

import builtins
import copyreg
import io
import os
import pickle
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from body.errors import BodyError
from body.model import BodyArrays, load_body
from body.smpl_file import read_pickle
from tests.body.smpl_like import smpl_fields


@pytest.fixture(scope="module")
def body() -> BodyArrays:
    return load_body()


def assert_same(loaded: BodyArrays, body: BodyArrays) -> None:
    for name in ("v_template", "shapedirs", "posedirs", "joint_regressor", "weights", "faces"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(body, name), err_msg=name)
    assert loaded.coco_regressor.shape == (17, 6890)
    np.testing.assert_allclose(loaded.coco_regressor.sum(1), 1, atol=1e-5)
    assert loaded.beta_limit == float("inf")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_plain_pickle_loads(body: BodyArrays, tmp_path: Path, protocol: int) -> None:
    fields = smpl_fields(body)
    if protocol < 2:  # text protocols take 30 s for the whole model
        content = pickle.dumps({"weights": fields["weights"][:9], "v": np.float64(3)}, protocol)
        np.testing.assert_array_equal(read_pickle(content, "test")["weights"], fields["weights"][:9])
        return
    path = tmp_path / "SMPL_NEUTRAL.pkl"
    path.write_bytes(pickle.dumps(fields, protocol))
    assert_same(load_body(path), body)


@pytest.mark.parametrize("kind", ["csc_matrix", "csr_matrix"])
def test_a_sparse_regressor_loads_without_scipy(
    body: BodyArrays, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    fields = smpl_fields(body)
    fields["J_regressor"] = getattr(sparse, kind)(fields["J_regressor"])
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(fields, 2))
    for name in [name for name in sys.modules if name.partition(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)
    assert_same(load_body(path), body)


@pytest.fixture
def chumpy() -> Iterator[types.SimpleNamespace]:
    """Modules that pickle as chumpy's classes do, gone again before anything is loaded by the test."""
    made: dict[str, types.ModuleType] = {}
    for module, name in (("chumpy.ch", "Ch"), ("chumpy.reordering", "Select"), ("chumpy.ch", "MatVecMult")):
        kind = type(name, (), {"__module__": module, "__getstate__": lambda self: dict(self.__dict__)})
        made.setdefault(module, types.ModuleType(module))
        setattr(made[module], name, kind)
    made["chumpy"] = types.ModuleType("chumpy")
    sys.modules.update(made)
    yield types.SimpleNamespace(
        Ch=made["chumpy.ch"].Ch, Select=made["chumpy.reordering"].Select, MatVecMult=made["chumpy.ch"].MatVecMult
    )
    for module in made:
        sys.modules.pop(module, None)


def test_a_chumpy_pickle_loads_without_chumpy(body: BodyArrays, tmp_path: Path, chumpy: types.SimpleNamespace) -> None:
    fields = smpl_fields(body)
    whole, part, lazy = chumpy.Ch(), chumpy.Select(), chumpy.MatVecMult()
    whole.x = np.concatenate([fields["shapedirs"], np.ones((6890, 3, 5))], -1)
    part.a, part.idxs, part.preferred_shape = (
        whole,
        np.arange(whole.x.size).reshape(whole.x.shape)[..., :10].ravel(),
        (6890, 3, 10),
    )
    wrapped = chumpy.Ch()
    wrapped.x = fields["v_template"]
    fields |= {"shapedirs": part, "v_template": wrapped, "J": lazy, "bs_style": "lbs"}
    path = tmp_path / "basicmodel.pkl"
    path.write_bytes(pickle.dumps(fields, 2))
    for name in ("chumpy", "chumpy.ch", "chumpy.reordering"):
        sys.modules.pop(name)
    assert_same(load_body(path), body)


def test_a_python_2_pickle_loads() -> None:
    """Protocol 2 as Python 2 wrote it: names of old modules, byte strings for text and for the array's data."""
    data = np.arange(3, dtype="<f8").tobytes()
    content = (
        b"\x80\x02}U\x01vcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x03\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U" + bytes([len(data)]) + data + b"tbs."
    )
    np.testing.assert_array_equal(read_pickle(content, "test")["v"], [0, 1, 2])


class Calls:
    """Pickles as the call ``function(*arguments)``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.call


def gadgets(mark: Path) -> dict[str, bytes]:
    """Pickles that create ``mark`` when they are loaded carelessly."""
    code = f"open({str(mark)!r}, 'w').close()"
    touch = f"touch '{mark}'"
    numpy_save = Calls(np.save, str(mark), np.zeros(1))
    inner = io.BytesIO()
    np.save(inner, np.array([Calls(os.system, touch)], object), allow_pickle=True)
    named = {
        "os.system": pickle.dumps(Calls(os.system, touch)),
        "builtins.eval": pickle.dumps(Calls(builtins.eval, code)),
        "builtins.exec": pickle.dumps(Calls(builtins.exec, code)),
        "builtins.getattr": pickle.dumps(Calls(getattr, "", "format")),
        "numpy.save": pickle.dumps({"v_template": numpy_save}),
        "numpy.memmap": pickle.dumps(Calls(np.memmap, str(mark), "u1", "w+", 0, (4,))),
        "numpy's nested pickle": pickle.dumps(Calls(np.load, str(mark))),
        "copyreg of another class": pickle.dumps(Calls(copyreg._reconstructor, types.SimpleNamespace, object, None)),  # type: ignore[attr-defined]
        "old spelling": b"cos\nsystem\n(S'" + touch.replace("'", "").encode() + b"'\ntR.",
        "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.tofile.x\x93.",
        "runstring": b"cnumpy.testing._private.utils\nrunstring\n(S'" + b"1" + b"'\n}tR.",
        "codecs": pickle.dumps(Calls(__import__("codecs").decode, b"6869", "hex")),
    }
    return {**named, "object array": inner.getvalue()}


@pytest.mark.parametrize("name", sorted(gadgets(Path("x"))))
def test_a_malicious_file_is_refused_and_nothing_runs(tmp_path: Path, name: str) -> None:
    mark = tmp_path / "ran"
    content = gadgets(mark)[name]
    if name == "object array":
        path = tmp_path / "evil.npz"
        import zipfile

        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("J_regressor.npy", content)
    else:
        path = tmp_path / "evil.pkl"
        path.write_bytes(content)
    with pytest.raises(BodyError, match="refused") as caught:
        load_body(path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("ran*"))


def test_the_gadgets_are_real(tmp_path: Path) -> None:
    """Without the allow-list one of these pickles does run: the test above tests something."""
    mark = tmp_path / "ran"
    pickle.loads(gadgets(mark)["os.system"])
    assert mark.exists()


def test_an_object_array_inside_an_npz_goes_through_the_allow_list(body: BodyArrays, tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    fields = smpl_fields(body)
    regressor = np.empty((), object)
    regressor[()] = sparse.csc_matrix(fields["J_regressor"])
    path = tmp_path / "smpl.npz"
    np.savez(path, **{**fields, "J_regressor": regressor})
    assert_same(load_body(path), body)
