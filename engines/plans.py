"""TensorRT plans on disk: where they are kept, which GPU and graph they are for, and whether they may be loaded.

A plan holds code for one GPU and one version of TensorRT, and loading it runs that code. So each has a manifest beside
it (JSON) that says what it was made from and for, holds the SHA-256 of the plan, and is signed with a key that only
this user of this machine has. A plan that was not built here, was changed, or is for another GPU or version is not
loaded but built anew; `PlanPolicy.trust` waives the signature, nothing else.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common.files import JSON_ERRORS
from engines.choices import Precision, PrecisionChoice
from engines.cuda.driver import probe_gpu
from engines.engine import EngineError
from engines.machine_files import machine_signature, plans_folder, write_whole
from engines.onnx_file import open_onnx
from engines.tensorrt_api import load_tensorrt
from engines.tensorrt_builder import BuildOptions, BuildProgress, serialise

_LOG = logging.getLogger(__name__)

__all__ = ["Plan", "PlanPolicy", "Target", "build_plan", "find_plans", "for_rows", "obtain_plan", "plans_folder"]

_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan can run on: the version of TensorRT, and the GPU.

    All boards of one family have the GPU's name and compute capability in common; a plan's kernels were chosen for the
    number of multiprocessors and the memory, too.
    """

    tensorrt: str
    """Version of TensorRT, as "10.3.0"."""
    gpu: str
    """The GPU's name, as the driver writes it."""
    sm: str
    """Its compute capability, as "8.7"."""
    multiprocessors: int = 0
    """How many it has."""
    memory_gb: int = 0
    """Its memory, whole GiB."""

    @staticmethod
    def here() -> Target:
        """The target that this machine is. Raises `RuntimeMissingError` where TensorRT cannot run."""
        version = load_tensorrt().__version__
        gpu = probe_gpu()
        return Target(version, gpu.name, gpu.sm, gpu.multiprocessors, gpu.memory_gb)

    def __str__(self) -> str:
        """The target as messages name it."""
        return (
            f"TensorRT {self.tensorrt} on {self.gpu} "
            f"(SM {self.sm}, {self.multiprocessors} multiprocessors, {self.memory_gb} GB)"
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan on disk and what its manifest says."""

    path: Path
    """The plan's file; the manifest has the same name with ``.json``."""
    label: str
    """The model's name, for messages."""
    options: BuildOptions
    """How it was built."""
    target: Target
    """What it was built for, and can run on."""
    onnx_sha256: str
    """SHA-256 of the graph that it was built from, hexadecimal."""
    source_sha256: str
    """SHA-256 of the model that this graph was converted from; the same if nothing was converted."""
    plan_sha256: str
    """SHA-256 of the plan's file, hexadecimal."""
    size: int
    """Size of the plan's file, bytes."""
    seconds: float
    """What the build took."""
    signature: str = ""
    """Signature of the manifest with this user's key, hexadecimal; empty before `save`."""
    reused: bool = True
    """Whether it was found; false: it was just built."""

    @property
    def precision(self) -> Precision:
        """The precision that the plan was built in."""
        return self.options.precision

    def read(self, trust: bool = False) -> bytes:
        """The plan's bytes. Raises `EngineError` when it may not be loaded here; ``trust`` waives the signature."""
        problem = self.problem(trust)
        if problem:
            raise EngineError(f"{self.path.name} {problem}")
        data = _read(self.path)
        if hashlib.sha256(data).hexdigest() != self.plan_sha256:
            raise EngineError(f"{self.path.name} is damaged (sha256 differs)")
        return data

    def problem(self, trust: bool = False) -> str:
        """Why the plan must not be loaded here, by its manifest, as the end of a sentence; empty when it may."""
        if not trust and not machine_signature().verify(self._signed(), self.signature):
            return "was not built by this machine (--trust-engine loads it all the same)"
        here = Target.here()
        return "" if self.target == here else f"was built for {self.target}, this is {here}"

    def save(self) -> Plan:
        """Sign the manifest, write it beside the plan, and return the signed one. Raises `EngineError`."""
        signed = replace(self, signature=machine_signature().sign(self._signed()))
        text = json.dumps({**self._manifest(), "signature": signed.signature}, indent=2)
        write_whole(self.path.with_suffix(".json"), text.encode() + b"\n")
        return signed

    @staticmethod
    def open(path: Path) -> Plan:
        """The plan at ``path`` as its manifest describes it. Raises `EngineError` when it has none that can be read."""
        manifest = path.with_suffix(".json")
        try:
            row = json.loads(_read(manifest))
            if row["format"] != _FORMAT:
                raise EngineError(f"{manifest.name} is of another version of this program")
            return Plan(
                path,
                str(row["label"]),
                BuildOptions(**{**row["options"], "batch": tuple(row["options"]["batch"])}),
                Target(**row["target"]),
                str(row["onnx_sha256"]),
                str(row["source_sha256"]),
                str(row["plan_sha256"]),
                int(row["bytes"]),
                float(row["seconds"]),
                str(row["signature"]),
            )
        except JSON_ERRORS as error:
            raise EngineError(f"{manifest.name} is damaged") from error

    def _manifest(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "label": self.label,
            "options": asdict(self.options),
            "target": asdict(self.target),
            "onnx_sha256": self.onnx_sha256,
            "source_sha256": self.source_sha256,
            "plan_sha256": self.plan_sha256,
            "bytes": self.size,
            "seconds": round(self.seconds, 1),
        }

    def _signed(self) -> bytes:
        return json.dumps(self._manifest(), sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """Which plans `obtain_plan` uses."""

    precision: PrecisionChoice = "auto"
    """"auto" takes fp16 for networks that are known to keep their numbers in it, and where such a plan has been built;
    else fp32."""
    folder: Path | None = None
    """Folder of the plans. None: `plans_folder`."""
    trust: bool = False
    """Whether plans that this machine did not build are loaded."""
    progress: BuildProgress | None = None
    """Told how far a build is, see `engines.tensorrt_builder.BuildProgress`; None: nobody."""
    tf32: bool = True
    """See `engines.tensorrt_builder.BuildOptions`; False takes no plan that was built with it."""
    rows: int = 1
    """How many rows (people) one run takes, at most: plans are built for one to so many, and the graph of one row is made to
    take more."""

    @property
    def exact(self) -> PlanPolicy:
        """The same for a graph whose products must not be rounded."""
        return replace(self, precision="fp32", tf32=False)


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
    data = onnx if isinstance(onnx, bytes) else _read(onnx)
    digest = hashlib.sha256(data).hexdigest()
    here = Target.here()
    folder = folder or plans_folder()
    path = folder / _file_name(label, digest, options, here)
    if not force and path.exists():
        try:
            plan = Plan.open(path)
            plan.read(trust)
            if (plan.onnx_sha256, plan.options) == (digest, options):
                return plan
            _LOG.warning(f"{path.name} was made from something else: building it anew")
        except EngineError as error:
            _LOG.warning(f"{error}: building it anew")
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
    plan = Plan(
        path,
        label,
        options,
        here,
        digest,
        digest if source is None else hashlib.sha256(source).hexdigest(),
        hashlib.sha256(contents).hexdigest(),
        len(contents),
        seconds,
        reused=False,
    )
    write_whole(path, contents)
    plan = plan.save()
    if timings:
        write_whole(timing_cache, timings)
    _LOG.info(f"built {label} in {options.precision}: {seconds:.0f} s, {len(contents) / 1e6:.1f} MB, {path}")
    return plan


def find_plans(source: bytes, precision: Precision, folder: Path | None = None) -> Iterator[Plan]:
    """Plans that were made from the model ``source``, converted or not, the newest first.

    They have yet to be read, which may refuse.
    """
    digest = hashlib.sha256(source).hexdigest()
    paths = (folder or plans_folder()).glob("*.plan")
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            plan = Plan.open(path)
        except EngineError:
            continue
        if (plan.source_sha256, plan.precision) == (digest, precision):
            yield plan


def obtain_plan(
    model: bytes | Path, label: str, policy: PlanPolicy, *, holds_fp16: bool = False, force: bool = False
) -> tuple[Plan, bytes]:
    """The plan to run ``model`` with, for one row and as many as ``policy`` wants, and its bytes.

    A missing plan is built here, in float16 where ``holds_fp16`` says that the network's numbers hold in it, or where
    float16 is asked for; that needs the onnx package. int8 needs calibration, which ``python -m export.engines`` does.
    ``force`` builds even where a plan is there.

    Raises `RuntimeMissingError` where TensorRT cannot run, and `EngineError`.
    """
    source = model if isinstance(model, bytes) else _read(model)
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


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise EngineError(f"{path.name} is missing") from None
    except OSError as error:
        raise EngineError(f"cannot read {path}: {error.strerror or error}") from error
