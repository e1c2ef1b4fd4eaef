"""How the literature scores poses on 3DPW and on EMDB, applied to saved motions.

3DPW (SPIN, VIBE, WHAM):

- Counted are frames with more than six of the twelve limb keypoints over 0.3 in the data set's own detections and a camera
  pose that could be aligned (``campose_valid``).
- Joints are 14, taken from SMPL's vertices by J_regressor_h36m: of the truth's body by its gender, and of the predicted
  body, which is neutral.

EMDB (WHAM): the frames of ``good_frames_mask``; SMPL's 24 joints, taken from the posed vertices by each body's own regressor.

Both: MPJPE after moving the middle of the hips together, PA-MPJPE after the best similarity of each frame, PVE over all
vertices after moving the same hips together. Acceleration errors are of three neighbouring counted frames, relative to the
hips, at 30 fps. Motions of the body that ships are given in the parameters of neutral SMPL first
(`body.conversion`); those made with one of the licensed files (``run_camera.py --body``) are taken as they are.

Without licensed files 3DPW's ``jointPositions`` are compared with the motion's own joints: 14 joints of SMPL, no vertices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from body.conversion import BodyConversion
from body.joints import COCO_NAMES, JOINT_NAMES
from body.lbs import NumpyBody
from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from common.arrays import BoolArray, DoubleArray, FloatArray, Int64Array
from common.camera import Camera
from formats.motion import Motion, body_of
from training.datasets.sequence import PersonSequence
from training.datasets.smpl_folder import HIPS_14, NAMES_14, SmplFolder
from training.evaluation.metrics import PoseErrors, pose_errors
from training.evaluation.predictions import rows_of_people

SURE: Final = 0.3
"""A keypoint of 3DPW counts as seen above this confidence."""

MIN_SEEN: Final = 6
"""A frame of 3DPW is counted with more limb keypoints than this."""

_LIMBS: Final = list(range(5, len(COCO_NAMES)))
"""COCO's shoulders, elbows, wrists, hips, knees and ankles."""

SMPL_14: Final = [JOINT_NAMES.index("head" if name == "head top" else name.replace(" ", "_")) for name in NAMES_14]
"""The joints of SMPL that stand in for `NAMES_14` where there are no vertices of SMPL."""

