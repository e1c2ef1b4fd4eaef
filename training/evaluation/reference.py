"""Score saved motions against what several calibrated cameras, or motion capture and one camera, measured:

    python run_camera.py --source CAMERA_0.mp4 --view none --focal PIXELS --save 0.npz        (each camera by itself)
    python -m training.evaluation reference REFERENCE.npz 0.npz 1.npz ...

A reference with ``mocap_m`` is one camera's, and each motion another way to look at the same video: see
`training.evaluation.mocap_reference`. Otherwise the reference file is plain numpy (``np.savez``, no objects) of T frames, J
points and C cameras:

- ``joints3d`` (T, J, 3) metres in a world of its own, NaN where a point is not known;
- ``joint_names`` (J,) text: COCO keypoints as ``left_shoulder`` or ``lsho``; other names are left out;
- ``K`` (C, 3, 3) pixels, ``R`` (C, 3, 3) and ``t`` (C, 3) metres: a point X of the world is at R X + t in the frame of a
  camera (x right, y down, z forward) and at K (R X + t) in its image; ``D`` (C, 4 or more) OpenCV's lens distortion,
  none where it is missing;
- ``n_views`` (T, J), optional: in how many images a point was seen. Fewer than two is no measurement: left out;
- ``reproj_px`` (T, J, C), optional: how far each of these was off the measured point in its image, NaN where it was not;
- ``frame`` (T,) evenly spaced indices in the videos, 0, 1, ... where it is missing; ``fps``, optional: frames a second of
  the REFERENCE, the videos' own rate where it is missing.

Errors are of the points that both sides have. PA-MPJPE: after the best similarity of each frame with `MIN_POINTS`
points or more. MPJPE: after moving the middle of the shoulders (or of the hips, where both are known) together; nothing
is turned or scaled. Acceleration: of points relative to that middle, by second differences of three neighbouring frames,
so it depends on the frame rate, which is printed with it. Each frame counts alike. Frames in which nobody was found cannot
be scored; their number is printed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from body.joints import COCO_NAMES, JOINT_NAMES
from common.arrays import AnyArray, BoolArray, DoubleArray, FloatArray, Int64Array
from common.errors import exit_with_one_line
from common.npz import read_npz
from formats.motion import Motion, body_of, load_motion
from training.evaluation.metrics import mean_of_known, per_frame_squared, pose_errors
from training.evaluation.mocap_reference import (
    MocapReference,
    flexion_table,
    is_mocap_reference,
    joints_of,
    mocap_reference,
    pose_table,
)
from training.evaluation.mocap_reference import score_joints as score_mocap
from training.evaluation.predictions import posed, rows_of_people
from training.motion.archive import ARCHIVE_ERRORS

Points = Literal["joints", "coco"]

MIN_POINTS: Final = 4
"""Fewer points determine too little of a pose after a similarity."""

LIMBS: Final = COCO_NAMES[5:]
"""COCO keypoints that name a joint of SMPL: shoulders, elbows, wrists, hips, knees, ankles."""

ROOTS: Final = {"shoulder": ("left_shoulder", "right_shoulder"), "hip": ("left_hip", "right_hip")}
"""The roots that poses are aligned by. Accelerations are relative to the last one of which both points are there."""

_SHORT: Final = {
    **{name[:1] + name.split("_")[1][:3]: name for name in COCO_NAMES[5:]},
    **{"leye": "left_eye", "reye": "right_eye", "lear": "left_ear", "rear": "right_ear"},
}


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """Points in space measured by C cameras; see the module for the file."""

    names: tuple[str, ...]
    """The J points, by COCO's names."""
    points: DoubleArray
    """(T, J, 3) metres, world frame; NaN where not known."""
    frames: Int64Array
    """(T,) indices in the videos, evenly spaced."""
    rotations: DoubleArray
    """(C, 3, 3) rotations, world to camera."""
    translations: DoubleArray
    """(C, 3) translations, world to camera, metres."""
    matrices: DoubleArray
    """(C, 3, 3) camera matrices, pixels."""
    distortions: DoubleArray
    """(C, D) distortion coefficients of OpenCV."""
    fps: float | None
    """Frames/s of the videos; None where the file does not say."""
    uncertainty: DoubleArray | None = None
    """(T, J) standard error of the points in an image, pixels; None where nothing is said of it."""

    def seen_by(self, camera: int) -> tuple[DoubleArray, DoubleArray]:
        """The points in the frame of a camera, (T, J, 3) metres, and in its image, (T, J, 2) pixels."""
        place = self.points @ self.rotations[camera].T + self.translations[camera]
        pixels, _ = cv2.projectPoints(
            np.where(np.isfinite(place), place, 1.0).reshape(-1, 1, 3),
            np.zeros(3),
            np.zeros(3),
            self.matrices[camera],
            self.distortions[camera],
        )
        points = np.where(np.isfinite(place[..., :2]), pixels.reshape(*place.shape[:2], 2), np.nan)
        return place, points.astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Errors of one motion against a reference of T frames, a value for each frame; NaN where it could not be had."""

    names: tuple[str, ...]
    """The points that are compared, by COCO's names."""
    fps: float
    """Frames/s of the reference, with which accelerations are computed."""
    found: BoolArray
    """bool (T,) frames in which the motion has the person."""
    known: BoolArray
    """bool (T,) frames in which the reference knows the points."""
    pa: DoubleArray
    """float64 (T,) PA-MPJPE, mm."""
    rooted: dict[str, DoubleArray]
    """float64 (T,) mean distance with the root aligned, mm, by the name of the root: ``shoulder``, ``hip``."""
    acceleration: DoubleArray
    """float64 (T,) acceleration error, m/s²."""


