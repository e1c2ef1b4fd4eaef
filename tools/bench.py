"""Measure this machine: python -m tools.bench

Runs the whole program, as a user would, on a real clip, several times each way: brought to 640×480, as fast as it can
(file: throughput) and at the clip's own pace (live: latency and drops); and at the clip's own size, with an annotated
recording. Prints the median of each figure. With ``--peers`` other programs run on the same clip in the same rounds.
"""

from __future__ import annotations

import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from common.arrays import ImageArray
from common.command_line import run_command
from common.errors import UserError
from common.files import check_writable, write_text_atomically
from engines.device import describe_device
from realtime.options import Options
from realtime.outputs.video import VideoRecorder
from realtime.sources import open_source
from realtime.sources.demo_clip import fetch_demo_clip
from realtime.unused_options import unused_options
from tools.peers import PEERS, PeerRun, run_peer, why_no_peer
from tools.timeline import save_timeline

Results = dict[str, dict[str, list[dict[str, Any]]]]
"""Reports of runs, by combination of choices and by mode."""

_WIDTH, _HEIGHT = 640, 480
PEER_TITLE = "peers on the clip of file, as fast as they can"
PEER_COLUMNS = ("peer", "results a second", "first after, s", "frames without", "processor time, s")


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
                np.asarray(cv2.resize(part, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA), np.uint8),
                timestamp.time_s,
            )


@dataclass(frozen=True, slots=True)
class Setting:
    """Choices of the program that are compared: options of ``run_camera.py`` by the same names."""

    keypoints: str = "fast"
    """Value of ``--keypoints``."""
    flow: str = "auto"
    """Value of ``--flow``."""
    precision: str = "auto"
    """Value of ``--precision``."""
    persons: str = "1"
    """Value of ``--persons``."""

    def __str__(self) -> str:
        """As options: the keypoints, and what is not the usual choice."""
        usual = Setting()
        named = {
            name: value for name, value in asdict(self).items() if name == "keypoints" or value != getattr(usual, name)
        }
        return " ".join(f"--{name} {value}" for name, value in named.items())


def without_effect(settings: Sequence[Setting], engine: str) -> list[str]:
    """One line for each choice that changes nothing on this machine, so that tables of it compare a run with itself."""
    chosen: Any = [{"engine": engine, "precision": setting.precision} for setting in settings]
    return list(dict.fromkeys(line for each in chosen for line in unused_options(Options(**each))))


