"""Command line of the build: ``python -m body.fitting --output body/data``."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

from body.errors import BodyError
from body.fitting.pipeline import FACES, build_bodies
from body.fitting.source import REQUIREMENT, Assets, fetch_wheel


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m body.fitting", description="Build the free default body.")
    parser.add_argument(
        "--output", type=Path, default=Path("body/data"), help="folder to write to (default: %(default)s)"
    )
    parser.add_argument("--wheel", type=Path, help=f"the wheel of {REQUIREMENT}; downloaded with pip when left out")
    parser.add_argument("--samples", type=int, default=1000, help="adults to sample (default: %(default)s)")
    parser.add_argument("--faces", type=int, nargs="+", default=list(FACES), help="faces of each body")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(relativeCreated)8.0f ms  %(message)s")
    try:
        with tempfile.TemporaryDirectory() as folder:
            wheel = arguments.wheel or fetch_wheel(Path(folder))
            build_bodies(Assets(wheel), arguments.output, arguments.samples, tuple(arguments.faces), arguments.seed)
    except BodyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
