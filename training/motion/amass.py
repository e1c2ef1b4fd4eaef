"""Reading AMASS files (.npz): SMPL-H or SMPL-X parameters in a world with z up.

AMASS and its parts come with licences of their own, most of them for research without commerce.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from body.joints import JOINTS
from common.arrays import DoubleArray
from common.npz import read_npz
from training.motion import rotations as rot
from training.motion.archive import ARCHIVE_ERRORS
from training.motion.clip import LEG_LENGTH, Clip, MotionError, canonical_rotations, leg_length
from training.motion.retarget import subject_of

REST_PELVIS: Final = (0.0, -0.22, 0.03)
"""About where the pelvis joint of a resting SMPL body lies in the model's own frame, metres, y up."""

BODY_JOINTS: Final = 22
"""Joints that SMPL, SMPL-H and SMPL-X share; the hands follow differently in each."""

_RATES: Final = ("mocap_framerate", "mocap_frame_rate", "framerate", "fps")
_HOME: Final = "register at amass.is.tue.mpg.de and download its SMPL+H G or SMPL-X G files"
_LICENCE: Final = "AMASS and its source's terms; most are non-commercial"


def read_amass(
    path: str | Path,
    *,
    subject: str = "",
    rest_joints: npt.ArrayLike | None = None,
    rest_pelvis: npt.ArrayLike = REST_PELVIS,
) -> Clip:
    """Read one AMASS take at its own frame rate. The hands are straight.

    Args:
        path: The file. It holds ``poses`` (N, 66 or more: 72 SMPL, 156 SMPL-H, 165 SMPL-X), or ``root_orient`` (N, 3)
            and ``pose_body`` (N, 63); ``trans`` (N, 3); and a frame rate under any of its names.
        subject: The person; taken from the file's name where empty.
        rest_joints: (24, 3) joints of the resting SMPL body in the model's frame, metres. They make the rotations
            exact for the canonical T-pose, the stride that of canonical legs, and replace ``rest_pelvis``. Without
            them the rotations are passed on as they are, a few degrees off in the arms, and strides are unscaled.
        rest_pelvis: (3,) pelvis joint of the resting body: SMPL's ``trans`` moves the body from there.

    Returns:
        A canonical clip, y up; the floor is where the recording had it.

    Raises:
        MotionError: Not such a file (a body-shape file without motion, say), or damaged.
    """
    path = Path(path)
    poses, trans, fps = _read(path)
    vectors = np.zeros((len(poses), JOINTS, 3))
    vectors[:, :BODY_JOINTS] = poses
    scale = 1.0
    if rest_joints is not None:
        rest = np.asarray(rest_joints, np.float64)
        vectors = canonical_rotations(vectors, rest).astype(np.float64)
        rest_pelvis, scale = rest[0], LEG_LENGTH / leg_length(rest)
    # z up to y up: a quarter turn about x.
    upright = rot.about("x", np.asarray(-0.5 * np.pi))
    vectors[:, 0] = rot.to_axis_angle(rot.multiply(upright, rot.from_axis_angle(vectors[:, 0])))
    pelvis = rot.rotate(upright, trans + np.asarray(rest_pelvis, np.float64)) * scale
    return Clip(
        name=path.stem,
        subject=subject or subject_of(path),
        category="",
        licence=_LICENCE,
        split="train",
        fps=fps,
        rotations=vectors.astype(np.float32),
        pelvis=pelvis.astype(np.float32),
        weight=float(len(poses)),
    )


def _read(path: Path) -> tuple[DoubleArray, DoubleArray, float]:
    try:
        archive = read_npz(path, {"poses", "root_orient", "pose_body", "trans", *_RATES})
        if "poses" in archive:
            flat = np.asarray(archive["poses"], np.float64)
        elif {"root_orient", "pose_body"} <= archive.keys():
            flat = np.concatenate([archive["root_orient"], archive["pose_body"]], axis=-1).astype(np.float64)
        else:
            raise MotionError(f"{path}: no poses inside (a body-shape file?); not a take of AMASS: {_HOME}")
        rate = next((key for key in _RATES if key in archive), None)
        if rate is None or "trans" not in archive:
            raise MotionError(f"{path}: no trans or no frame rate inside; not a take of AMASS: {_HOME}")
        trans = np.asarray(archive["trans"], np.float64)
        fps = float(archive[rate].item())
    except MotionError:
        raise
    except ARCHIVE_ERRORS as error:
        raise MotionError(f"{path}: not an .npz file, or damaged ({error})") from error
    frames = len(flat) if flat.ndim == 2 else 0
    if frames == 0 or flat.shape[1] < 3 * BODY_JOINTS or trans.shape != (frames, 3):
        raise MotionError(f"{path}: poses {flat.shape} and trans {trans.shape} should be (N, 66 or more) and (N, 3)")
    if not (np.isfinite(flat).all() and np.isfinite(trans).all() and np.isfinite(fps) and fps > 0.0):
        raise MotionError(f"{path}: a pose, a position or the frame rate is not a usable number")
    return flat[:, : 3 * BODY_JOINTS].reshape(frames, BODY_JOINTS, 3), trans, fps
