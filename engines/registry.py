"""Open a model by its name or path in the runtime that was asked for, or in the fastest that is there."""

from __future__ import annotations

import logging
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from engines.choices import RUNTIMES
from engines.cuda.packages import open_cuda
from engines.engine import Engine, EngineError, RuntimeMissingError
from engines.manifest import ModelFile, resolve
from engines.openvino_cpu import OpenVinoEngine
from engines.ort import OnnxRuntimeEngine
from engines.plan_builds import cached_plan, obtain_plan
from engines.plans import PlanPolicy
from engines.tensorrt import Part, PlanRefusedError, TensorRtEngine
from engines.tensorrt_api import load_tensorrt

_LOG = logging.getLogger(__name__)


class LinkedModel(NamedTuple):
    """One model of those that `open_linked` opens as a single engine."""

    model: str | Path | bytes
    """A shipped model's name, a path, or a file's contents."""
    plans: PlanPolicy
    """Which plans may be used for it."""
    label: str = "model"
    """What errors and plans call a model that is given by its contents."""


def open_engine(
    model: str | Path | bytes,
    runtime: str = "auto",
    threads: int = 1,
    plans: PlanPolicy | None = None,
    label: str = "model",
    urgent: bool = False,
    bf16: bool = False,
) -> Engine:
    """Load a model in a runtime.

    ``model`` is the name of a shipped model, the path of an ``.onnx`` file, or such a file's contents, which errors and
    plans call ``label``.

    ``runtime`` is one of `RUNTIMES`; with ``auto`` the engine's `Engine.runtime` and `Engine.device` say what was
    chosen: TensorRT where it runs, else the fastest on the CPU. ``threads`` is the number of CPU cores that one
    inference uses; the default is one, for the stages of the pipeline already run side by side. ``plans`` says which
    TensorRT plans may be used. A GPU takes the work of an ``urgent`` engine first. ``bf16`` lets OpenVINO compute in bfloat16;
    other runtimes know no such thing. Raises `EngineError`.
    """
    if runtime not in RUNTIMES:
        raise EngineError(f"unknown engine '{runtime}': choose one of {', '.join(RUNTIMES)}")
    if threads < 1:
        raise EngineError(f"an engine needs at least one thread, not {threads}")
    plans = plans or PlanPolicy()
    source: bytes | Path
    if isinstance(model, bytes):
        file, source = ModelFile(label, Path(label)), model
    else:
        file = resolve(model)
        # A shipped model is passed as the bytes that were checked.
        source = file.read() if file.shipped else file.path
    if runtime == "tensorrt":
        return _open_tensorrt(file, source, plans, urgent)
    if runtime != "auto":
        return _open_on_cpu(runtime, source, threads, file.path.name, bf16)
    if not why_no_tensorrt():
        try:
            return _open_tensorrt(file, source, plans, urgent)
        except EngineError as error:
            _LOG.warning(f"{error}: {file.name} runs on the CPU")
    for name in _fastest_first(file.kind):
        with suppress(RuntimeMissingError):
            return _open_on_cpu(name, source, threads, file.path.name, bf16)
    raise RuntimeMissingError("no engine runtime is installed: pip install onnxruntime")


def open_linked(
    models: Sequence[LinkedModel],
    links: Mapping[str, str],
    inside: Collection[str] = (),
    urgent: bool = False,
    leaves: tuple[str, int] | None = None,
) -> TensorRtEngine:
    """Load models as one TensorRT engine that runs them one after the other; ``links``, ``inside``, ``urgent`` and ``leaves``
    as `TensorRtEngine` takes them. Raises `EngineError`."""
    load_tensorrt()
    open_cuda()  # checked before minutes are spent on plans that cannot run here

    def parts(force: bool) -> list[Part]:
        found = []
        for each in models:
            if isinstance(each.model, bytes):
                file, source = ModelFile(each.label, Path(each.label)), each.model
            else:
                file = resolve(each.model)
                source = file.read()
            plan, contents = obtain_plan(source, file.name, each.plans, force=force, holds_fp16=_holds_fp16(file))
            found.append(Part(contents, file.path.name, plan.precision, plan.options.dla))
        return found

    try:
        return TensorRtEngine(parts(force=False), links=links, inside=inside, urgent=urgent, leaves=leaves)
    except PlanRefusedError as error:
        _LOG.warning(f"{error}: building it anew")
    return TensorRtEngine(parts(force=True), links=links, inside=inside, urgent=urgent, leaves=leaves)


def why_no_tensorrt() -> str:
    """What TensorRT lacks on this machine, in one line; empty when it runs."""
    try:
        load_tensorrt()
        open_cuda()
    except EngineError as error:
        return str(error)
    return ""


def announce_builds(models: Iterable[str | Path], runtime: str, policy: PlanPolicy) -> None:
    """Log which engines of ``models`` TensorRT has ready and which will be built, where any will be.

    Does nothing where ``runtime`` does not lead to TensorRT, and for int8, which only export.engines builds. Raises
    `EngineError` for an unknown or damaged model.
    """
    if runtime not in ("auto", "tensorrt") or policy.precision == "int8" or why_no_tensorrt():
        return
    files = [resolve(model) for model in models]
    there = {file.name for file in files if cached_plan(file.read(), policy) is not None}
    missing = [file.name for file in files if file.name not in there]
    if missing:
        ready = f"; {', '.join(sorted(there))} ready" if there else ""
        _LOG.info(f"TensorRT engines to build, once for this machine: {', '.join(missing)}{ready}")


def _holds_fp16(file: ModelFile) -> bool:
    """Whether a network keeps its numbers in float16: the shipped ones do (docs/results/precision.md)."""
    return file.shipped


def _open_tensorrt(file: ModelFile, source: bytes | Path, policy: PlanPolicy, urgent: bool) -> TensorRtEngine:
    load_tensorrt()
    open_cuda()  # checked before minutes are spent on a plan that cannot run here
    plan, contents = obtain_plan(source, file.name, policy, holds_fp16=_holds_fp16(file))
    label = file.path.name
    try:
        return TensorRtEngine(contents, label=label, precision=plan.precision, dla=plan.options.dla, urgent=urgent)
    except PlanRefusedError as error:
        if not plan.reused or plan.precision == "int8":
            raise
        _LOG.warning(f"{error}: building it anew")
    plan, contents = obtain_plan(source, file.name, replace(policy, precision=plan.precision), force=True)
    return TensorRtEngine(contents, label=label, precision=plan.precision, urgent=urgent)


def _open_on_cpu(runtime: str, source: bytes | Path, threads: int, label: str, bf16: bool) -> Engine:
    if runtime == OpenVinoEngine.runtime:
        return OpenVinoEngine(source, threads=threads, label=label, bf16=bf16)
    return OnnxRuntimeEngine(source, threads=threads, label=label)


def _fastest_first(kind: str) -> tuple[str, ...]:
    # On the x86 CPUs that were measured OpenVINO is faster with convolutions. A regressor is a thousand operators on a few
    # numbers, for which ONNX Runtime takes half the time. Elsewhere OpenVINO is neither installed by this program nor measured.
    if kind != "regressor" and platform.machine().lower() in ("x86_64", "amd64"):
        return (OpenVinoEngine.runtime, OnnxRuntimeEngine.runtime)
    return (OnnxRuntimeEngine.runtime, OpenVinoEngine.runtime)
