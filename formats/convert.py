"""A saved motion in another format, chosen by the ending: python -m formats.convert MOTION.npz OUT.bvh

Read: .npz (of run_camera.py or AMASS), .jsonl, .bvh with SMPL's joint names. Written: .npz, .bvh, .glb, .trc, .csv (joint
angles), .jsonl, .amass.npz.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from common.command_line import run_command
from common.errors import UserError
from formats.endings import MeshLook, ReferenceFrame, ending_of
from formats.save import Gaps, open_motion, save_as


def main(
    motion: Annotated[Path, typer.Argument(help="a .npz of run_camera.py --save, .jsonl, .bvh or .amass.npz")],
    output: Annotated[
        Path, typer.Argument(help="the file to write: .npz, .bvh, .glb, .trc, .csv, .jsonl or .amass.npz")
    ],
    body: Annotated[Path | None, typer.Option(help="the body it was made with, if not the default one")] = None,
    person: Annotated[int | None, typer.Option(help="this person alone (by default everyone)")] = None,
    frame: Annotated[
        ReferenceFrame | None,
        typer.Option(
            help="axes to write in: the camera's or the world's (by default the world's, where known); .jsonl has both by "
            "default, .npz always"
        ),
    ] = None,
    gaps: Annotated[
        Gaps,
        typer.Option(
            help="while a person is not seen, in .bvh, .trc and .amass.npz: hold the last pose (.trc: leave the "
            "fields empty), or go on in a new file"
        ),
    ] = "hold",
    look: Annotated[
        MeshLook, typer.Option(help="meshes of a .glb: a mannequin in a suit, or the body's own surface in one colour")
    ] = "suit",
) -> None:
    """Write a saved motion in another format."""
    ending_of(output)
    if os.path.exists(output) and os.path.exists(motion) and output.samefile(motion):
        raise UserError(f"{output} would be written over itself: give another name")
    for line in save_as(open_motion(motion, body), output, body, frame, person, gaps, look).lines:
        print(line)


if __name__ == "__main__":
    run_command(main, examples="Example: python -m formats.convert out/demo.npz out/demo.glb")
