"""TensorRT plans for a model: the one that is on disk where it may be loaded, else a new one is built."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engines.choices import Precision
from engines.engine import EngineError
from engines.machine_files import plans_folder, read_whole, write_whole
from engines.onnx_file import open_onnx
from engines.plans import Plan, PlanPolicy, Target, find_plans
from engines.tensorrt_builder import BuildOptions, BuildProgress, serialise

_LOG = logging.getLogger(__name__)


def build_plan(
    onnx: bytes | Path,
    label: str,
    options: BuildOptions | None = None,
    *,
    folder: Path | None = None,
    source: bytes | None = None,
    force: bool = False,
    trust: bool = False,
    progress: BuildProgress | None = None,
) -> Plan:
    """The plan of an ONNX graph for this machine: the one that is there when it may be loaded, else a new one.

    Args:
        onnx: the graph, a file or its contents.
        label: names the plan's file, and the graph in errors.
        options: how it is built. None: the defaults of `BuildOptions`.
        folder: where plans are kept. None: `plans_folder`.
        source: the model that ``onnx`` was converted from, by which a user finds the plan. None: ``onnx`` itself.
        force: build even where a plan is there.
        trust: take a plan that is there even if this machine did not build it.
        progress: see `PlanPolicy`.

    Raises `RuntimeMissingError` where TensorRT cannot run, `EngineError` when it refuses the graph or nothing can be
    written.
    """
    options = options or BuildOptions()
    data = onnx if isinstance(onnx, bytes) else read_whole(onnx)
    digest = hashlib.sha256(data).hexdigest()
    here = Target.here()
    folder = folder or plans_folder()
    path = folder / _file_name(label, digest, options, here)
    if not force and path.exists():
        known = _matching(path, digest, options, trust)
        if known is not None:
            return known
    _LOG.info(f"building {label} in {options.precision} for {here}: once, {_expected_time(label, here, folder)}")
    timing_cache = folder / f"timing-{_slug(here.gpu)}.cache"
    began = time.monotonic()
    contents, timings = serialise(
        onnx,
        options,
        label=label,
        timing_cache=timing_cache.read_bytes() if timing_cache.is_file() else b"",
        progress=_Reports(label, progress),
    )
    seconds = time.monotonic() - began
    origin = digest if source is None else hashlib.sha256(source).hexdigest()
    built = hashlib.sha256(contents).hexdigest()
    plan = Plan(path, label, options, here, digest, origin, built, len(contents), seconds, reused=False)
    write_whole(path, contents)
    plan = plan.save()
    if timings:
        write_whole(timing_cache, timings)
    _LOG.info(f"built {label} in {options.precision}: {seconds:.0f} s, {len(contents) / 1e6:.1f} MB, {path}")
    return plan


def _matching(path: Path, onnx_sha256: str, options: BuildOptions, trust: bool) -> Plan | None:
    """The plan at ``path`` where it may be loaded and was built with ``options`` from the graph of this SHA-256; None
    where it must be built anew, which is logged with the reason."""
    try:
        plan = Plan.open(path)
        plan.read(trust)
    except EngineError as error:
        _LOG.warning(f"{error}: building it anew")
        return None
    if (plan.onnx_sha256, plan.options) == (onnx_sha256, options):
        return plan
    _LOG.warning(f"{path.name} was made from something else: building it anew")
    return None


def obtain_plan(
    model: bytes | Path, label: str, policy: PlanPolicy, *, holds_fp16: bool = False, force: bool = False
) -> tuple[Plan, bytes]:
    """The plan to run ``model`` with, for one row and as many as ``policy`` wants, and its bytes.

    A missing plan is built here, in float16 where ``holds_fp16`` says that the network's numbers hold in it, or where
    float16 is asked for; that needs the onnx package. int8 needs calibration, which ``python -m export.engines`` does.
    ``force`` builds even where a plan is there.

    Raises `RuntimeMissingError` where TensorRT cannot run, and `EngineError`.
    """
    source = model if isinstance(model, bytes) else read_whole(model)
    found = None if force else cached_plan(source, policy)
    if found is not None:
        return found
    if policy.precision == "int8":
        stale = [
            f"{plan.path.name} {plan.problem(policy.trust)}; " for plan in find_plans(source, "int8", policy.folder)
        ]
        raise EngineError(
            f"{''.join(stale[:1])}there is no int8 plan of {label} for this machine: "
            "build it with python -m export.engines --precision int8"
        )

    def build(graph: bytes | Path, precision: Precision) -> tuple[Plan, bytes]:
        options = BuildOptions(precision, tf32=policy.tf32, batch=(1, 1, policy.rows))
        where: dict[str, Any] = {
            "folder": policy.folder,
            "trust": policy.trust,
            "progress": policy.progress,
            "force": force,
        }
        plan = build_plan(graph, label, options, source=source, **where)
        return plan, plan.read(policy.trust)

    freed = for_rows(source, label) if policy.rows > 1 else source
    graph = model if freed is source else freed  # a file may have weights beside it
    if policy.precision == "fp16" or (policy.precision == "auto" and holds_fp16 and policy.tf32):
        try:
            return build(_in_fp16(freed, label), "fp16")
        except EngineError as error:
            if policy.precision == "fp16":
                raise
            _LOG.warning(f"{error}: {label} runs in float32")
    return build(graph, "fp32")


def cached_plan(source: bytes, policy: PlanPolicy) -> tuple[Plan, bytes] | None:
    """The plan of the model ``source`` that is there and may be loaded, and its bytes; None where there is none."""
    precisions: tuple[Precision, ...] = ("fp16", "fp32") if policy.precision == "auto" else (policy.precision,)
    for precision in precisions:
        for plan in find_plans(source, precision, policy.folder):
            if plan.options.batch[0] > 1 or (plan.options.tf32 and not policy.tf32):
                continue
            # What only export.engines builds is taken for less people, too: then they run one after the other.
            asked_for = precision == "int8" or plan.options.dla is not None
            if plan.options.batch[2] < policy.rows and not asked_for:
                continue
            try:
                return plan, plan.read(policy.trust)
            except EngineError as error:
                _LOG.debug(f"{error}: passed over")
    return None


def _in_fp16(source: bytes, label: str) -> bytes:
    """The float16 graph of a float32 model, as `engines.precision.fp16` makes it."""
    try:
        from engines.precision.fp16 import to_fp16
        from engines.precision.graphs import fold_constants
    except ImportError as error:
        raise EngineError(f"float16 needs the onnx package ({error}): pip install onnx") from None
    open_onnx(source, label)  # a broken file is refused in one line
    return bytes(to_fp16(fold_constants(source)).model.SerializeToString())


def for_rows(source: bytes, label: str) -> bytes:
    """The graph of a model that takes several rows; ``source`` itself where it does so already, or cannot."""
    open_onnx(source, label)  # a broken file is refused in one line
    try:
        from engines.free_rows import with_free_rows

        return with_free_rows(source)
    except (ImportError, EngineError) as error:
        _LOG.debug(f"{label} takes one person at a time ({error})")
        return source


def _expected_time(label: str, here: Target, folder: Path) -> str:
    """How long a build will take, by what earlier builds on this GPU took, the same network's if possible."""
    earlier: list[Plan] = []
    for path in folder.glob("*.plan"):
        with suppress(EngineError):
            earlier.append(Plan.open(path))
    near = [plan for plan in earlier if (plan.target.gpu, plan.target.sm) == (here.gpu, here.sm)]
    same = [plan for plan in near if plan.label == label]
    if not near:
        return "seconds on a desktop card, some minutes on a small board"
    seconds = max(plan.seconds for plan in same or near)
    text = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(seconds, 1):.0f} s"
    return f"about {text}, as before" if same else f"up to {text}, if it is like the others"


class _Reports:
    """Logs a build's progress now and then, where there is no progress bar."""

    _EVERY_S = 10.0

    def __init__(self, label: str, progress: BuildProgress | None) -> None:
        self._label, self._progress = label, progress
        self._began = self._last = time.monotonic()

    def __call__(self, phase: str, done: int, steps: int) -> None:
        now = time.monotonic()
        if now - self._last >= self._EVERY_S:
            self._last = now
            _LOG.info(f"building {self._label}: {phase}, step {done} of {steps}, {now - self._began:.0f} s so far")
        if self._progress is not None:
            self._progress(phase, done, steps)


def _file_name(label: str, digest: str, options: BuildOptions, target: Target) -> str:
    # The name holds all that plans may differ in side by side. The version of TensorRT is not in it: a newer plan replaces
    # the older one.
    gpu = {name: value for name, value in asdict(target).items() if name != "tensorrt"}
    key = json.dumps([digest, asdict(options), gpu], sort_keys=True)
    return f"{_slug(label)}-{options.precision}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.plan"


def _slug(text: str) -> str:
    return re.sub(r"[^\w.]+", "-", text).strip("-") or "model"