def _read_arrays(path: Path) -> dict[str, AnyArray]:
    try:
        return read_npz(path)
    except ARCHIVE_ERRORS as error:
        raise ValueError(f"{path} is no readable reference file ({' '.join(str(error).split())})") from error


def load_reference(path: Path) -> Reference:
    """Read the file of a reference by several cameras.

    Raises:
        ValueError: The file is missing, damaged or lacks an array.
    """
    return reference_of(path, _read_arrays(path))


def reference_of(path: Path, arrays: dict[str, AnyArray]) -> Reference:
    """Check the arrays of the file ``path``. Raises `ValueError` where one is missing or of another shape."""
    missing = [name for name in ("joints3d", "joint_names", "K", "R", "t") if name not in arrays]
    if missing:
        raise ValueError(f"{path} lacks {', '.join(missing)}: python -m training.evaluation reference --help lists all")
    points = arrays["joints3d"].astype(np.float64)
    count, cameras = len(points), len(arrays["K"])
    shapes = {
        "joints3d": (count, len(arrays["joint_names"]), 3),
        "K": (cameras, 3, 3),
        "R": (cameras, 3, 3),
        "t": (cameras, 3),
        "n_views": points.shape[:2],
        "reproj_px": (*points.shape[:2], cameras),
        "frame": (count,),
    }
    for name, shape in shapes.items():
        if name in arrays and arrays[name].shape != shape:
            raise ValueError(f"{path}: {name} is {arrays[name].shape}, should be {shape}")
    frames = arrays["frame"].astype(np.int64) if "frame" in arrays else np.arange(count, dtype=np.int64)
    if count < 1 or (np.diff(frames) < 1).any() or len(set(np.diff(frames).tolist())) > 1:
        raise ValueError(f"{path}: frame should be rising, evenly spaced indices of one frame or more")
    if "n_views" in arrays:
        points = np.where(arrays["n_views"][..., None] >= 2, points, np.nan)
    points = np.where(np.isfinite(points).all(-1, keepdims=True), points, np.nan)
    return Reference(
        tuple(_SHORT.get(str(name), str(name)) for name in arrays["joint_names"]),
        points,
        frames,
        arrays["R"].astype(np.float64),
        arrays["t"].astype(np.float64),
        arrays["K"].astype(np.float64),
        arrays["D"].astype(np.float64).reshape(cameras, -1) if "D" in arrays else np.zeros((cameras, 5)),
        float(arrays["fps"]) if "fps" in arrays else None,
        uncertainty_of(arrays["reproj_px"].astype(np.float64)) if "reproj_px" in arrays else None,
    )


