"""AMASS' layout (.amass.npz; Mahmood et al. 2019, "AMASS: Archive of Motion Capture as Surface Shapes"), both ways.

``poses`` (N, 156) axis-angle of SMPL+H's 52 joints: root, 21 body joints, 30 of the fingers (zero here); ``trans`` (N, 3)
metres; ``betas`` (16,); ``dmpls`` (N, 8) zero; ``mocap_framerate``; ``gender``. z is up. ``trans`` is SMPL's own: the pelvis
less its place in the rest body. SMPL's two hand joints have no place in the layout and come back as zero.

Betas belong to a body model. Those of the body that ships with the project are not SMPL's: ``body_sha256`` says whose they
are. A motion recorded with a licensed SMPL has SMPL's.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from body.model import BodyArrays
from common.errors import UserError, one_line
from common.npz import NPZ_ERRORS, read_npz
from formats.axes import Z_UP
from formats.motion import TOO_LARGE
from formats.skeleton import rest_joints
from formats.tracks import MotionTrack

_BODY: Final = 22
_READ: Final = frozenset(("poses", "root_orient", "pose_body", "trans", "betas", "mocap_framerate", "mocap_frame_rate"))
"""Joints that SMPL and SMPL+H share, in the same order: all but the hands."""
_COLUMNS, _BETAS, _DMPLS = 156, 16, 8


def to_amass(track: MotionTrack, arrays: BodyArrays, rate: float) -> bytes:
    """The content of an .npz file. ``track`` has one row every ``1 / rate`` seconds."""
    count = len(track.time_s)
    poses = np.zeros((count, _COLUMNS))
    poses[:, : 3 * _BODY] = track.rotations[:, :_BODY].reshape(count, -1)
    poses[:, :3] = (Rotation.from_matrix(Z_UP) * Rotation.from_rotvec(track.rotations[:, 0])).as_rotvec()
    # SMPL turns about the pelvis' place in the rest body, which stays where it is when the root turns: only `trans` is turned.
    rest = rest_joints(arrays, track.betas)[0]
    betas = np.zeros(_BETAS)
    betas[: len(track.betas)] = arrays.clamp_betas(track.betas)
    content = io.BytesIO()
    np.savez(
        content,
        poses=poses,
        trans=track.pelvis @ Z_UP.T - rest,
        betas=betas,
        dmpls=np.zeros((count, _DMPLS)),
        mocap_framerate=np.float64(rate),
        gender=np.str_("neutral"),
        body_sha256=np.str_(arrays.sha256),
    )
    return content.getvalue()


def from_amass(path: Path, arrays: BodyArrays) -> tuple[MotionTrack, float]:
    """The person of an AMASS file in a frame with y up, and the frame rate. ``arrays`` is the body its betas are taken to
    belong to: the pelvis' place in it is needed, and betas past the tenth are left out.

    Reads ``poses`` of SMPL (72 columns), SMPL+H (156) and SMPL-X (165), or ``root_orient`` and ``pose_body``. Raises
    `UserError` for a file that is something else.
    """
    try:
        found = read_npz(path, _READ)
        poses = found["poses"] if "poses" in found else np.concatenate([found["root_orient"], found["pose_body"]], 1)
        rate = float(found["mocap_framerate"] if "mocap_framerate" in found else found["mocap_frame_rate"])
        trans, betas = np.asarray(found["trans"], np.float64), np.asarray(found["betas"], np.float64).ravel()
        poses = np.asarray(poses, np.float64)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except KeyError as error:
        raise UserError(f"{path} is no AMASS file: it lacks {error.args[0]}") from None
    except (AttributeError, *NPZ_ERRORS) as error:
        raise UserError(f"{path} is damaged or no AMASS file ({one_line(error)})") from None
    if poses.ndim != 2 or poses.shape[1] < 3 * _BODY or trans.shape != (len(poses), 3) or not len(poses):
        raise UserError(f"{path} is no AMASS file: poses {poses.shape} and trans {trans.shape} do not fit")
    if not (
        1 / TOO_LARGE < rate < TOO_LARGE and all((np.abs(values) < TOO_LARGE).all() for values in (poses, trans, betas))
    ):
        raise UserError(f"{path} holds numbers that are not finite or impossible, or no frame rate")
    rotations = np.zeros((len(poses), 24, 3))
    rotations[:, :_BODY] = poses[:, : 3 * _BODY].reshape(-1, _BODY, 3)
    if poses.shape[1] == 72:  # SMPL's own: with hands
        rotations[:, _BODY:] = poses[:, 66:].reshape(-1, 2, 3)
    rotations[:, 0] = (Rotation.from_matrix(Z_UP.T) * Rotation.from_rotvec(rotations[:, 0])).as_rotvec()
    shape = np.zeros(10, np.float32)
    shape[: min(10, len(betas))] = betas[:10]
    shape = arrays.clamp_betas(shape)
    pelvis = (trans + rest_joints(arrays, shape)[0]) @ Z_UP
    return MotionTrack(0, np.arange(len(poses)) / rate, rotations, pelvis, shape, np.ones(len(poses), np.bool_)), rate
