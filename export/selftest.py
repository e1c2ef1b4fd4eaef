"""Prove and measure this machine in one go: python -m export.selftest

Builds the engines of all networks, compares their answers with ONNX Runtime on the CPU, times each of them and the whole
program, and writes selftest.json and selftest.md: the files to attach to a bug report. Whatever fails is noted, and the
rest goes on.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer
from rich.console import Console

from body.errors import BodyError
from common.errors import UserError
from engines.cuda.driver import probe_gpu
from engines.device import describe_device
from engines.engine import Arrays, Engine, EngineError
from engines.openvino_cpu import OpenVinoEngine
from engines.ort import OnnxRuntimeEngine
from engines.registry import why_no_tensorrt
from engines.tensorrt import TensorRtEngine
from engines.tensorrt_api import load_tensorrt
from engines.tensorrt_builder import BuildOptions, Precision
from export.conversion.network import Network
from export.conversion.onnx_tools import OnnxError
from export.conversion.precision import compare_engines, convert
from export.engines import CALIBRATION_FRAMES, build_engines
from export.networks import CLIP, load_networks, record_samples
from realtime.measure import Report, nulls, version
from realtime.session import KEYPOINT_MODELS, FlowMethod, Options, Session

Runtime = Literal["tensorrt", "onnxruntime", "openvino"]

_PACKAGES = ("numpy", "onnxruntime", "openvino", "opencv-python-headless", "tensorrt", "pycuda", "cuda-bindings")
_SLACK = 0.01
"""Mean difference that is let pass, as a share of the mean size of an output, beyond what precision explains: engines on a
GPU sum in another order, and round float32 products to TensorFloat-32."""
_BODY_SLACK_M = 1e-4
"""The same for the body's points, m. Its engine is built to round no product: one that does is off by more."""
_PROGRAM = frozenset({KEYPOINT_MODELS["fast"], "blazepose-detector", "raft-small", Options().regressor})
"""What the program runs unless it is told otherwise."""
_WARM_UP = 5
_MOST_S = 10.0
"""Seconds that the timing of one network may take."""


@dataclass(slots=True)
class NetworkResult:
    """What was found of one network. Differences are mean absolute ones to ONNX Runtime in float32; ``allowed`` is how much
    of each output's difference the precision explains. ``problem`` is empty when all went well."""

    name: str
    precision: Precision
    remark: str = ""
    device: str = ""
    build_s: float = float("nan")
    engine_mb: float = float("nan")
    p50_ms: float = float("nan")
    p95_ms: float = float("nan")
    differences: dict[str, float] = field(default_factory=dict)
    allowed: dict[str, float] = field(default_factory=dict)
    problem: str = ""


@dataclass(slots=True)
class SelfTest:
    """All that was found; written as JSON and Markdown."""

    engine: str
    precision: str
    device: str
    machine: dict[str, str]
    networks: list[NetworkResult]
    runs: dict[str, Report]
    problems: list[str]

    @property
    def passed(self) -> bool:
        return not self.problems and not any(result.problem for result in self.networks)


def describe_machine() -> dict[str, str]:
    """What one must know of a machine to believe its figures: processor, GPU, driver, board, power mode, versions."""
    found = {"program": version(), "cpu": describe_device(), "system": platform.platform()}
    found["python"] = platform.python_version()
    found |= {package: _installed(package) for package in _PACKAGES}
    try:
        gpu = probe_gpu()
        found["gpu"], found["cuda"] = str(gpu), gpu.cuda
        found["tensorrt"] = load_tensorrt().__version__  # a board's own one is unknown to pip
    except EngineError as error:
        found["gpu"] = str(error)
    board = Path("/etc/nv_tegra_release")  # Jetsons only
    if board.is_file():
        found["jetson"] = board.read_text(errors="replace").splitlines()[0].strip("# ")
        found["power mode"] = _ask("nvpmodel", "-q")
    return found


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return " ".join((done.stdout or done.stderr).split())


