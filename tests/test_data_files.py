"""Every model, image and data file of the project says where it is from, under which licence, and how it was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("assets", "body", "common", "docs", "engines", "export", "formats", "realtime", "tests", "tools", "training")
ENDINGS = {".npz", ".npy", ".onnx", ".jpg", ".png", ".gif", ".mp4", ".bin", ".pt", ".glb", ".bvh"}


def data_files() -> Iterator[Path]:
    for room in ROOMS:
        yield from (path for path in sorted((ROOT / room).rglob("*")) if path.suffix in ENDINGS)


def manifest_rows() -> dict[Path, dict[str, Any]]:
    rows: dict[Path, dict[str, Any]] = {}
    for room in ROOMS:
        for manifest in (ROOT / room).rglob("manifest.json"):
            listed = json.loads(manifest.read_text(encoding="utf-8"))
            named = {row["file"]: row for row in listed["models"]} if "models" in listed else listed
            rows |= {manifest.parent / name: row for name, row in named.items()}
    return rows


def test_every_data_file_has_a_row_with_its_hash() -> None:
    rows, files = manifest_rows(), list(data_files())
    assert len(files) > 30
    assert [str(path.relative_to(ROOT)) for path in files if path not in rows] == []
    for path, row in rows.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"], path
        assert "origin" in row, path  # empty for what was trained here
        assert row["licence"], path
        assert row["command"], path
