"""Writing models with their manifest, the pinned packages, and the parity table."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from engines.manifest import Origin, shipped_models
from export.manifest import ModelCard, completed, ship
from export.pretrained import __main__ as command
from export.pretrained.parity import compare_with_source, sample_images
from export.pretrained.recipes import RECIPES
from export.pretrained.sources import Member, Package, SourceError, fetch, read_members


def card(name: str, notes: str = "") -> ModelCard:
    return ModelCard(name, "keypoints", Origin("npm:x", "1.0", "x.json"), "MIT", "make it", notes)


def test_shipping_adds_and_replaces_rows(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    for name, data, notes in (("a", b"one", ""), ("b", b"two", ""), ("a", b"three", "better")):
        ship(card(name, notes), data, folder)
    models = shipped_models(folder / "manifest.json")
    assert list(models) == ["a", "b"]
    assert models["a"].read() == b"three"
    assert models["a"].notes == "better"
    assert models["a"].origin == Origin("npm:x", "1.0", "x.json")
    assert {path.name for path in folder.iterdir()} == {"a.onnx", "b.onnx", "manifest.json"}


def test_what_a_new_file_does_not_say_of_itself_stays_as_it_was(tmp_path: Path) -> None:
    assert completed(card("a"), tmp_path) == card("a")
    ship(card("a", "of the old file"), b"one", tmp_path)
    bare = replace(card("a"), command="")
    assert completed(bare, tmp_path) == card("a", "of the old file")
    assert completed(card("a", "of the new file"), tmp_path).notes == "of the new file"
    assert completed(replace(bare, name="b"), tmp_path) == replace(bare, name="b")


def packed(folder: Path, content: bytes) -> Path:
    (folder / "model.bin").write_bytes(content)
    path = folder / "scope-thing-1.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder / "model.bin", "package/model.bin")
    return path


def test_archive_and_members_are_checked(tmp_path: Path) -> None:
    archive = packed(tmp_path, b"weights")
    package = Package("@scope/thing", "1.0", hashlib.sha256(archive.read_bytes()).hexdigest())
    good = Member(package, "package/model.bin", hashlib.sha256(b"weights").hexdigest())
    assert read_members((good,), tmp_path) == {"package/model.bin": b"weights"}
    with pytest.raises(SourceError, match=r"package/model.bin is not the pinned file"):
        read_members((Member(package, good.path, "0" * 64),), tmp_path)
    with pytest.raises(SourceError, match=r"scope-thing-1.0.tgz holds no package/other.bin"):
        read_members((Member(package, "package/other.bin", ""),), tmp_path)
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(SourceError, match=r"scope-thing-1.0.tgz is not the pinned file"):
        fetch(package, tmp_path)


def test_npm_missing_or_failing_gives_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = Package("@scope/thing", "1.0", "0" * 64)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(SourceError, match="install Node"):
        fetch(package, tmp_path / "cache")
    monkeypatch.setattr(shutil, "which", lambda name: name)
    failed = subprocess.CompletedProcess([], 1, "", "npm error code\nnpm error 404 not found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(SourceError) as caught:
        fetch(package, tmp_path / "cache")
    assert str(caught.value) == "npm cannot download @scope/thing@1.0: npm error 404 not found"


def test_comparison_finds_the_greatest_difference() -> None:
    images = sample_images(32)
    assert all(image.shape == (32, 32, 3) and image.dtype == np.uint8 for image in images.values())
    differences = compare_with_source(
        lambda feeds: {"y": feeds["x"]},
        lambda feeds: {"y": feeds["x"] + np.eye(32)[..., None] * 0.5},
        lambda image: {"x": image.astype(np.float32)},
        images,
    )
    assert [difference.image for difference in differences] == list(images)
    for difference in differences:
        assert difference.greatest == pytest.approx(0.5)
        assert difference.mean == pytest.approx(0.5 / 32)
    assert len(command.differences_table(differences).splitlines()) == 1 + len(images)


def test_missing_conversion_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_NEEDED", ("no_such_package",))
    with pytest.raises(UserError, match=r"pip install -r export/pretrained/requirements\.txt") as caught:
        command.main()
    assert "\n" not in str(caught.value)


def test_only_shipped_models_can_be_made() -> None:
    with pytest.raises(UserError, match="no recipe for movenet-storm: choose from movenet-"):
        command.main(models="movenet-lightning,movenet-storm")


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_matches_what_is_shipped(name: str) -> None:
    shipped, made = shipped_models()[name], RECIPES[name].card
    assert (shipped.kind, shipped.origin, shipped.licence) == (made.kind, made.origin, made.licence)
    assert (shipped.command, shipped.notes) == (made.command, made.notes)
