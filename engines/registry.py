"""Open a model by its name or path in the runtime that was asked for, or in the fastest that is there."""

from __future__ import annotations

import platform
from contextlib import suppress
from pathlib import Path

from engines.device import describe_device
from engines.engine import Engine, EngineError, RuntimeMissingError
from engines.manifest import resolve
from engines.openvino_cpu import OpenVinoEngine
from engines.ort import OnnxRuntimeEngine

__all__ = ["RUNTIMES", "describe_device", "open_engine"]

RUNTIMES = ("auto", "tensorrt", "onnxruntime", "openvino")

_CPU_ENGINES: dict[str, type[OpenVinoEngine] | type[OnnxRuntimeEngine]] = {
    OpenVinoEngine.runtime: OpenVinoEngine,
    OnnxRuntimeEngine.runtime: OnnxRuntimeEngine,
}


def open_engine(model: str | Path, runtime: str = "auto", threads: int = 1) -> Engine:
    """Load ``model``, the name of a shipped model or the path of an ``.onnx`` file.

    ``runtime`` is one of `RUNTIMES`; with ``auto`` the engine's `Engine.runtime` and `Engine.device` say what was
    chosen. ``threads`` is the number of CPU cores that one inference uses; the default is one, for the stages of the
    pipeline already run side by side. Raises `EngineError`.
    """
    if runtime not in RUNTIMES:
        raise EngineError(f"unknown engine '{runtime}': choose one of {', '.join(RUNTIMES)}")
    if threads < 1:
        raise EngineError(f"an engine needs at least one thread, not {threads}")
    if runtime == "tensorrt":
        raise EngineError("TensorRT engines are not part of this version: use --engine auto")
    file = resolve(model)
    # A shipped model is handed over as the very bytes that were checked.
    source = file.read() if file.shipped else file.path
    if runtime != "auto":
        return _CPU_ENGINES[runtime](source, threads=threads, label=file.path.name)
    for name in _fastest_first():
        with suppress(RuntimeMissingError):
            return _CPU_ENGINES[name](source, threads=threads, label=file.path.name)
    raise RuntimeMissingError("no engine runtime is installed: pip install onnxruntime")


def _fastest_first() -> tuple[str, ...]:
    # OpenVINO leads on the largest share of the work, MoveNet, on the x86 CPUs it was measured on; the others tie or
    # cost little. Elsewhere it is neither installed by this program nor measured.
    if platform.machine().lower() in ("x86_64", "amd64"):
        return (OpenVinoEngine.runtime, OnnxRuntimeEngine.runtime)
    return (OnnxRuntimeEngine.runtime,)
