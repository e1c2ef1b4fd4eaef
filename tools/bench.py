"""Measure this machine: python -m tools.bench

Runs the whole program, as a user would, on a real clip, several times each way: brought to 640×480, as fast as it can
(file: throughput) and at the clip's own pace (live: latency and drops); and at the clip's own size, with an annotated
recording. Prints the median of each figure.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from common.arrays import ImageArray
from engines.device import describe_device
from realtime.outputs.video import VideoRecorder
from realtime.sources import open_source
from realtime.sources.demo_clip import fetch_demo_clip

WIDTH, HEIGHT = 640, 480


def standard_clip(source: Path, target: Path, frames: int) -> None:
    """The first ``frames`` frames of ``source``, cut to 4:3 in the middle and scaled to 640×480, as an MP4."""
    with open_source(str(source)) as clip, VideoRecorder(target) as out:
        width, height = clip.size
        image: ImageArray = np.empty((height, width, 3), np.uint8)
        across, down = min(width, height * 4 // 3), min(height, width * 3 // 4)
        left, top = (width - across) // 2, (height - down) // 2
        for _ in range(frames):
            timestamp = clip.read_into(image)
            if timestamp is None:
                break
            part = image[top : top + down, left : left + across]
            out.write(
                np.asarray(cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8), timestamp.time_s
            )


def run_once(clip: Path, keypoints: str, engine: str, frames: int, mode: str = "file") -> dict[str, Any]:
    """One run of the program in a process of its own; its report, and ``cpu_s``: the processor time that it took in all.

    ``mode`` is "file", "live" or "recorded".
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "run_camera.py", "--source", str(clip), "--view", "none", "--quiet"]
        command += ["--quality", "live", "--persons", "1"]
        command += ["--keypoints", keypoints, "--engine", engine, "--report", str(report), "--frames", str(frames)]
        command += {"file": [], "live": ["--live"], "recorded": ["--record", str(Path(folder) / "out.mp4")]}[mode]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, cwd=Path(__file__).resolve().parent.parent)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer: dict[str, Any] = json.loads(report.read_text())
        answer["cpu_s"] = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        return answer


def _median(reports: list[dict[str, Any]], *path: str) -> float:
    values = []
    for report in reports:
        value: Any = report
        for key in path:
            value = value.get(key, {}) if isinstance(value, dict) else value
        if isinstance(value, int | float):
            values.append(float(value))
    return statistics.median(values) if values else float("nan")


def main(
    clip: Annotated[Path | None, typer.Option(help="a video (default: the demo clip)")] = None,
    runs: Annotated[int, typer.Option(min=1, help="runs of each kind")] = 3,
    frames: Annotated[int, typer.Option(min=30, help="frames of the clip")] = 300,
    keypoints: Annotated[str, typer.Option(help="fast or accurate")] = "fast",
    engine: Annotated[str, typer.Option(help="as in run_camera.py")] = "auto",
    output: Annotated[Path | None, typer.Option(help="also write all reports as JSON")] = None,
) -> None:
    """Print mesh rate, latency, memory and time per stage of the whole program, headless."""
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        standard = Path(folder) / "clip.mp4"
        original = clip or fetch_demo_clip()
        standard_clip(original, standard, frames)
        clips = {"file": standard, "live": standard, "recorded": original}
        reports = {
            mode: [run_once(path, keypoints, engine, frames, mode) for _ in range(runs)] for mode, path in clips.items()
        }
    with open_source(str(original)) as source:
        width, height = source.size
    file = reports["file"]
    table = Table(
        title=f"{describe_device()}, {file[0]['engine']}, --keypoints {keypoints}",
        caption=f"file: 640×480, as fast as it can; live: the same at the clip's own pace; recorded: {width}×{height}, "
        "annotated video written. Processor time: the whole run with its start.",
    )
    table.add_column("median of " + str(runs))
    for mode in reports:
        table.add_column(mode, justify="right")
    rows: list[tuple[str, str, tuple[str, ...]]] = [
        ("unique meshes a second", "{:.1f}", ("mesh_rate_hz",)),
        ("frames dropped", "{:.0f}", ("frames_dropped",)),
        ("capture to mesh p50, ms", "{:.1f}", ("latency_ms", "p50")),
        ("capture to mesh p95, ms", "{:.1f}", ("latency_ms", "p95")),
        ("capture to mesh p99, ms", "{:.1f}", ("latency_ms", "p99")),
        ("first mesh after, s", "{:.2f}", ("first_mesh_s",)),
        ("peak memory, MB", "{:.0f}", ("peak_rss_mb",)),
        ("processor time, s", "{:.1f}", ("cpu_s",)),
    ]
    stages = reports["recorded"][0]["stages"]
    rows += [(f"stage {stage} p50 / p95, ms", "{:.2f}", ("stages", stage)) for stage in stages]
    for label, form, path in rows:
        cells = []
        for group in reports.values():
            if path[0] == "stages":
                values = [_median(group, *path, q) for q in ("p50_ms", "p95_ms")]
                cells.append(" / ".join(map(form.format, values)) if np.isfinite(values).all() else "")
            else:
                cells.append(form.format(_median(group, *path)))
        table.add_row(label, *cells)
    console.print(table)
    if output is not None:
        output.write_text(json.dumps(reports, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