def examine(
    network: Network, result: NetworkResult, opener: Callable[[], Engine], samples: Sequence[Arrays], repeats: int
) -> None:
    """Compare and time one engine, and note what comes of it in ``result``."""
    twin = convert(network, result.precision, samples) if result.precision != "fp32" else None
    with opener() as engine, OnnxRuntimeEngine(network.data, label=network.name) as reference:
        result.device = engine.device
        gaps = compare_engines(reference, engine, samples)
        explained = dict.fromkeys((gap.output for gap in gaps), 0.0)
        if twin is not None:
            result.remark = twin.remark
            with OnnxRuntimeEngine(twin.twin, label=network.name) as rounding:
                explained = {gap.output: gap.mean for gap in compare_engines(reference, rounding, samples)}
        for gap in gaps:
            slack = _BODY_SLACK_M if network.kind == "body" else _SLACK * gap.size
            result.differences[gap.output] = gap.mean
            result.allowed[gap.output] = 2 * explained[gap.output] + slack
            # Written so that NaN fails too.
            if not gap.mean <= result.allowed[gap.output]:
                result.problem = f"'{gap.output}' differs by {gap.mean:.2g} on average, more than is explained"
        times: list[float] = []
        end = time.perf_counter() + _MOST_S
        while len(times) < _WARM_UP + repeats and (time.perf_counter() < end or len(times) <= _WARM_UP):
            began = time.perf_counter()
            engine.infer(samples[len(times) % len(samples)])
            times.append((time.perf_counter() - began) * 1e3)
        result.p50_ms, result.p95_ms = (float(value) for value in np.percentile(times[_WARM_UP:], [50, 95]))


def run_program(
    engine: Runtime, precision: Precision | Literal["auto"], video: Path, live: bool, frames: int, flow: FlowMethod
) -> Report:
    """The whole program over a video, as fast as it can or by the video's own clock."""
    options = Options(str(video), "none", engine, frames=frames, live=live, precision=precision, flow=flow)
    return Session(options).run()


