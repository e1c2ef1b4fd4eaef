"""The self-test's findings, as JSON and as a page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from engines.tensorrt_builder import Precision
from realtime.measure import Report, nulls


@dataclass(slots=True)
class NetworkResult:
    """Findings about one network.

    Differences are mean absolute ones to ONNX Runtime in float32; ``allowed`` is how much of each output's difference the
    precision explains. ``problem`` is empty when all went well.
    """

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
    """All findings; written as JSON and Markdown."""

    engine: str
    precision: str
    device: str
    machine: dict[str, str]
    networks: list[NetworkResult]
    runs: dict[str, Report]
    problems: list[str]

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.problems and not any(result.problem for result in self.networks)


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
