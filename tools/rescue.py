"""Makes a motion file from what a killed run has saved: python -m tools.rescue OUT.npz.part"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from common.command_line import run_command
from common.errors import UserError
from common.files import JSON_ERRORS, check_writable
from formats.motion import load_motion, save_motion
from realtime.outputs.journal import SUFFIX, read_journal
from realtime.outputs.motion_rows import columns


def main(
    unfinished: Annotated[Path, typer.Argument(help="the file that ends in .npz.part")],
    output: Annotated[
        Path | None, typer.Argument(help="the .npz file to write; default: its name without .part")
    ] = None,
) -> None:
    """Save what a killed run of --save has written: all but its last half second."""
    target = output or unfinished.with_name(unfinished.name.removesuffix(SUFFIX))
    if target.suffix != ".npz":
        raise UserError(f"{target} does not end in .npz: name an output that does")
    if target.exists():
        raise UserError(f"{target} exists: name another output")
    check_writable(target)
    rows, about = read_journal(unfinished)
    if not len(rows):
        raise UserError(f"{unfinished} holds no frame: there is nothing to save")
    try:
        arrays: dict[str, Any] = {
            "camera_matrix": np.array(about["camera_matrix"], np.float64).reshape(3, 3),
            "fps": np.float64(about["fps"]),
            "source": np.str_(about["source"]),
            "body_sha256": np.str_(about["body_sha256"]),
            "version": np.int64(about["version"]),
        }
    except JSON_ERRORS:
        raise UserError(f"{unfinished} is damaged: its head does not say what it holds") from None
    try:
        save_motion(target, {**columns(rows, arrays["camera_matrix"]), **arrays})
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}") from None
    motion = load_motion(target)
    frames = len(np.unique(motion.frame))
    print(f"{target}: {frames} frames, {motion.time_s[-1] - motion.time_s[0]:.1f} s; {unfinished} can be deleted")


if __name__ == "__main__":
    run_command(main, examples="Example: python -m tools.rescue out.npz.part")