def run_once(clip: Path, setting: Setting, engine: str, frames: int, mode: str = "file") -> dict[str, Any]:
    """One run of the program in a process of its own; its report, and ``cpu_s``: the processor time that it took in all.

    ``mode`` is "file", "live" or "recorded". Raises UserError where the program fails, which says why itself.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "run_camera.py", "--source", str(clip), "--view", "none", "--quiet"]
        command += ["--quality", "live", "--engine", engine, "--report", str(report), "--frames", str(frames)]
        command += [word for name, value in asdict(setting).items() for word in (f"--{name}", value)]
        command += {"file": [], "live": ["--live"], "recorded": ["--record", str(Path(folder) / "out.mp4")]}[mode]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, check=False, cwd=Path(__file__).resolve().parent.parent)
        if done.returncode:
            raise UserError(f"run_camera.py ends with code {done.returncode} for {setting} --engine {engine}")
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


def figures(reports: dict[str, list[dict[str, Any]]]) -> list[tuple[str, list[str]]]:
    """Rows of a table: what was measured, and its median over the runs of each mode."""
    rows: list[tuple[str, str, tuple[str, ...]]] = [
        ("unique meshes a second", "{:.1f}", ("mesh_rate_hz",)),
        ("frames dropped", "{:.0f}", ("frames_dropped",)),
        ("people in a frame at most", "{:.0f}", ("max_people",)),
        ("keypoints and regressor for one person, ms", "{:.1f}", ("person_ms",)),
        ("capture to mesh p50, ms", "{:.1f}", ("latency_ms", "p50")),
        ("capture to mesh p95, ms", "{:.1f}", ("latency_ms", "p95")),
        ("capture to mesh p99, ms", "{:.1f}", ("latency_ms", "p99")),
        ("first mesh after, s", "{:.2f}", ("first_mesh_s",)),
        ("peak memory, MB", "{:.0f}", ("peak_rss_mb",)),
        ("processor time, s", "{:.1f}", ("cpu_s",)),
        ("replays of CUDA graphs", "{:.0f}", ("graph_replays",)),
    ]
    stages = dict.fromkeys(stage for group in reports.values() for stage in group[0]["stages"])
    rows += [(f"stage {stage} p50 / p95, ms", "{:.2f}", ("stages", stage)) for stage in stages]
    found = []
    for label, form, path in rows:
        cells = []
        for group in reports.values():
            if path[0] == "stages":
                values = [_median(group, *path, q) for q in ("p50_ms", "p95_ms")]
                cells.append(" / ".join(map(form.format, values)) if np.isfinite(values).all() else "")
            else:
                cells.append(form.format(_median(group, *path)))
        found.append((label, cells))
    return found


def peer_rows(peers: dict[str, list[PeerRun]]) -> list[list[str]]:
    """Rows of a table: each peer's name with its version, and the medians of its runs as `PeerRun` names them."""
    rows = []
    for name, runs in peers.items():
        if runs:
            rate, first, lost, cpu = (
                statistics.median(values)
                for values in zip(
                    *((run.rate_hz, run.first_s, run.frames_lost, run.cpu_s) for run in runs), strict=True
                )
            )
            rows.append([f"{name} {runs[0].version}", f"{rate:.1f}", f"{first:.2f}", f"{lost:.0f}", f"{cpu:.1f}"])
    return rows


