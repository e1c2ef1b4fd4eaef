"""Command line of the build: ``python -m body.fitting --output body/data``."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from body.fitting.pipeline import FACES, build_bodies
from body.fitting.source import REQUIREMENT, Assets, fetch_wheel
from common.command_line import run_command


def main(
    output: Annotated[Path, typer.Option(help="folder to write to")] = Path("body/data"),
    wheel: Annotated[
        Path | None, typer.Option(help=f"the wheel of {REQUIREMENT}; default: downloaded with pip")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="adults to sample")] = 1000,
    faces: Annotated[list[int] | None, typer.Option(min=4, help=f"faces of a body (default: {FACES})")] = None,
    seed: Annotated[int, typer.Option(help="seed of the sampled adults")] = 0,
) -> None:
    """Build the free default body, in one file for each number of --faces."""
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)8.0f ms  %(message)s")
    with tempfile.TemporaryDirectory() as folder:
        assets = Assets(wheel or fetch_wheel(Path(folder)))
        build_bodies(assets, output, samples, tuple(faces or FACES), seed)


if __name__ == "__main__":
    run_command(main, examples="Example: python -m body.fitting --output out/body")