def uncertainty_of(off: DoubleArray) -> DoubleArray:
    """Standard errors (T, J) px of points from their reprojection errors (T, J, C) px: n images give 2 n
    measurements for 3 unknowns, which leaves 2 n - 3 degrees of freedom."""
    views = np.isfinite(off).sum(-1)
    square = np.nansum(off**2, -1) / np.maximum(views, 1)
    return np.asarray(np.where(views >= 2, np.sqrt(square * 3 / np.maximum(2 * views - 3, 1)), np.nan))


def compare_with_reference(
    reference: Reference, camera: int, motion: Motion, points: Points = "joints", body: Path | None = None
) -> Comparison:
    """Score a motion that was estimated from the video of one camera of the reference.

    Where several people were found, the one is scored whose keypoints lie nearest to the reference's in the image.

    Args:
        reference: what several cameras measured.
        camera: number of the camera that the motion was estimated from.
        motion: the saved motion.
        points: compare SMPL's ``joints``, or the ``coco`` keypoints of the posed surface, face included.
        body: the file of the body that the motion was made with, where it is not one that ships; for ``coco`` only.

    Raises:
        ValueError: There is no such camera, or no point that both sides have.
        BodyError: The body is not known.
    """
    if not 0 <= camera < len(reference.rotations):
        raise ValueError(f"the reference has cameras 0 to {len(reference.rotations) - 1}, not {camera}")
    names = tuple(name for name in (LIMBS if points == "joints" else COCO_NAMES) if name in reference.names)
    if not names:
        raise ValueError(f"the reference has none of {', '.join(COCO_NAMES)}: name its points so")
    columns = [reference.names.index(name) for name in names]
    truth, pixels = (part[:, columns] for part in reference.seen_by(camera))
    # Without a limit on the distance: a pose that is far off is an error, not another person.
    (rows,) = rows_of_people(
        motion, reference.frames, pixels[None], [COCO_NAMES.index(name) for name in names], near=float("inf")
    )
    if points == "joints":
        predicted = motion.joints_m[rows][:, [JOINT_NAMES.index(name) for name in names]]
    else:
        arrays = body_of(motion, body)
        regressor = arrays.coco_regressor[[COCO_NAMES.index(name) for name in names]]
        predicted = regressor @ posed(motion, rows, arrays)
    step = int(reference.frames[1] - reference.frames[0]) if len(reference.frames) > 1 else 1
    return _errors(names, predicted, truth, rows >= 0, reference.fps or motion.fps / step)


def _errors(
    names: tuple[str, ...], predicted: FloatArray, truth: DoubleArray, found: BoolArray, fps: float
) -> Comparison:
    present = np.asarray(np.isfinite(truth).all(-1))
    errors = {
        root: pose_errors(
            predicted, truth, present & found[:, None], [names.index(name) for name in pair], fps, MIN_POINTS
        )
        for root, pair in ROOTS.items()
        if set(pair) <= set(names)
    }
    if not errors:
        raise ValueError("the reference has neither both shoulders nor both hips: nothing to align a pose by")
    last = list(errors.values())[-1]
    rooted = {root: part.mpjpe for root, part in errors.items()}
    return Comparison(names, fps, found, np.asarray(present.any(-1)), last.pa, rooted, last.acceleration)


def join_comparisons(comparisons: Sequence[Comparison]) -> Comparison:
    """All frames of several comparisons of one set of points as one."""
    first = comparisons[0]

    def joined(part: str) -> AnyArray:
        return np.concatenate([getattr(comparison, part) for comparison in comparisons])

    rooted = {root: np.concatenate([each.rooted[root] for each in comparisons]) for root in first.rooted}
    return Comparison(
        first.names, first.fps, joined("found"), joined("known"), joined("pa"), rooted, joined("acceleration")
    )


