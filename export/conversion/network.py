"""One network of the pipeline, as the conversions take it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PipelineNetwork:
    """One network of the pipeline."""

    name: str
    """That of the shipped model or the file, or "body"."""
    kind: str
    """Kind as in `engines.manifest.ModelFile`, or "body"."""
    data: bytes
    """Its float32 ONNX model."""
    model: str = ""
    """What ``run_camera.py`` knows it by, where it is not the name."""
