"""Put a finished model into a folder of shipped models, together with its row of the manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common.files import write_bytes_atomically, write_text_atomically
from engines.manifest import MANIFEST_FILE, Origin, shipped_models


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the manifest says of a model beside its file's size and hash; see `engines.manifest.ModelFile`."""

    name: str
    """What options and messages call it."""
    kind: str
    """What it is for: "keypoints", "detector", "flow" or "regressor"."""
    origin: Origin | None
    """The package that it was made from; None where it was trained by this project."""
    licence: str
    """SPDX identifier of its terms."""
    command: str
    """The command that made it."""
    notes: str
    """Its inputs and outputs in words."""
    weights: str = ""
    """Name of the model in the same folder whose file holds the weights, too; empty where its own does."""


def completed(card: ModelCard, folder: Path) -> ModelCard:
    """``card`` with the command and the notes of its row in the manifest of ``folder``, where it has none itself."""
    manifest = folder / MANIFEST_FILE.name
    row = shipped_models(manifest).get(card.name) if manifest.exists() else None
    return replace(card, command=card.command or row.command, notes=card.notes or row.notes) if row else card


def ship(card: ModelCard, data: bytes, folder: Path) -> Path:
    """Write ``data`` to ``folder/<name>.onnx`` and its row to the manifest there; other rows stay. Returns the path.

    Each file appears whole or not at all. The model goes first: if the program ends between the two, the old manifest
    refuses the new model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{card.name}.onnx"
    row = {
        "name": card.name,
        "file": path.name,
        "kind": card.kind,
        "origin": asdict(card.origin) if card.origin else None,
        "licence": card.licence,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "command": card.command,
        "notes": card.notes,
    }
    if card.weights:
        row["weights"] = card.weights
    manifest = folder / MANIFEST_FILE.name
    rows: list[dict[str, Any]] = json.loads(manifest.read_text(encoding="utf-8"))["models"] if manifest.exists() else []
    places = [place for place, other in enumerate(rows) if other["name"] == card.name]
    if places:
        rows[places[0]] = row
    else:
        rows.append(row)
    write_bytes_atomically(path, data)
    write_text_atomically(manifest, json.dumps({"models": rows}, indent=2, ensure_ascii=False) + "\n")
    return path