def reference_table(rows: dict[str, Comparison], points: Points) -> Table:
    """One line for each comparison, the names of the points in the title."""
    first = next(iter(rows.values()))
    kind = "SMPL joints" if points == "joints" else "COCO keypoints of the body"
    title = f"{len(first.names)} {kind}: {', '.join(name.replace('_', ' ') for name in first.names)}"
    made = Table(
        *("camera", "frames", "PA-MPJPE mm", *(f"{root}-rooted MPJPE mm" for root in first.rooted)),
        *(f"accel m/s² at {first.fps:g} fps", "accel mm/frame²"),
        title=title,
    )
    for name, scores in rows.items():
        acceleration = mean_of_known(scores.acceleration)
        made.add_row(
            name,
            f"{int((scores.found & scores.known).sum())} of {int(scores.known.sum())}",
            f"{mean_of_known(scores.pa):.1f}",
            *(f"{mean_of_known(values):.1f}" for values in scores.rooted.values()),
            f"{acceleration:.2f}",
            f"{per_frame_squared(acceleration, scores.fps):.1f}",
        )
    return made


def score_against_reference(
    reference: Annotated[Path, typer.Argument(help="what was measured (.npz)")],
    motions: Annotated[
        list[Path],
        typer.Argument(help="motions saved by run_camera.py --save: one for each of several cameras, any of one"),
    ],
    camera: Annotated[
        list[int] | None, typer.Option(help="camera of each motion, of several; 0, 1, ... by default")
    ] = None,
    points: Annotated[Points, typer.Option(help="SMPL's joints, or COCO keypoints of the body's surface")] = "joints",
    body: Annotated[Path | None, typer.Option(help="the body that the motions were made with, for coco")] = None,
) -> None:
    """Print the errors of each motion and of all together.

    REFERENCE of several cameras holds joints3d (T, J, 3) metres, joint_names (J,), K (C, 3, 3), R (C, 3, 3), t (C, 3), and may
    hold D, n_views, frame and fps: the first lines of training/evaluation/reference.py say what each is. With motion capture
    and one camera it holds mocap_m (F, K, 3), joint_names, camera_K, camera_R, camera_t and fps, and may hold NAME_m of other
    programs: training/evaluation/mocap_reference.py.
    """
    console, errors = Console(width=160, highlight=False), Console(stderr=True, soft_wrap=True, highlight=False)
    with exit_with_one_line(ValueError):
        arrays = _read_arrays(reference)
        if is_mocap_reference(arrays):
            _score_against_mocap(mocap_reference(reference, arrays), motions, console)
            return
        truth = reference_of(reference, arrays)
        cameras = camera or list(range(len(truth.rotations)))
        if len(cameras) != len(motions):
            raise ValueError(
                f"{len(motions)} motion(s) for {len(cameras)} camera(s): name each one's camera with --camera, in their order"
            )
        rows = {}
        for number, path in zip(cameras, motions, strict=True):
            motion = load_motion(path)
            rows[f"{number} ({path.name})"] = compare_with_reference(truth, number, motion, points, body)
            focal, used = truth.matrices[number, 0, 0], motion.camera_matrix[0, 0]
            if abs(used / focal - 1) > 0.05:
                errors.print(
                    f"{path} was made with a focal length of {used:.0f} px: run_camera.py --focal {focal:.0f} is right for "
                    f"camera {number}"
                )
        if len(rows) > 1:
            rows["all"] = join_comparisons(list(rows.values()))
    console.print(reference_table(rows, points))


def _score_against_mocap(truth: MocapReference, motions: list[Path], console: Console) -> None:
    rows = {name: score_mocap(truth, joints) for name, joints in truth.peers.items()}
    for path in motions:
        rows[path.name] = score_mocap(truth, joints_of(truth, load_motion(path)))
    console.print(pose_table(rows, truth), flexion_table(rows))
