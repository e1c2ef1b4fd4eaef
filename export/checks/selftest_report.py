"""The self-test's findings, as JSON and as a page."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from common.files import write_text_atomically
from engines.choices import Precision
from realtime.measure import Report, nulls


@dataclass(slots=True)
class NetworkResult:
    """Findings about one network."""

    name: str
    """The network's."""
    precision: Precision
    """Precision in which it was tested."""
    remark: str = ""
    """What of it is in which precision; empty for float32."""
    device: str = ""
    """The CPU or GPU that it ran on."""
    build_s: float = float("nan")
    """What building its engine took, seconds; NaN where none was built."""
    engine_mb: float = float("nan")
    """Size of the engine, MB; NaN where none was built."""
    p50_ms: float = float("nan")
    """Median duration of an inference, ms, after a warm-up."""
    p95_ms: float = float("nan")
    """95 of 100 inferences were shorter, ms."""
    cpu_ms: float = float("nan")
    """Median processor time that an inference takes from the thread that asks for it, ms: on a GPU that is filling the
    inputs, queueing, and fetching the answers, without the wait for the GPU."""
    queue_ms: float = float("nan")
    """Median duration of queueing an inference, with its copies, ms: from then on the processor only waits; NaN without a
    GPU."""
    gpu_ms: float = float("nan")
    """Median duration of an inference and its copies on the GPU, ms, by events before and after them; NaN without a GPU."""
    replays: int = 0
    """How many inferences were replays of a CUDA graph."""
    differences: dict[str, float] = field(default_factory=dict)
    """Mean absolute difference from ONNX Runtime in float32, by output, in the output's unit."""
    allowed: dict[str, float] = field(default_factory=dict)
    """Part of that difference that the precision explains, by output."""
    problem: str = ""
    """What went wrong, in one line; empty when all went well."""


@dataclass(slots=True)
class SelfTest:
    """All findings; written as JSON and Markdown."""

    engine: str
    """The runtime that was tested, as ``--engine`` names it."""
    precision: str
    """The precision that was asked for."""
    device: str
    """The CPU or GPU that the networks ran on."""
    machine: dict[str, str]
    """What the machine is and how hot and fast its GPU was before and after, by the name of the property."""
    networks: list[NetworkResult]
    """A result for each network."""
    runs: dict[str, Report]
    """Measurements of the whole program, by how it was run."""
    problems: list[str]
    """Runs that failed, a line each; problems of networks are with the networks."""

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.problems and not any(result.problem for result in self.networks)


def write(test: SelfTest, folder: Path) -> tuple[Path, Path]:
    """Write selftest.json and selftest.md into ``folder``; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    data, text = folder / "selftest.json", folder / "selftest.md"
    write_text_atomically(data, json.dumps(nulls(asdict(test) | {"passed": test.passed}), indent=2) + "\n")
    write_text_atomically(text, markdown(test) + "\n")
    return data, text


def markdown(test: SelfTest) -> str:
    """The findings as a page to read."""
    lines = [
        f"# Self-test: {'passed' if test.passed else 'FAILED'}",
        "",
        f"Measured on {test.device}, {test.engine} in {test.precision}.",
        "",
        "| network | precision | p50 ms | p95 ms | own CPU ms | queued in ms | GPU ms | replays | inferences/s | "
        "mean difference (allowed) | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in test.networks:
        gaps = ", ".join(f"{name} {gap:.1e} ({result.allowed[name]:.1e})" for name, gap in result.differences.items())
        lines.append(
            f"| {result.name} | {result.precision} | {result.p50_ms:.2f} | {result.p95_ms:.2f} | "
            f"{result.cpu_ms:.2f} | {_known(result.queue_ms)} | {_known(result.gpu_ms)} | {result.replays} | "
            f"{1e3 / result.p50_ms:.0f} | {gaps} | {result.problem or result.remark} |"
        )
    for name, report in test.runs.items():
        lines += [
            "",
            f"**{name}**: {report.frames_in} frames ({report.frames_dropped} dropped), {report.mesh_rate_hz:.1f} meshes/s, "
            f"capture to mesh p50 {report.latency_ms.p50:.1f} ms, p95 {report.latency_ms.p95:.1f} ms, "
            f"p99 {report.latency_ms.p99:.1f} ms; first mesh after {report.first_mesh_s:.1f} s, {report.peak_rss_mb:.0f} MB, "
            f"{report.graph_replays} replays of CUDA graphs.",
            "",
            "| stage | runs | p50 ms | p95 ms | p99 ms |",
            "| --- | --- | --- | --- | --- |",
        ]
        lines += [
            f"| {stage} | {row.count} | {row.p50_ms:.2f} | {row.p95_ms:.2f} | {row.p99_ms:.2f} |"
            for stage, row in report.stages.items()
        ]
    lines += ["", *(f"Problem: {problem}" for problem in test.problems), ""]
    lines += [f"- {name}: {value}" for name, value in test.machine.items() if value]
    return "\n".join(lines)


def _known(ms: float) -> str:
    return "" if math.isnan(ms) else f"{ms:.2f}"
