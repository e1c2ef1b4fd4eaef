"""Score motions on 3DPW: python -m training.evaluate --dataset threedpw ROOT

The real chain runs over the pictures of every sequence and saves NAME.npz, as ``run_camera.py --save`` does; what is
saved already is not made again. ``--predictions FOLDER`` scores motions that lie elsewhere. The protocol is the usual one
(SPIN, VIBE, WHAM):

- Counted are frames with more than six of the twelve limb keypoints over 0.3 in the data set's own detections and a camera
  pose that could be aligned (``campose_valid``).
- Joints are 14, taken from SMPL's vertices by J_regressor_h36m: of the truth's body by its gender, and of the predicted
  body, which should be neutral.
- MPJPE after moving the middle of the hips together, PA-MPJPE after the best similarity of each frame, PVE over all 6890
  vertices after moving the same hips together. Means over frames, each counting alike.
- Acceleration error from three neighbouring counted frames, relative to the hips, at 30 fps: in m/s² (WHAM) and, named
  so, in mm/frame² (VIBE).

That needs the licensed SMPL files (``--smpl FOLDER``). Motions of the body that ships are said in the parameters of neutral
SMPL first (`training.datasets.conversion`); those made with one of the files (``run_camera.py --body``) are taken as they
are. Without the files the motions' own joints are compared with the data set's ``jointPositions``: 14 joints of SMPL, no
vertices. People are found by where their keypoints lie; frames in which somebody was not found are not in the means,
and are printed.
"""

from __future__ import annotations

from collections.abc import Sequence as Several
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from body.joints import COCO_NAMES, JOINT_NAMES
from body.lbs import NumpyBody
from realtime.motion_file import Motion, load_motion
from realtime.session import USER_ERRORS, Options, Session
from training.datasets.conversion import BodyConversion
from training.datasets.sequence import DatasetError, Sequence
from training.datasets.smpl_folder import HIPS_14, NAMES_14, SmplFolder
from training.datasets.threedpw import HOME, find_threedpw, read_threedpw
from training.metrics import PoseErrors, mean_of_known, per_frame_squared, pose_errors
from training.predictions import body_of, rows_of_people

Array = NDArray[np.float64]

SURE: Final = 0.3
"""A keypoint of the data set counts as seen above this confidence."""

LEAST_SEEN: Final = 6
"""A frame is counted with more limb keypoints than this."""

LIMBS: Final = list(range(5, len(COCO_NAMES)))
"""COCO's shoulders, elbows, wrists, hips, knees and ankles."""

SMPL_14: Final = [JOINT_NAMES.index("head" if name == "head top" else name.replace(" ", "_")) for name in NAMES_14]
"""The joints of SMPL that stand in for `NAMES_14` where there are no vertices of SMPL."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Errors of one person in one sequence of T frames, or of several together."""

    name: str
    frames: int
    counted: NDArray[np.bool_]
    """(T,) frames that the protocol counts."""
    found: NDArray[np.bool_]
    """(T,) counted frames in which the motion has the person."""
    errors: PoseErrors
    pve: Array
    """(T,) mm; NaN without SMPL's vertices."""


def counted_frames(sequence: Sequence) -> NDArray[np.bool_]:
    """(T,) the frames that the protocol counts."""
    assert sequence.keypoint_confidence is not None, "3DPW has detections"
    seen = (sequence.keypoint_confidence[:, LIMBS] > SURE).sum(1) > LEAST_SEEN
    counted: NDArray[np.bool_] = seen & sequence.valid
    return counted


def score_people(people: Several[Sequence], motion: Motion, smpl: SmplFolder | None = None) -> list[Scores]:
    """Score a motion on the people of one recording: by the protocol with ``smpl``, else on SMPL's joints.

    Raises:
        DatasetError: A file of ``smpl`` is missing.
        BodyError: A file of ``smpl`` cannot be read, or the motion's body is neither one of them nor one that ships.
    """
    frames = np.arange(len(people[0]))
    points = np.stack([_sure_keypoints(sequence) for sequence in people])
    rows = rows_of_people(motion, frames, points, list(range(len(COCO_NAMES))))
    scores = []
    for sequence, mine in zip(people, rows, strict=True):
        counted = counted_frames(sequence)
        found = counted & (mine >= 0)
        if smpl is None:
            assert sequence.joints is not None, "3DPW has joints"
            predicted, truth = (
                part[:, SMPL_14].astype(np.float64) for part in (motion.joints_m[mine], sequence.joints)
            )
            pve = np.full(len(sequence), np.nan)
        else:
            predicted, truth, pve = _on_the_surface(sequence, motion, np.where(found, mine, -1), smpl)
        known = np.repeat(found[:, None], len(NAMES_14), 1)
        errors = pose_errors(predicted, truth, known, HIPS_14, sequence.fps)
        scores.append(Scores(f"{sequence.name} {sequence.person}", len(sequence), counted, found, errors, pve))
    return scores


def _sure_keypoints(sequence: Sequence) -> Array:
    """(T, 17, 2) pixels; NaN for those that the data set's detector was not sure of."""
    assert sequence.keypoints_px is not None, "3DPW has detections"
    assert sequence.keypoint_confidence is not None, "3DPW has detections"
    return np.where(sequence.keypoint_confidence[..., None] > SURE, sequence.keypoints_px, np.nan).astype(np.float64)


