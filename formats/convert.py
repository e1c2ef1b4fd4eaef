"""A saved motion in another format: python -m formats.convert MOTION.npz OUT.glb"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from common.errors import UserError, exit_with_one_line
from common.files import check_writable, write_bytes_atomically
from formats.gltf import to_glb
from formats.motion import body_of, load_motion


def main(
    motion: Annotated[Path, typer.Argument(help="a file written by run_camera.py --save")],
    output: Annotated[Path, typer.Argument(help="the .glb file to write")],
    body: Annotated[Path | None, typer.Option(help="the body it was made with, if not the default one")] = None,
) -> None:
    """Write everyone in a saved motion as an animated mesh."""
    if output.suffix.lower() != ".glb":
        raise UserError(f"{output} does not end in .glb: name an output that does")
    check_writable(output)
    saved = load_motion(motion)
    content = to_glb(saved, body_of(saved, body))
    try:
        write_bytes_atomically(output, content)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from None
    people = len(np.unique(saved.person[saved.person >= 0]))
    print(f"{output}: {people} {'person' if people == 1 else 'people'}, {len(content) / 1e6:.1f} MB")


if __name__ == "__main__":
    with exit_with_one_line():
        typer.run(main)