def check_folder(folder: Path) -> None:
    """Make ``folder`` where it is missing. Raises UserError where nothing can be written into it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made ({error.strerror}): choose another --output") from None
    check_writable(folder / "bench.json")


def values_of(text: str) -> list[str]:
    """What stands between the commas of an option, each once."""
    return list(dict.fromkeys(value.strip() for value in text.split(",")))


def timeline_name(number: int) -> str:
    """The file with the timeline of the combination ``number``, counted from 1."""
    return "timeline.png" if number == 1 else f"timeline-{number}.png"


def bench_page(results: Results, about: str, peers: Sequence[Sequence[str]] = ()) -> str:
    """All tables as a page; ``peers`` as `peer_rows` gives them."""
    lines = ["# Bench", "", about]
    for number, (title, reports) in enumerate(results.items(), 1):
        first = next(iter(reports.values()))[0]
        lines += ["", f"## {title}", "", f"{first['device']}, {first['engine']}", ""]
        lines += [f"| median | {' | '.join(reports)} |", "| --- |" + " --- |" * len(reports)]
        lines += [f"| {label} | {' | '.join(cells)} |" for label, cells in figures(reports)]
        lines += ["", f"![stages of the live run]({timeline_name(number)})"]
    if peers:
        lines += ["", f"## {PEER_TITLE}", "", f"| {' | '.join(PEER_COLUMNS)} |", "| --- |" + " --- |" * 4]
        lines += [f"| {' | '.join(row)} |" for row in peers]
    return "\n".join(lines) + "\n"


def main(
    clip: Annotated[Path | None, typer.Option(help="a video (default: the demo clip)")] = None,
    runs: Annotated[int, typer.Option(min=1, help="runs of each kind")] = 3,
    frames: Annotated[int, typer.Option(min=30, help="frames of the clip")] = 300,
    keypoints: Annotated[str, typer.Option(help="fast, accurate or both, with commas; so the next three")] = "fast",
    flow: Annotated[str, typer.Option(help="as in run_camera.py")] = "auto",
    precision: Annotated[str, typer.Option(help="as in run_camera.py")] = "auto",
    persons: Annotated[str, typer.Option(help="as in run_camera.py")] = "1",
    engine: Annotated[str, typer.Option(help="as in run_camera.py")] = "auto",
    peers: Annotated[str, typer.Option(help=f"programs to compare with, with commas: {', '.join(PEERS)}")] = "",
    peer_python: Annotated[
        str, typer.Option(help="the interpreter that has them", show_default="this one")
    ] = sys.executable,
    output: Annotated[Path | None, typer.Option(help="folder for bench.json, bench.md and timelines")] = None,
) -> None:
    """Print mesh rate, latency, memory and time per stage of the whole program, headless, for every combination of choices.

    The runs of the combinations, and of peers, alternate. One more of each comes first and does not count: it builds engines
    and compiles.
    """
    console = Console()
    if output is not None:
        check_folder(output)  # known now, and not when all has been measured
    choices = map(values_of, (keypoints, flow, precision, persons))
    settings = [Setting(*values) for values in itertools.product(*choices)]
    for line in without_effect(settings, engine):
        console.print(line, highlight=False)
    original = clip or fetch_demo_clip()
    with tempfile.TemporaryDirectory() as folder:
        standard = Path(folder) / "clip.mp4"
        standard_clip(original, standard, frames)
        for setting in settings:
            run_once(standard, setting, engine, 30)
        others: dict[str, list[PeerRun]] = {}
        left_out = []
        for name in filter(None, values_of(peers)):
            if problem := why_no_peer(name, peer_python, standard):
                left_out.append(f"left out: {problem}")
                console.print(left_out[-1], highlight=False, soft_wrap=True)
            else:
                others[name] = []
        clips = {"file": standard, "live": standard, "recorded": original}
        results: Results = {str(each): {mode: [] for mode in clips} for each in settings}
        for _ in range(runs):
            for name, found in others.items():
                found.append(run_peer(name, peer_python, standard, frames))
            for mode, path in clips.items():
                for setting in settings:
                    results[str(setting)][mode].append(run_once(path, setting, engine, frames, mode))
    with open_source(str(original)) as source:
        width, height = source.size
    about = (
        f"Medians of {runs} runs on {describe_device()}. file: 640×480, as fast as it can; live: the same at the clip's own "
        f"pace; recorded: {width}×{height}, annotated video written. Processor time: the whole run with its start."
    )
    about = " ".join([about, *(f"{reason[0].upper()}{reason[1:]}." for reason in left_out)])
    _print_tables(console, results, about, peer_rows(others), runs)
    if output is not None:
        _save(output, results, others, about)
        names = ["bench.json", "bench.md", *(timeline_name(number + 1) for number in range(len(results)))]
        console.print(f"written: {output}/{', '.join(names)}", highlight=False)


def _print_tables(console: Console, results: Results, about: str, peers: Sequence[Sequence[str]], runs: int) -> None:
    """A table for each combination of choices, and one of the ``peers`` where there are any."""
    for title, reports in results.items():
        first = reports["file"][0]
        table = Table(title=f"{first['device']}, {first['engine']}, {title}", caption=about)
        table.add_column("median of " + str(runs))
        for mode in reports:
            table.add_column(mode, justify="right")
        for label, cells in figures(reports):
            table.add_row(label, *cells)
        console.print(table)
    if peers:
        table = Table(*PEER_COLUMNS, title=PEER_TITLE)
        for row in peers:
            table.add_row(*row)
        console.print(table)


def _save(folder: Path, results: Results, peers: dict[str, list[PeerRun]], about: str) -> None:
    """Write bench.json, bench.md and the timeline of each combination's first live run."""
    rows = {**results, "peers": {name: list(map(asdict, each)) for name, each in peers.items()}}
    write_text_atomically(folder / "bench.json", json.dumps(rows, indent=2) + "\n")
    write_text_atomically(folder / "bench.md", bench_page(results, about, peer_rows(peers)))
    for number, reports in enumerate(results.values(), 1):
        timeline = reports["live"][0]["timeline"]
        save_timeline([(name, begin, end) for name, begin, end in timeline], folder / timeline_name(number))


if __name__ == "__main__":
    run_command(main, examples="Example: python -m tools.bench")
