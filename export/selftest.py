"""Prove and measure this machine in one go: ``python -m export.selftest``.

Builds the engines of all networks, compares their answers with ONNX Runtime on the CPU, times each of them and the whole
program, and writes selftest.json and selftest.md: the files to attach to a bug report. A failure is noted, and the rest is
still tested.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from common.command_line import run_command
from common.errors import UserError
from engines.choices import Precision, RuntimeName
from export.checks.network_checks import run_selftest
from export.checks.selftest_report import markdown, write
from export.networks import CLIP, load_networks


def main(
    engine: Annotated[RuntimeName, typer.Option(help="what to test")] = "tensorrt",
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
    if not os.access(output if output.exists() else Path(), os.W_OK):
        raise UserError(f"cannot write into {output}: choose another --output")
    found = load_networks([name for name in networks.split(",") if name] or None)
    test = run_selftest(engine, chosen, found, video, frames, repeats, console)
    paths = write(test, output)
    print(markdown(test))
    console.print(f"written: {paths[0]}, {paths[1]}", soft_wrap=True)
    raise typer.Exit(0 if test.passed else 1)


if __name__ == "__main__":
    run_command(main, examples="Example: python -m export.selftest --engine onnxruntime")
