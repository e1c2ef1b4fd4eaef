"""Build the TensorRT engines of this machine: ``python -m export.engines --precision fp16``.

Where TensorRT runs, ``run_camera.py`` builds missing engines by itself, in float16. This command builds all of them beforehand,
and in int8 or for a DLA what ``run_camera.py`` does not build.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from common.command_line import run_command
from common.remarks import show_remarks
from engines.choices import Precision
from engines.engine import Arrays
from engines.machine_files import plans_folder
from engines.plan_builds import build_plan, for_rows
from engines.plans import Plan, Target
from engines.tensorrt_builder import BuildOptions, BuildProgress
from export.conversion.network import PipelineNetwork
from export.conversion.precision import convert
from export.networks import CLIP, load_networks, record_samples
from realtime.options import MAX_PERSONS

CALIBRATION_FRAMES = 45


def build_engines(
    networks: Mapping[str, PipelineNetwork],
    options: BuildOptions,
    folder: Path | None = None,
    *,
    samples: Mapping[str, Sequence[Arrays]] | None = None,
    force: bool = False,
    console: Console | None = None,
) -> Iterator[Plan]:
    """Convert each network to the precision of ``options`` and build its plan, with a progress bar on ``console``.

    int8 is calibrated with ``samples`` of each network's inputs; None: with its inputs on the rendered clip.
    Raises `EngineError` and `export.conversion.onnx_tools.OnnxError`.
    """
    console = console or Console(stderr=True, highlight=False)
    Target.here()  # before minutes of calibration: is there a GPU at all
    if samples is None and options.precision == "int8":
        with console.status("calibrating int8 with a rendered person"):
            samples = record_samples(networks, CLIP, CALIBRATION_FRAMES)
    for place, (name, network) in enumerate(networks.items(), 1):
        many = options.batch[2] > 1
        graph = replace(network, data=for_rows(network.data, name)) if many else network
        converted = convert(graph, options.precision, samples[name] if samples else ())
        # The body is full float32 in every precision, which no DLA core computes.
        exact = replace(options, precision="fp32", dla=None, tf32=False)
        with show_remarks(console), _bar(console, f"{place}/{len(networks)} {name}") as progress:
            yield build_plan(
                converted.data,
                name,
                exact if network.kind == "body" else options,
                folder=folder,
                source=network.data,
                force=force,
                progress=progress,
            )


@contextmanager
def _bar(console: Console, title: str) -> Iterator[BuildProgress]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[phase]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(title, total=None, phase="")
        yield lambda phase, done, total: bar.update(task, completed=done, total=total, phase=phase)


def main(
    precision: Annotated[Precision, typer.Option(help="of the engines")] = "fp16",
    networks: Annotated[str, typer.Option(help="names or .onnx files, with commas; all by default")] = "",
    workspace: Annotated[int | None, typer.Option(min=1, help="most scratch memory of one layer, MB")] = None,
    dla: Annotated[int | None, typer.Option(min=0, help="DLA core of a Jetson that takes what it can")] = None,
    batch: Annotated[
        tuple[int, int, int] | None,
        typer.Option(
            help=f"smallest, usual and largest number of people at a time (1 1 {MAX_PERSONS}; with a DLA 1 1 1)"
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="folder of the engines (default: the user's cache)")] = None,
    body: Annotated[Path | None, typer.Option(help="body of the body's engine, as in run_camera.py")] = None,
    force: Annotated[bool, typer.Option("--force", help="build also what is there")] = False,
) -> None:
    """Build a TensorRT engine of every network between the camera and the mesh."""
    console = Console(stderr=True, highlight=False)
    options = BuildOptions(precision, workspace, dla, batch or (1, 1, 1 if dla is not None else MAX_PERSONS))
    chosen = load_networks([name for name in networks.split(",") if name] or None, body)
    for plan in build_engines(chosen, options, output, force=force, console=console):
        state = "was there" if plan.reused else f"built in {plan.seconds:.0f} s"
        print(f"{plan.label:22s} {plan.precision}  {plan.size / 1e6:6.1f} MB  {state}")
    print(f"in {output or plans_folder()}")


if __name__ == "__main__":
    run_command(main, examples="Example: python -m export.engines --precision fp16")
