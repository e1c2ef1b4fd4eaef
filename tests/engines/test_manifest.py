"""The shipped models are whole, and a damaged one is found out."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engines.engine import EngineError
from engines.manifest import MODELS_FOLDER, resolve, shipped_models

NAMES = ["movenet-lightning", "movenet-thunder", "movenet-multipose"]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copy(MODELS_FOLDER / "manifest.json", tmp_path)
    shutil.copy(MODELS_FOLDER / "movenet-lightning.onnx", tmp_path)
    return tmp_path


def error_of(folder: Path) -> str:
    with pytest.raises(EngineError) as caught:
        shipped_models(folder / "manifest.json")["movenet-lightning"].read()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_models_are_whole_and_say_where_they_come_from(name: str) -> None:
    file = resolve(name)
    assert file.shipped
    assert file.read()[:1] == b"\x08"
    assert file.origin is not None
    assert file.origin.package.startswith("npm:")
    assert file.licence == "Apache-2.0"
    assert file.command.startswith("python -m export.pretrained")


def test_every_shipped_file_is_in_the_manifest() -> None:
    assert {path.name for path in MODELS_FOLDER.glob("*.onnx")} == {
        model.path.name for model in shipped_models().values()
    }


def test_changed_file(copy: Path) -> None:
    path = copy / "movenet-lightning.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert error_of(copy).startswith(
        "movenet-lightning.onnx is damaged (sha256 differs): "
        "restore it with `git checkout -- engines/models/movenet-lightning.onnx`"
    )


def test_cut_file(copy: Path) -> None:
    path = copy / "movenet-lightning.onnx"
    path.write_bytes(path.read_bytes()[:1000])
    assert "is damaged (1000 bytes instead of" in error_of(copy)


def test_missing_file(copy: Path) -> None:
    (copy / "movenet-lightning.onnx").unlink()
    assert "movenet-lightning.onnx is missing: restore it with" in error_of(copy)


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"models": [{"name": "x"}]}), json.dumps({"models": 3})])
def test_damaged_manifest(copy: Path, text: str) -> None:
    (copy / "manifest.json").write_text(text)
    with pytest.raises(EngineError, match=r"manifest.json is damaged: restore it with"):
        shipped_models(copy / "manifest.json")


def test_own_file_is_taken_unchecked(copy: Path) -> None:
    file = resolve(copy / "movenet-lightning.onnx")
    assert not file.shipped
    assert file.name == "movenet-lightning"
    assert file.read()


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"there is no model 'movenet': .* movenet-lightning, movenet-thunder"):
        resolve("movenet")
    with pytest.raises(EngineError, match="there is no file"):
        resolve(tmp_path / "mine.onnx")
    (tmp_path / "mine.tflite").touch()
    with pytest.raises(EngineError, match="only ONNX models"):
        resolve(tmp_path / "mine.tflite")
