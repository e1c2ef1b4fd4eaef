"""Score motions on a real data set: python -m training.evaluation datasets ROOT --dataset threedpw

The real-time pipeline runs over the frames of every sequence and saves NAME.npz, as ``run_camera.py --save`` does; what is
saved already is not made again. ``--predictions FOLDER`` scores motions that lie elsewhere. `training.evaluation.protocols`
says what is counted and how; 3DPW can be scored in part without licensed SMPL files, EMDB cannot. Frames in which somebody
was not found are not in the means, and are printed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from body.joints import JOINT_NAMES
from common.errors import exit_with_one_line
from formats.motion import load_motion
from realtime.options import KeypointModel, Options
from realtime.session import Session
from training.datasets import emdb, threedpw
from training.datasets.sequence import DatasetError, PersonSequence
from training.datasets.smpl_folder import NAMES_14, SMPL_HOME, SmplFolder
from training.evaluation.metrics import mean_of_known, per_frame_squared
from training.evaluation.protocols import ProtocolScores, join_scores, score_emdb, score_threedpw

PROTOCOL_FPS = 30.0
"""Of both data sets."""

Dataset = Literal["threedpw", "emdb"]


def recordings(dataset: Dataset, root: Path, split: str) -> Iterator[list[PersonSequence]]:
    """The people of one recording after the other. Raises `DatasetError` as the readers do."""
    if dataset == "threedpw":
        for path in threedpw.find_threedpw(root, split):
            yield threedpw.read_threedpw(path)
        return
    if split not in ("emdb1", "emdb2", "all"):
        raise DatasetError(f"EMDB has no part {split!r}: choose emdb1, emdb2 or all")
    part: emdb.EmdbSubset = "emdb1" if split == "emdb1" else "emdb2" if split == "emdb2" else "all"
    for path in emdb.find_emdb(root):
        sequence = emdb.read_emdb(path, part)
        if sequence is not None:
            yield [sequence]


def record(sequence: PersonSequence, path: Path, options: Options) -> None:
    """Run the real-time pipeline over a sequence's frames and save the motion at ``path``, with the data set's focal length.

    Raises `DatasetError` if the frames are not there, and what `Session.run` raises.
    """
    if sequence.source is None or not sequence.source.exists():
        raise DatasetError(f"the frames of {sequence.name} are not in {sequence.source}: unpack them there")
    path.parent.mkdir(parents=True, exist_ok=True)
    focal = float(sequence.camera_matrix[0, 0])
    # An interrupted session saves what it has, which must not be taken for the whole.
    with TemporaryDirectory(dir=path.parent, prefix=".") as folder:
        unfinished = Path(folder, path.name)
        Session(replace(options, source=str(sequence.source), save=(unfinished,), focal=focal)).run()
        unfinished.replace(path)


def protocol_table(scores: Sequence[ProtocolScores], title: str) -> Table:
    """One line for each."""
    with_vertices = any(np.isfinite(each.pve).any() for each in scores)
    made = Table(
        *("sequence, person", "found of counted of all", "PA-MPJPE mm", "MPJPE mm"),
        *(("PVE mm",) if with_vertices else ()),
        *(f"accel m/s² at {PROTOCOL_FPS:g} fps", "accel mm/frame²"),
        title=title,
    )
    for each in scores:
        acceleration = mean_of_known(each.errors.acceleration)
        made.add_row(
            each.name,
            f"{int(each.found.sum())} of {int(each.counted.sum())} of {each.frames}",
            f"{mean_of_known(each.errors.pa):.1f}",
            f"{mean_of_known(each.errors.mpjpe):.1f}",
            *((f"{mean_of_known(each.pve):.1f}",) if with_vertices else ()),
            f"{acceleration:.2f}",
            f"{per_frame_squared(acceleration, PROTOCOL_FPS):.2f}",
        )
    return made


def _title(dataset: Dataset, with_smpl: bool) -> str:
    if dataset == "emdb":
        return f"EMDB, 24 joints of SMPL: {', '.join(JOINT_NAMES).replace('_', ' ')}"
    kind = "joints by J_regressor_h36m" if with_smpl else "joints of SMPL (jointPositions), head for head top"
    return f"3DPW, {len(NAMES_14)} {kind}: {', '.join(NAMES_14)}"


def score_dataset(
    root: Annotated[Path, typer.Argument(help="the data set's folder: sequenceFiles and imageFiles, or P0 to P9")],
    dataset: Annotated[Dataset, typer.Option(help="the data set")],
    predictions: Annotated[
        Path | None, typer.Option(help="folder of saved motions, NAME.npz; by default they are made in out/DATASET")
    ] = None,
    split: Annotated[
        str, typer.Option(help="3DPW: train, validation or test (default); EMDB: emdb1 (default), emdb2 or all")
    ] = "",
    smpl: Annotated[Path | None, typer.Option(help="folder of licensed SMPL files and J_regressor_h36m.npy")] = None,
    joint_regressor: Annotated[Path | None, typer.Option(help="J_regressor_h36m.npy, where it is elsewhere")] = None,
    run: Annotated[bool, typer.Option("--run", help="make what is missing in --predictions, too")] = False,
    keypoints: Annotated[KeypointModel, typer.Option(help="for motions that are made")] = "accurate",
    regressor: Annotated[str, typer.Option(help="a shipped regressor's name or an .onnx file, likewise")] = "motion",
) -> None:
    """Print the errors of motions by the protocol of a data set; make the motions where none are named."""
    console, errors = Console(width=160, highlight=False), Console(stderr=True, soft_wrap=True, highlight=False)
    with exit_with_one_line(ValueError):
        folder = None if smpl is None else SmplFolder(smpl, joint_regressor)
        if dataset == "emdb" and folder is None:
            raise DatasetError(f"EMDB stores no joints, SMPL makes them: --smpl FOLDER; {SMPL_HOME}")
        options = Options(view="none", keypoints=keypoints, regressor=regressor, quality="live", persons=1)
        made = Path("out", dataset, f"{Path(regressor).stem}-{keypoints}")
        saved_in, run = (made, True) if predictions is None else (predictions, run)
        split = split or ("test" if dataset == "threedpw" else "emdb1")
        scores: list[ProtocolScores] = []
        for people in recordings(dataset, root, split):
            saved = saved_in / f"{people[0].name}.npz"
            if not saved.exists():
                if not run:
                    raise DatasetError(f"there is no {saved}: add --run to make it from {people[0].source}")
                record(people[0], saved, options)
                errors.print(f"recorded {saved}")
            motion = load_motion(saved)
            if dataset == "threedpw":
                scores += score_threedpw(people, motion, folder)
            elif folder is not None:
                scores.append(score_emdb(people[0], motion, folder))
        if not scores:
            raise DatasetError(f"there is nothing of {split} in {root}")
    console.print(protocol_table([*scores, join_scores(scores)], _title(dataset, folder is not None)))
    if folder is None:
        console.print(
            "Without --smpl there are no vertices of SMPL: no PVE can be had, and these joints are not those of published "
            "results, so their figures do not compare."
        )