def _on_the_surface(
    sequence: Sequence, motion: Motion, rows: NDArray[np.int64], smpl: SmplFolder
) -> tuple[Array, Array, Array]:
    """Joints (T, 14, 3) of the prediction and of the truth, metres, and PVE (T,) mm; NaN where a row is -1.

    Both bodies stand with their pelvis in the camera: all errors are taken relative to the hips.
    """
    arrays, regressor = smpl.body_with_hash(motion.body_sha256), smpl.regressor_14()
    there = np.flatnonzero(rows >= 0)
    poses = np.concatenate([motion.global_orient[:, None], motion.body_pose], 1)[rows[there]]
    betas = motion.betas[rows[there]]
    if arrays is None and len(there):
        arrays = smpl.body("neutral")
        conversion = BodyConversion(body_of(motion), arrays)
        poses, betas = conversion.rotations(poses, betas.mean(0)), conversion.betas(betas)
    joints, pve = np.full((2, len(rows), len(regressor), 3), np.nan), np.full(len(rows), np.nan)
    if arrays is None:
        return joints[0], joints[1], pve
    own, true, nowhere = NumpyBody(arrays), NumpyBody(smpl.body(sequence.gender)), np.zeros(3)
    true.set_shape(sequence.betas)
    for t, pose, shape in zip(there, poses, betas, strict=True):
        own.set_shape(shape)
        mine, _ = own.pose(pose[0], pose[1:], nowhere)
        theirs, _ = true.pose(sequence.global_orient[t], sequence.body_pose[t], nowhere)
        joints[:, t] = regressor @ mine, regressor @ theirs
        hips = joints[:, t, HIPS_14].mean(1)
        pve[t] = np.linalg.norm((mine - hips[0]) - (theirs - hips[1]), axis=1).mean() * 1000
    return joints[0], joints[1], pve


def together(scores: Several[Scores]) -> Scores:
    """All frames of several people as one."""
    errors = [each.errors for each in scores]
    return Scores(
        "all",
        sum(each.frames for each in scores),
        np.concatenate([each.counted for each in scores]),
        np.concatenate([each.found for each in scores]),
        PoseErrors(
            np.concatenate([each.pa for each in errors]),
            np.concatenate([each.mpjpe for each in errors]),
            np.concatenate([each.acceleration for each in errors]),
        ),
        np.concatenate([each.pve for each in scores]),
    )


def table(scores: Several[Scores], fps: float, with_vertices: bool) -> Table:
    """One line for each, with the joints named above."""
    kind = (
        "joints by J_regressor_h36m"
        if with_vertices
        else "joints of SMPL (jointPositions), head joint for the head's top"
    )
    made = Table(
        *("sequence, person", "found of counted of all", "PA-MPJPE mm", "MPJPE mm"),
        *(("PVE mm",) if with_vertices else ()),
        *(f"accel m/s² at {fps:g} fps", "accel mm/frame²"),
        title=f"{len(NAMES_14)} {kind}: {', '.join(NAMES_14)}",
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
            f"{per_frame_squared(acceleration, fps):.2f}",
        )
    return made


def record(sequence: Sequence, path: Path, options: Options) -> None:
    """Run the real chain over a sequence's pictures and save the motion at ``path``, with the data set's focal length.

    Raises `DatasetError` if the pictures are not there, and what `Session.run` raises.
    """
    if sequence.source is None or not sequence.source.exists():
        raise DatasetError(f"the pictures of {sequence.name} are not in {sequence.source}: {HOME}")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")  # an interrupted session saves what it has
    focal = float(sequence.camera_matrix[0, 0])
    Session(replace(options, source=str(sequence.source), save=unfinished, focal=focal)).run()
    unfinished.replace(path)


def main(
    root: Annotated[Path, typer.Argument(help="where sequenceFiles and imageFiles lie")],
    dataset: Annotated[Literal["threedpw"], typer.Option(help="the data set")],
    predictions: Annotated[
        Path | None, typer.Option(help="folder of saved motions, NAME.npz [default: made in out/threedpw]")
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test")] = "test",
    smpl: Annotated[Path | None, typer.Option(help="folder of licensed SMPL files and J_regressor_h36m.npy")] = None,
    joint_regressor: Annotated[Path | None, typer.Option(help="J_regressor_h36m.npy, where it lies elsewhere")] = None,
    run: Annotated[bool, typer.Option("--run", help="make the motions that are missing, from the pictures")] = False,
    keypoints: Annotated[str, typer.Option(help="with --run: fast or accurate")] = "accurate",
    regressor: Annotated[
        str, typer.Option(help="with --run: a shipped regressor's name or an .onnx file")
    ] = "keypoints",
    body: Annotated[Path | None, typer.Option(help="with --run: the body, the neutral SMPL of --smpl for PVE")] = None,
) -> None:
    """Print the errors of saved motions by the protocol of a data set."""
    console, errors = Console(width=160, highlight=False), Console(stderr=True, soft_wrap=True, highlight=False)
    try:
        folder = None if smpl is None else SmplFolder(smpl, joint_regressor)
        options = Options(view="none", keypoints=keypoints, regressor=regressor)
        made = Path("out", "threedpw", f"{Path(regressor).stem}-{keypoints}")
        saved_in, run = (made, True) if predictions is None else (predictions, run)
        scores: list[Scores] = []
        for path in find_threedpw(root, split):
            people = read_threedpw(path)
            saved = saved_in / f"{people[0].name}.npz"
            if not saved.exists():
                if not run:
                    raise DatasetError(f"there is no {saved}: add --run to make it from {people[0].source}")
                record(people[0], saved, options)
                errors.print(f"recorded {saved}")
            scores += score_people(people, load_motion(saved), folder)
    except (ValueError, *USER_ERRORS) as error:
        errors.print(f"error: {' '.join(str(error).split())}", markup=False)
        raise typer.Exit(2) from None
    console.print(table([*scores, together(scores)], 30.0, folder is not None))
    if folder is None:
        console.print(
            "Without --smpl there are no vertices of SMPL: no PVE can be had, and these joints are not those of published "
            "results, so their figures do not compare."
        )
