"""TensorRT plans on disk: where they are kept, which GPU and graph they are for, and whether they may be loaded.

A plan holds code for one GPU and one version of TensorRT, and loading it runs that code. So each has a manifest beside
it (JSON) that says what it was made from and for, holds the SHA-256 of the plan, and is signed with a key that only
this user of this machine has. A plan that was not built here, was changed, or is for another GPU or version is not
loaded but built anew; `PlanPolicy.trust` waives the signature, nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common.files import JSON_ERRORS
from engines.choices import Precision, PrecisionChoice
from engines.cuda.driver import probe_gpu
from engines.engine import EngineError
from engines.machine_files import machine_signature, plans_folder, read_whole, write_whole
from engines.tensorrt_api import load_tensorrt
from engines.tensorrt_builder import BuildOptions, BuildProgress

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
        data = read_whole(self.path)
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
            row = json.loads(read_whole(manifest))
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
    """Which plans `engines.plan_builds.obtain_plan` uses."""

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