def write(test: SelfTest, folder: Path) -> tuple[Path, Path]:
    """Write selftest.json and selftest.md into ``folder``; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    data, text = folder / "selftest.json", folder / "selftest.md"
    data.write_text(json.dumps(nulls(asdict(test) | {"passed": test.passed}), indent=2) + "\n")
    text.write_text(markdown(test) + "\n")
    return data, text


def markdown(test: SelfTest) -> str:
    """The findings as a page to read."""
    lines = [
        f"# Self-test: {'passed' if test.passed else 'FAILED'}",
        "",
        f"Measured on {test.device}, {test.engine} in {test.precision}.",
        "",
        "| network | precision | p50 ms | p95 ms | inferences/s | mean difference (allowed) | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in test.networks:
        gaps = ", ".join(f"{name} {gap:.1e} ({result.allowed[name]:.1e})" for name, gap in result.differences.items())
        lines.append(
            f"| {result.name} | {result.precision} | {result.p50_ms:.2f} | {result.p95_ms:.2f} | "
            f"{1e3 / result.p50_ms:.0f} | {gaps} | {result.problem or result.remark} |"
        )
    for name, report in test.runs.items():
        lines += [
            "",
            f"**{name}**: {report.frames_in} frames ({report.frames_dropped} dropped), {report.mesh_rate_hz:.1f} meshes/s, "
            f"capture to mesh p50 {report.latency_ms.p50:.1f} ms, p95 {report.latency_ms.p95:.1f} ms, "
            f"p99 {report.latency_ms.p99:.1f} ms; first mesh after {report.first_mesh_s:.1f} s, {report.peak_rss_mb:.0f} MB.",
            "",
            "| stage | runs | p50 ms | p95 ms | p99 ms |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| {stage} | {row.count} | {row.p50_ms:.2f} | {row.p95_ms:.2f} | {row.p99_ms:.2f} |"
            for stage, row in report.stages.items()
        ]
    lines += ["", *(f"Problem: {problem}" for problem in test.problems), ""]
    lines += [f"- {name}: {value}" for name, value in test.machine.items()]
    return "\n".join(lines)


def run_selftest(
    engine: Runtime,
    precision: Precision,
    networks: Mapping[str, Network],
    video: Path = CLIP,
    frames: int = 90,
    repeats: int = 200,
    console: Console | None = None,
) -> SelfTest:
    """Build, compare and measure. Raises `EngineError` where ``engine`` cannot run at all."""
    console = console or Console(stderr=True, highlight=False)
    if engine == "tensorrt" and (missing := why_no_tensorrt()):
        raise EngineError(missing)
    if engine != "tensorrt" and precision != "fp32":
        raise EngineError(f"{engine} runs fp32 only: choose --precision fp32")
    console.print("recording what the networks see")
    samples = record_samples(networks, CLIP, CALIBRATION_FRAMES if precision == "int8" else 12)
    results = []
    for name, network in networks.items():
        console.print(f"testing {name}")
        result = NetworkResult(name, precision)
        results.append(result)
        try:
            opener = _opener(engine, network, samples[name], result, console)
            examine(network, result, opener, samples[name], repeats)
        except (EngineError, OnnxError) as error:
            result.problem = " ".join(str(error).split())
    device = next((result.device for result in results if result.device), "")
    test = SelfTest(engine, precision, device, describe_machine(), results, {}, [])
    # A CPU running RAFT would show nothing but that it is no GPU.
    flow: FlowMethod = "raft" if engine == "tensorrt" else "dis"
    whole: Precision | Literal["auto"] = precision if networks.keys() >= _PROGRAM else "auto"
    for name, live in (("as fast as it can", False), ("live", True)):
        console.print(f"running the whole program, {name}")
        try:
            test.runs[name] = run_program(engine, whole, video, live, frames, flow)
        except UserError as error:
            test.problems.append(f"{name}: {' '.join(str(error).split())}")
    return test


def _opener(
    engine: Runtime, network: Network, samples: Sequence[Arrays], result: NetworkResult, console: Console
) -> Callable[[], Engine]:
    """How to open a network; builds it first where that is needed."""
    if engine == "onnxruntime":
        return lambda: OnnxRuntimeEngine(network.data, label=network.name)
    if engine == "openvino":
        return lambda: OpenVinoEngine(network.data, label=network.name)
    chosen, calibration = {network.name: network}, {network.name: samples}
    (plan,) = build_engines(chosen, BuildOptions(result.precision), samples=calibration, console=console)
    result.precision, result.build_s, result.engine_mb = plan.precision, plan.seconds, plan.size / 1e6
    return lambda: TensorRtEngine(plan.read(), label=network.name, precision=plan.precision)


def main(
    engine: Annotated[Runtime, typer.Option(help="what to test")] = "tensorrt",
    precision: Annotated[Precision | None, typer.Option(help="default: fp16 with tensorrt, else fp32")] = None,
    networks: Annotated[str, typer.Option(help="names of networks, with commas; all by default")] = "",
    video: Annotated[Path, typer.Option(help="what the whole program is run on")] = CLIP,
    frames: Annotated[int, typer.Option(min=20, help="frames of it")] = 90,
    repeats: Annotated[int, typer.Option(min=5, help="timed inferences of each network")] = 200,
    output: Annotated[Path, typer.Option(help="folder of the two reports")] = Path(),
) -> None:
    """Test this machine and write selftest.json and selftest.md."""
    console = Console(stderr=True, highlight=False)
    chosen: Precision = precision or ("fp16" if engine == "tensorrt" else "fp32")
    try:
        if not os.access(output if output.exists() else Path(), os.W_OK):
            raise EngineError(f"cannot write into {output}: choose another --output")
        found = load_networks([name for name in networks.split(",") if name] or None)
        test = run_selftest(engine, chosen, found, video, frames, repeats, console)
        paths = write(test, output)
    except (EngineError, BodyError, OnnxError) as error:
        console.print(f"error: {' '.join(str(error).split())}", markup=False, soft_wrap=True)
        raise typer.Exit(2) from None
    print(markdown(test))
    console.print(f"written: {paths[0]}, {paths[1]}", soft_wrap=True)
    raise typer.Exit(0 if test.passed else 1)


if __name__ == "__main__":
    typer.run(main)
