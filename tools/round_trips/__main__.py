"""Errors of a motion's exported files as other programs read them, as a table: python -m tools.round_trips MOTION.npz

Programs that are not there are named; make readers installs them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from common.command_line import run_command
from formats.motion import body_of, load_motion
from tools.round_trips.comparisons import COMPARISONS, exported
from tools.round_trips.programs import NotInstalled


def main(
    motion: Annotated[Path, typer.Argument(help="a motion with finite values, as make demo writes out/demo.npz")],
    body: Annotated[Path | None, typer.Option(help="the body it was made with, if not the default one")] = None,
) -> None:
    """Print how far joints, skin and rotations are off when another program reads what was exported."""
    saved = load_motion(motion)
    print("| file | read by | joints and skin, mm | rotations, ° | |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        given = exported(saved, body_of(saved, body), Path(folder))
        for name, compare in COMPARISONS.items():
            try:
                row = compare(given)
            except NotInstalled as missing:
                ending, _, reader = name.partition(" ")
                print(f"| {ending} | {reader} | | | {missing} |")
                continue
            errors = ("" if value is None else f"{value:.4f}" for value in (row.position_mm, row.rotation_deg))
            print(f"| {row.ending} | {row.reader} | {' | '.join(errors)} | {row.remark} |")
    frames, people = len(set(saved.frame.tolist())), len(saved.people)
    print(f"\n{motion.name}: {frames} frames, {people} {'person' if people == 1 else 'people'}; the greatest errors.")


if __name__ == "__main__":
    run_command(main, examples="Example: python -m tools.round_trips out/demo.npz")
