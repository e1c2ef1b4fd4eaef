"""Score saved motions against motion capture that one camera recorded.

The reference file is plain numpy (``np.savez``, no objects), one row for each of the video's F frames, NaN where a source has
nothing:

- ``mocap_m`` (F, K, 3) metres, the truth, in a world of its own, and ``joint_names`` (K,) text: ``LShoulder`` or
  ``left_shoulder``; shoulders, elbows, wrists, hips, knees and ankles count, hips and shoulders must be there;
- ``camera_K`` (3, 3) pixels, ``camera_R`` (3, 3) and ``camera_t`` (3,) metres: x_camera = R x_mocap + t, OpenCV's axes;
- ``fps``; ``frame`` (F,) indices in the video, 0, 1, ... where it is missing;
- any other ``NAME_m`` (F, K, 3): another program's estimate from the same video. It is scored, too.

The camera's orientation is less certain than the poses. Therefore each source is turned by ONE rotation for the clip, the one
that fits all its joints best with the middle of the hips at the origin; MPJPE and acceleration are measured after it, nothing
is scaled. PA-MPJPE is after the best similarity of each frame. The joint centres of motion capture are not those of a skinned
body: the same pose is some 25 mm off after the best similarity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.table import Table
from scipy.spatial.transform import Rotation

from body.joints import COCO_NAMES, JOINT_NAMES
from common.arrays import AnyArray, DoubleArray, Int64Array
from common.camera import Camera
from formats.motion import Motion
from training.evaluation.flexion import LEGS, FlexionScores, hip_flexion, knee_flexion, score_flexion
from training.evaluation.metrics import PoseErrors, mean_of_known, pose_errors
from training.evaluation.predictions import rows_of_people

TRUTH: Final = "mocap_m"
_HIPS: Final = ("left_hip", "right_hip")


@dataclass(frozen=True, slots=True, eq=False)
class MocapReference:
    """Motion capture of one person, recorded by one camera; see the module for the file. F frames, K joints."""

    names: tuple[str, ...]
    """The K joints, by COCO's names."""
    truth: DoubleArray
    """(F, K, 3) true positions, metres."""
    pixels: DoubleArray
    """(F, K, 2) their projections into the frame, pixels."""
    peers: dict[str, DoubleArray]
    """(F, K, 3) metres of other programs, by name."""
    frames: Int64Array
    """(F,) indices in the video."""
    fps: float
    """Frames/s of video and motion capture."""


@dataclass(frozen=True, slots=True, eq=False)
class MocapScores:
    """Errors of one source."""

    pose: PoseErrors
    """Joint errors, a value for each frame."""
    frames: int
    """How many frames the source has the person in."""
    knee: FlexionScores
    """How the knees' flexion follows the true one."""
    hip: FlexionScores
    """How the hips' flexion does."""


def is_mocap_reference(arrays: dict[str, AnyArray]) -> bool:
    """Whether a reference file's arrays are of this kind."""
    return TRUTH in arrays


def mocap_reference(path: Path, arrays: dict[str, AnyArray]) -> MocapReference:
    """Check a file's arrays. Raises `ValueError` where one is missing or of another shape."""
    missing = [name for name in ("joint_names", "camera_K", "camera_R", "camera_t", "fps") if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} has {TRUTH} but lacks {', '.join(missing)}: python -m training.evaluation reference --help"
        )
    names = tuple(coco_name(str(name)) for name in arrays["joint_names"])
    count = len(arrays[TRUTH])
    frames = arrays["frame"].astype(np.int64) if "frame" in arrays else np.arange(count, dtype=np.int64)
    shapes = {"camera_K": (3, 3), "camera_R": (3, 3), "camera_t": (3,), "frame": (count,)}
    sources = [name for name, values in arrays.items() if name.endswith("_m") and values.ndim == 3]
    shapes |= dict.fromkeys([TRUTH, *sources], (count, len(names), 3))
    for name, shape in shapes.items():
        if name in arrays and arrays[name].shape != shape:
            raise ValueError(f"{path}: {name} is {arrays[name].shape}, should be {shape}")
    kept = [names.index(name) for name in COCO_NAMES[5:] if name in names]
    names = tuple(names[index] for index in kept)
    if absent := {*LEGS, "left_shoulder", "right_shoulder"} - set(names):
        raise ValueError(f"{path} lacks the joints {', '.join(sorted(absent))}")
    if len(frames) < 3 or (np.diff(frames) < 1).any() or not float(arrays["fps"]) > 0:
        raise ValueError(f"{path}: frame should be three or more rising indices, and fps positive")
    truth = arrays[TRUTH][:, kept].astype(np.float64)
    matrix = arrays["camera_K"].astype(np.float64)
    place = truth @ arrays["camera_R"].astype(np.float64).T + arrays["camera_t"].astype(np.float64)
    peers = {name[:-2]: arrays[name][:, kept].astype(np.float64) for name in sources if name != TRUTH}
    pixels = Camera.from_matrix(matrix).project(place)
    return MocapReference(names, truth, pixels, peers, frames, float(arrays["fps"]))


