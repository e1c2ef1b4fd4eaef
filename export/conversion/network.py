"""One network of the pipeline, as the conversions take it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PipelineNetwork:
    """One network of the pipeline.

    ``name`` is that of the shipped model or the file, or "body"; ``kind`` as in `engines.manifest.ModelFile`, or "body";
    ``data`` its float32 ONNX model; ``model`` what ``run_camera.py`` knows it by, where it is not the name.
    """

    name: str
    kind: str
    data: bytes
    model: str = ""
