"""Animations: what is written is what was drawn, and the gallery's are small and in the manifest."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest

from common.errors import UserError
from tools.gallery import ASSETS, PIECES, gallery
from tools.gif import write_gif

MANIFEST = json.loads((ASSETS / "manifest.json").read_text(encoding="utf-8"))


def test_an_animation_has_the_images_and_their_rate(tmp_path: Path) -> None:
    images = [np.full((20, 30, 3), (40 * index, 120, 255 - 40 * index), np.uint8) for index in range(6)]
    write_gif(tmp_path / "x.gif", images, rate=10)
    with av.open(str(tmp_path / "x.gif")) as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 6
    np.testing.assert_allclose(np.diff([frame.time for frame in frames]), 0.1, atol=0.011)
    for frame, image in zip(frames, images, strict=True):
        np.testing.assert_allclose(frame.to_ndarray(format="bgr24")[5:15, 5:25].mean((0, 1)), image[0, 0], atol=12)
    with pytest.raises(ValueError, match="needs images"):
        write_gif(tmp_path / "x.gif", [], rate=10)


def test_every_asset_is_in_the_manifest_with_its_hash() -> None:
    files = {
        path.relative_to(ASSETS).as_posix() for path in ASSETS.rglob("*") if path.suffix not in (".txt", ".json", "")
    }
    assert files == set(MANIFEST)
    for name, row in MANIFEST.items():
        assert hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() == row["sha256"], name


def test_an_animation_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no animation nowhere: give --only one of demo, gallery/panes"):
        gallery(tmp_path, ["demo", "nowhere"])


def test_the_gallery_is_small_and_shown_on_its_page() -> None:
    page, first = ((ASSETS.parent / name).read_text(encoding="utf-8") for name in ("docs/gallery.md", "README.md"))
    sizes = [(ASSETS / f"{piece.name}.gif").stat().st_size for piece in PIECES]
    assert max(sizes) < 2_000_000
    assert sum(sizes) < 5_000_000
    for piece in PIECES:
        assert f"](../assets/{piece.name}.gif)" in page or f"](assets/{piece.name}.gif)" in first
