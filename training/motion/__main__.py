"""Command line: ``python -m training.motion pack SOURCES... --output motion.npz`` and ``... show motion.npz``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from body.joints import JOINT_NAMES
from common.arrays import DoubleArray
from common.command_line import run_commands
from common.errors import exit_with_one_line
from common.npz import read_npy
from training.motion.archive import ARCHIVE_ERRORS
from training.motion.asf_amc import CMU_FPS
from training.motion.clip import Clip, MotionError
from training.motion.knees import straighten_clips
from training.motion.pack import SplitRule, find_motions, load_motion_pack, read_motions, save_motion_pack

app = typer.Typer(
    add_completion=False,
    help="Human motion for training: read, packed and described.",
    epilog="Example: python -m training.motion pack recordings --output motion.npz",
)


@app.command()
def pack(
    sources: Annotated[
        list[Path],
        typer.Argument(help="Files (.bvh, .amc with its .asf, AMASS .npz, .glb, .c3d, UI-PRMD's .txt) or folders."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The motion pack to write.")],
    fps: Annotated[float, typer.Option(min=1.0, help="Frames a second in the pack.")] = 30.0,
    val_subjects: Annotated[str, typer.Option(help="Subjects for validation, with commas between.")] = "",
    test_subjects: Annotated[str, typer.Option(help="Subjects for the test, with commas between.")] = "",
    val_share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Part of the other subjects likewise.")] = 0.1,
    test_share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Part of the other subjects likewise.")] = 0.1,
    licence: Annotated[str, typer.Option(help="Terms of use of these files, in words.")] = "",
    free: Annotated[
        bool, typer.Option("--free", help="Weights trained on them may be given away for any use.")
    ] = False,
    amc_fps: Annotated[float, typer.Option(min=1.0, help="Frame rate of .amc files, which do not say it.")] = CMU_FPS,
    amass_rest: Annotated[
        Path | None, typer.Option(help="A .npy of (24, 3) resting SMPL joints, metres: makes AMASS poses exact.")
    ] = None,
    min_seconds: Annotated[float, typer.Option(min=0.0, help="Leave out shorter takes.")] = 0.5,
) -> None:
    """Read motion files, bring them to the 24 joints and one frame rate, and write one motion pack.

    The knees of CMU's skeletons are straightened by their bias: pack all clips of a subject together.
    """
    console, errors = Console(), Console(stderr=True)
    rule = SplitRule(_names(val_subjects), _names(test_subjects), val_share, test_share)
    clips: list[Clip] = []
    failures = 0
    with exit_with_one_line(OSError, ValueError):
        for result in read_motions(
            find_motions(sources),
            rule=rule,
            fps=fps,
            min_seconds=min_seconds,
            licence=licence,
            free=free,
            amc_fps=amc_fps,
            amass_rest_joints=None if amass_rest is None else _rest_joints(amass_rest),
        ):
            if isinstance(result, Clip):
                clips.append(result)
            else:
                failures += 1
                errors.print(f"skipped: {' '.join(str(result).split())}", markup=False, highlight=False, soft_wrap=True)
        if not clips:
            raise MotionError(f"no readable motion in {len(sources)} source(s), {failures} file(s) skipped")
        clips = straighten_clips(clips)
        save_motion_pack(output, clips)
    _print_table(console, clips)
    size = output.stat().st_size / 1e6
    console.print(
        f"{output}: {len(clips)} clips, {size:.1f} MB; {failures} file(s) skipped", markup=False, soft_wrap=True
    )


@app.command()
def show(path: Annotated[Path, typer.Argument(help="A motion pack.")]) -> None:
    """Print what a motion pack holds."""
    clips = load_motion_pack(path)
    _print_table(Console(), clips)


@app.command()
def statistics(
    path: Annotated[Path, typer.Argument(help="A packed folder or a motion pack.")],
    split: Annotated[str, typer.Option(help="Of the subjects.")] = "train",
    windows: Annotated[int, typer.Option(min=1, help="How many windows of 3 s to draw.")] = 2048,
    histogram: Annotated[bool, typer.Option("--histogram", help="Print shares of every 10 degrees, too.")] = False,
) -> None:
    """Print joint angles of what training draws, after augmentation, against the motion as it was recorded."""
    # Drawing needs torch, which packing does not.
    from body.lbs_torch import TorchBody
    from body.model import load_body
    from training.motion import statistics as stats
    from training.motion.bank import NONE, Augmentation
    from training.motion.opening import open_clips

    console = Console()
    clips = open_clips(path, split)
    body = TorchBody(load_body())
    raw, drawn = (stats.measure_motion(clips, body, how, windows) for how in (NONE, Augmentation()))
    console.print(stats.angles_table(raw, drawn, f"{split}: {len(clips)} clips, raw → drawn"), stats.shares(raw, drawn))
    if histogram:
        console.print(stats.histograms(raw, drawn))


@app.command()
def sources(
    path: Annotated[Path, typer.Argument(help="A packed folder or a motion pack.")],
    category: Annotated[str, typer.Option(help="Kind of motion that every source has.")] = "walk",
    split: Annotated[str, typer.Option(help="Splits, with commas between.")] = "train,val,val2,test",
) -> None:
    """Print joint angles of each source's motion side by side, to find skeletons that bend a joint too much."""
    from body.lbs_torch import TorchBody
    from body.model import load_body
    from training.motion.opening import open_clips
    from training.motion.statistics import sources_table

    clips = [clip for part in split.split(",") for clip in open_clips(path, part.strip())]
    chosen = [clip for clip in clips if clip.category == category]
    if not chosen:
        raise MotionError(f"{path} has no {category!r}; it has {', '.join(sorted({clip.category for clip in clips}))}")
    Console().print(sources_table(chosen, TorchBody(load_body()), f"{category}: {len(chosen)} clips"))


def _rest_joints(path: Path) -> DoubleArray:
    try:
        joints = np.asarray(read_npy(path), np.float64)
    except ARCHIVE_ERRORS as error:
        raise MotionError(f"{path}: not an .npy file, or damaged ({error})") from error
    if joints.shape != (len(JOINT_NAMES), 3) or not np.isfinite(joints).all():
        raise MotionError(f"{path}: {joints.shape}, should be ({len(JOINT_NAMES)}, 3) joints in metres")
    return joints


def _names(text: str) -> frozenset[str]:
    # Subjects taken from names have no leading zeros (training.motion.retarget.subject_of); "02" should find "2" all the same.
    given = {name.strip() for name in text.split(",") if name.strip()}
    return frozenset(given | {name.lstrip("0") or name for name in given})


def _print_table(console: Console, clips: Sequence[Clip]) -> None:
    table = Table("split", "clips", "subjects", "minutes", "free", title="Motion")
    for split in sorted({clip.split for clip in clips}):
        part = [clip for clip in clips if clip.split == split]
        minutes = sum(clip.seconds for clip in part) / 60.0
        free = sum(clip.free for clip in part)
        table.add_row(split, str(len(part)), str(len({clip.subject for clip in part})), f"{minutes:.1f}", str(free))
    console.print(table)


if __name__ == "__main__":
    run_commands(app, "python -m training.motion")