def coco_name(name: str) -> str:
    """``LShoulder`` and ``left_shoulder`` as COCO has it; other names as they are, in lower case."""
    for letter, side in (("L", "left"), ("R", "right")):
        if len(name) > 2 and name[0] == letter and name[1].isupper():
            return f"{side}_{name[1:].lower()}"
    return name.lower()


def joints_of(reference: MocapReference, motion: Motion) -> DoubleArray:
    """The reference's joints (F, K, 3) in a motion, metres, camera frame; NaN where nobody was found. Of several people the
    one whose keypoints lie nearest to the truth in the frame."""
    columns = [COCO_NAMES.index(name) for name in reference.names]
    (rows,) = rows_of_people(motion, reference.frames, reference.pixels[None], columns, near=float("inf"))
    joints = motion.joints_m[rows][:, [JOINT_NAMES.index(name) for name in reference.names]].astype(np.float64)
    joints[rows < 0] = np.nan
    return joints


def score_joints(reference: MocapReference, joints: DoubleArray) -> MocapScores:
    """Score one source's ``joints`` (F, K, 3), metres, in any frame of reference.

    Raises:
        ValueError: It has no frame in common with the truth.
    """
    names, truth = reference.names, reference.truth
    known = np.asarray(np.isfinite(joints).all((1, 2)) & np.isfinite(truth).all((1, 2)))
    if not known.any():
        raise ValueError("no frame has both the person and the motion capture: is it the same video?")
    hips = [names.index(name) for name in _HIPS]
    mine, theirs = (part - part[:, hips].mean(1, keepdims=True) for part in (joints, truth))
    rotation, _ = Rotation.align_vectors(theirs[known].reshape(-1, 3), mine[known].reshape(-1, 3))
    turned = mine @ rotation.as_matrix().T
    valid = np.repeat(known[:, None], len(names), 1)
    times = reference.frames / reference.fps

    def angles(measure: Callable[[DoubleArray, Sequence[str]], DoubleArray]) -> FlexionScores:
        mine, theirs = (np.where(known[:, None], measure(part, names), np.nan) for part in (joints, truth))
        return score_flexion(mine, theirs, times)

    pose = pose_errors(turned, theirs, valid, hips, reference.fps)
    return MocapScores(pose, int(known.sum()), angles(knee_flexion), angles(hip_flexion))


def pose_table(rows: dict[str, MocapScores], reference: MocapReference) -> Table:
    """A line for each source: how far the joints are off."""
    table = Table(
        *("source", "frames", "PA-MPJPE mm", "MPJPE mm, one rotation", f"accel m/s² at {reference.fps:g} fps"),
        *("knee RMSE °", "hip RMSE °"),
        title=f"{len(reference.names)} joints: {', '.join(name.replace('_', ' ') for name in reference.names)}",
    )
    for name, scores in rows.items():
        pose = scores.pose
        table.add_row(
            name,
            f"{scores.frames} of {len(reference.frames)}",
            *(f"{mean_of_known(values):.1f}" for values in (pose.pa, pose.mpjpe, pose.acceleration)),
            f"{scores.knee.rmse:.1f}",
            f"{scores.hip.rmse:.1f}",
        )
    return table


def flexion_table(rows: dict[str, MocapScores]) -> Table:
    """Two lines for each source: how the knees and the hips follow."""
    table = Table(
        *("source", "flexion of", "gain", "lag ms", "error while bending °", "error while straightening °"),
        "standing: true → shown °",
        title="flexion, left and right together",
    )
    for name, scores in rows.items():
        for joint, flexion in (("knee", scores.knee), ("hip", scores.hip)):
            table.add_row(
                name if joint == "knee" else "",
                joint,
                f"{flexion.gain:.2f}",
                f"{flexion.lag_ms:+.0f}",
                f"{flexion.bending:+.1f}",
                f"{flexion.straightening:+.1f}",
                f"{flexion.truly_standing:.1f} → {flexion.standing:.1f}",
            )
    return table