HIPS_24: Final = [JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip")]


@dataclass(frozen=True, slots=True, eq=False)
class ProtocolScores:
    """Errors of one person in one sequence of T frames, or of several together."""

    name: str
    """Name of the sequence and person, or "all"."""
    frames: int
    """T, all frames of the sequence."""
    counted: BoolArray
    """(T,) frames that the protocol counts."""
    found: BoolArray
    """(T,) counted frames in which the motion has the person."""
    errors: PoseErrors
    """Joint errors, (T,) each; NaN where the person was not found."""
    pve: DoubleArray
    """(T,) mm; NaN without SMPL's vertices."""


def counted_frames(sequence: PersonSequence) -> BoolArray:
    """(T,) the frames of 3DPW that its protocol counts."""
    assert sequence.keypoint_confidence is not None, "3DPW has detections"
    seen = (sequence.keypoint_confidence[:, _LIMBS] > SURE).sum(1) > MIN_SEEN
    counted: BoolArray = seen & sequence.valid
    return counted


def score_threedpw(
    people: Sequence[PersonSequence], motion: Motion, smpl: SmplFolder | None = None
) -> list[ProtocolScores]:
    """Score a motion on the people of one recording of 3DPW, who are found by where their keypoints lie.

    Args:
        people: everybody in the recording.
        motion: made from its frames.
        smpl: the licensed files; without them SMPL's joints alone are compared.

    Raises:
        DatasetError: A file of ``smpl`` is missing.
        BodyError: A file of ``smpl`` cannot be read, or the motion's body is neither one of them nor one that ships.
    """
    points = np.stack([_sure_keypoints(sequence) for sequence in people])
    rows = rows_of_people(motion, np.arange(len(people[0])), points, list(range(len(COCO_NAMES))))
    regressor = None if smpl is None else smpl.regressor_14()
    scores = []
    for sequence, mine in zip(people, rows, strict=True):
        counted = counted_frames(sequence)
        mine = np.where(counted, mine, -1)
        if smpl is None:
            assert sequence.joints is not None, "3DPW has joints"
            predicted, truth = (
                part[:, SMPL_14].astype(np.float64) for part in (motion.joints_m[mine], sequence.joints)
            )
            pve = np.full(len(sequence), np.nan)
        else:
            predicted, truth, pve = _on_the_surface(sequence, motion, mine, smpl, regressor, HIPS_14)
        scores.append(_scores(sequence, counted, mine >= 0, predicted, truth, HIPS_14, pve))
    return scores


def score_emdb(sequence: PersonSequence, motion: Motion, smpl: SmplFolder) -> ProtocolScores:
    """Score a motion on one sequence of EMDB. Its person is found by where the truth's joints lie in the frame.

    Raises as `score_threedpw`.
    """
    body = NumpyBody(smpl.body(sequence.gender))
    body.set_shape(sequence.betas)
    places = zip(sequence.global_orient, sequence.body_pose, sequence.pelvis(body.rest_pelvis), strict=True)
    joints = np.array([body.joints_only(orient, pose, place) for orient, pose, place in places])
    pixels = Camera.from_matrix(sequence.camera_matrix).project(joints)
    columns = list(range(len(JOINT_NAMES)))
    (rows,) = rows_of_people(motion, np.arange(len(sequence)), pixels[None], columns, of_joints=True)
    rows = np.where(sequence.valid, rows, -1)
    predicted, truth, pve = _on_the_surface(sequence, motion, rows, smpl, None, HIPS_24)
    return _scores(sequence, sequence.valid, rows >= 0, predicted, truth, HIPS_24, pve)


def join_scores(scores: Sequence[ProtocolScores]) -> ProtocolScores:
    """All frames of several people as one."""
    errors = [each.errors for each in scores]
    return ProtocolScores(
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


def _scores(
    sequence: PersonSequence,
    counted: BoolArray,
    found: BoolArray,
    predicted: DoubleArray,
    truth: DoubleArray,
    hips: list[int],
    pve: DoubleArray,
) -> ProtocolScores:
    known = np.repeat(found[:, None], truth.shape[1], 1)
    errors = pose_errors(predicted, truth, known, hips, sequence.fps)
    return ProtocolScores(f"{sequence.name} {sequence.person}", len(sequence), counted, found, errors, pve)


def _sure_keypoints(sequence: PersonSequence) -> DoubleArray:
    """(T, 17, 2) pixels; NaN for those that the data set's detector was not sure of."""
    assert sequence.keypoints_px is not None, "3DPW has detections"
    assert sequence.keypoint_confidence is not None, "3DPW has detections"
    return np.where(sequence.keypoint_confidence[..., None] > SURE, sequence.keypoints_px, np.nan).astype(np.float64)


def _on_the_surface(
    sequence: PersonSequence,
    motion: Motion,
    rows: Int64Array,
    smpl: SmplFolder,
    regressor: FloatArray | None,
    hips: list[int],
) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """Joints (T, J, 3) of the prediction and of the truth, metres, and PVE (T,) mm; NaN where a row is -1.

    ``regressor`` (J, V) takes the joints from posed vertices, or each body's own where it is None. Both bodies stand with
    their pelvis in the camera: all errors are taken relative to the ``hips``.
    """
    there = np.flatnonzero(rows >= 0)
    poses = np.concatenate([motion.global_orient[:, None], motion.body_pose], 1)[rows[there]]
    betas = motion.betas[rows[there]]
    arrays, truth = smpl.body_with_hash(motion.body_sha256), smpl.body(sequence.gender)
    if arrays is None:
        arrays, made_with = smpl.body("neutral"), body_of(motion)
        if len(there):
            conversion = BodyConversion(made_with, arrays)
            turned = conversion.rotations(axis_angle_to_matrix(poses), betas.mean(0))
            poses, betas = matrix_to_axis_angle(turned), conversion.betas(betas)
    regressors = (arrays.joint_regressor, truth.joint_regressor) if regressor is None else (regressor, regressor)
    joints, pve = np.full((2, len(rows), len(regressors[0]), 3), np.nan), np.full(len(rows), np.nan)
    mine, theirs, nowhere = NumpyBody(arrays), NumpyBody(truth), np.zeros(3)
    theirs.set_shape(sequence.betas)
    for t, pose, shape in zip(there, poses, betas, strict=True):
        mine.set_shape(shape)
        surface, _ = mine.pose(pose[0], pose[1:], nowhere)
        true_surface, _ = theirs.pose(sequence.global_orient[t], sequence.body_pose[t], nowhere)
        joints[:, t] = regressors[0] @ surface, regressors[1] @ true_surface
        root, true_root = joints[:, t, hips].mean(1)
        pve[t] = np.linalg.norm((surface - root) - (true_surface - true_root), axis=1).mean() * 1000
    return joints[0], joints[1], pve
