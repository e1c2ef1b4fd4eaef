"""Command line of the build: ``python -m body.fitting --output body/data``."""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

from body.fitting.pipeline import FACES, build_bodies
from body.fitting.source import REQUIREMENT, Assets, fetch_wheel
from common.errors import exit_with_one_line


def main() -> None:
    """Build the free default body from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m body.fitting",
        description="Build the free default body.",
        epilog="Example: python -m body.fitting --output out/body",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("body/data"), help="folder to write to (default: %(default)s)"
    )
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {REQUIREMENT}; downloaded with pip when left out")
    parser.add_argument("--samples", type=int, default=1000, help="adults to sample (default: %(default)s)")
    parser.add_argument("--faces", type=int, nargs="+", default=list(FACES), help="faces of each body")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampled adults (default: %(default)s)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)8.0f ms  %(message)s")
    with tempfile.TemporaryDirectory() as folder:
        wheel = arguments.wheel or fetch_wheel(Path(folder))
        build_bodies(Assets(wheel), arguments.output, arguments.samples, tuple(arguments.faces), arguments.seed)


if __name__ == "__main__":
    with exit_with_one_line():
        main()
