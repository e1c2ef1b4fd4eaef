#!/usr/bin/env python
"""Live 3D human meshes from a camera, a stream or a video: python run_camera.py --help"""

from __future__ import annotations

import time

from common.errors import UserError

_STARTED_NS = time.monotonic_ns()  # before the imports: they are part of the time to the first mesh

# ruff: noqa: E402
import contextlib
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from engines.cuda.packages import ENVIRONMENT as CUDA_ENVIRONMENT
from engines.machine_files import ENVIRONMENT as PLANS_ENVIRONMENT
from engines.registry import why_no_tensorrt
from realtime.measure import Report
from realtime.session import DEFAULT_FOCAL, FlowMethod, KeypointModel, Options, Session, View

Runtime = Literal["auto", "tensorrt", "onnxruntime", "openvino"]
Precision = Literal["auto", "fp32", "fp16", "int8"]


def main(
    source: Annotated[str, typer.Option(help="camera number, video file, URL, folder of pictures, or 'demo'")] = "0",
    view: Annotated[View, typer.Option(help="auto: a window where there is a display, else none")] = "auto",
    engine: Annotated[
        Runtime,
        typer.Option(
            help="auto: TensorRT on a GPU, else the fastest that is installed. TensorRT speaks to the driver through "
            f"pycuda or, with ${CUDA_ENVIRONMENT}=cuda-bindings, through that, and replays CUDA graphs"
        ),
    ] = "auto",
    keypoints: Annotated[KeypointModel, typer.Option(help="MoveNet Lightning or Thunder")] = "fast",
    regressor: Annotated[str, typer.Option(help="a shipped regressor's name or an .onnx file")] = "motion",
    body: Annotated[Path | None, typer.Option(help="a licensed SMPL .pkl/.npz or another SMPL-layout file")] = None,
    record: Annotated[Path | None, typer.Option(help="write the annotated video (.mp4)")] = None,
    save: Annotated[Path | None, typer.Option(help="write the motion (.npz)")] = None,
    report: Annotated[Path | None, typer.Option(help="write what was measured (.json)")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="stop after so many frames")] = None,
    duration: Annotated[float | None, typer.Option(min=0.1, help="stop after so many seconds")] = None,
    live: Annotated[bool, typer.Option("--live", help="play a file by its clock, dropping what is late")] = False,
    fov: Annotated[float | None, typer.Option(help="horizontal field of view of the camera, degrees")] = None,
    focal: Annotated[
        float | None,
        typer.Option(help=f"focal length, pixels (default: {DEFAULT_FOCAL:g} times the picture's longer side)"),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(help="of TensorRT engines; auto: fp16 where python -m export.engines has built it, else fp32"),
    ] = "auto",
    trust_engine: Annotated[
        bool,
        typer.Option(
            "--trust-engine",
            help=f"load TensorRT engines that this machine did not build (folder: ${PLANS_ENVIRONMENT}, "
            "else motionmesh/engines in the user's cache)",
        ),
    ] = False,
    flow: Annotated[
        FlowMethod, typer.Option(help="optical flow; auto: raft on a GPU, dis on a CPU; none: keypoints alone")
    ] = "auto",
    persons: Annotated[int, typer.Option(min=1, max=6, help="people followed at the same time")] = 1,
    width: Annotated[int | None, typer.Option(min=16, help="ask the camera for pictures so wide")] = None,
    height: Annotated[int | None, typer.Option(min=16, help="ask the camera for pictures so high")] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=1, max=1000, help="ask the camera for so many pictures a second; the rate of a folder's pictures"
        ),
    ] = None,
    look_ahead: Annotated[
        int,
        typer.Option(
            min=0,
            max=30,
            help="for recordings: answer a frame once so many later ones are seen, and steady it by them without lag; "
            "8 is right at 30 fps, 0 is live",
        ),
    ] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", help="print errors only")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="print the time of every stage")] = False,
) -> None:
    """Watch a person through a camera and show the body's 3D mesh, live."""
    console = Console(stderr=True, quiet=quiet, highlight=False, markup=False, soft_wrap=True)
    options = Options(
        source=source, view=view, engine=engine, keypoints=keypoints, regressor=regressor, body=body, record=record,
        save=save, report=report, frames=frames, duration=duration, live=live, fov=fov, focal=focal,
        precision=precision, trust_engine=trust_engine, flow=flow, persons=persons, width=width, height=height, fps=fps,
        look_ahead=look_ahead,
    )  # fmt: skip

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # so that `kill` finishes recordings like Ctrl-C does

    signal.signal(signal.SIGTERM, end)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    session: Session | None = None
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("starting", total=None)

            def progress(done: int, total: int | None, rate: float, latency: float) -> None:
                speed = f"{rate:.1f} meshes/s, {latency:.0f} ms" if rate > 0 else "looking for a person"
                bar.update(task, completed=done, total=frames or total, description=f"frame {done}: {speed}")

            session = Session(options, console.print, progress, _STARTED_NS)
            session.run()
    except KeyboardInterrupt:
        console.print("stopped; what was recorded is complete")
        if session is not None:
            _summarise(console, session.report, options, verbose)
        raise typer.Exit(130) from None
    except UserError as error:
        # One line, whatever the error's author wrote: it must survive in a log.
        Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print(
            f"error: {' '.join(str(error).split())}"
        )
        raise typer.Exit(2) from None
    _summarise(console, session.report, options, verbose)


def _summarise(console: Console, report: Report | None, options: Options, verbose: bool) -> None:
    if report is None:  # ended before the first frame
        return
    rate = f" at {report.mesh_rate_hz:.1f}/s" if report.mesh_rate_hz > 0 else ""
    seen = (
        f"{report.meshes} meshes{rate}, capture to mesh p50 {report.latency_ms.p50:.0f} ms p95 "
        f"{report.latency_ms.p95:.0f} ms{_waited(report)}, first mesh after {report.first_mesh_s:.1f} s"
    )
    console.print(
        f"{report.frames_in} frames ({report.frames_dropped} dropped), {seen if report.meshes else 'nobody was seen'}, "
        f"{report.peak_rss_mb:.0f} MB, {report.engine}"
    )
    if verbose:
        if options.engine == "auto" and (missing := why_no_tensorrt()):
            console.print(f"  {missing}")
        for name, stage in report.stages.items():
            console.print(
                f"  {name:10s} {stage.count:6d} runs  p50 {stage.p50_ms:7.2f}  p95 {stage.p95_ms:7.2f}  "
                f"p99 {stage.p99_ms:7.2f} ms"
            )
    for what, path in (("annotated video", options.record), ("motion", options.save), ("report", options.report)):
        if path is not None:
            console.print(f"{what}: {path}")


def _waited(report: Report) -> str:
    if not report.look_ahead_frames:
        return ""
    return f" ({report.look_ahead_ms:.0f} ms of it waiting for {report.look_ahead_frames} later frames)"


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        typer.run(main)
    sys.exit()
