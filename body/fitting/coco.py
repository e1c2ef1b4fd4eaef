"""The COCO-17 regressor: where a 2D detector puts its keypoints, as weighted means of the body's vertices.

Elbows, wrists and knees are the joint centres. The others are not: a detector's hips lie wider and higher than the hip
joints, its ankles higher, its shoulders a little nearer to the neck, its ears in front of the ear's tip. Those offsets were
measured once, by running MoveNet Thunder (Apache-2.0) on 228 shaded renders of this body (clothed in plain colours, nine
poses, eight sides, four shapes) and solving robustly for the point, fixed to the keypoint's joint, that explains the
detections best; left and right were averaged. The median distance to the detections fell from 2.0 to 1.2 % of the body's
height for hips, from 1.0 to 0.5 % for ankles, from 1.0 to 0.8 % for shoulders and from 0.9 to 0.4 % for the face; elbows
(0.8 %), knees (0.8 %) and wrists (0.7 %) gained nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from body.fitting.correctives import random_bend
from body.fitting.geometry import blend_skin, forward_kinematics
from body.fitting.regressors import SHAPE_WEIGHT, fit_row
from body.joints import COCO_JOINT, COCO_MIRROR, COCO_NAMES, JOINT_NAMES, PARENTS
from body.rotations import axis_angle_to_matrix
from common.arrays import DoubleArray, Int64Array

_FACE: Final = {"nose": "nose", "left_eye": "leye", "right_eye": "reye", "left_ear": "lear", "right_ear": "rear"}
"""Landmark of each facial keypoint."""

OFFSET: Final[Mapping[str, tuple[float, float, float]]] = {
    # metres in the rest frame (x to the left, y up, z front), left side; from the landmark or the joint
    "nose": (0.0, 0.016, -0.009),
    "left_eye": (0.0035, 0.005, -0.008),
    "left_ear": (-0.014, -0.014, 0.020),
    "left_shoulder": (-0.011, 0.003, 0.0),
    "left_hip": (0.0125, 0.0265, 0.0125),
    "left_ankle": (0.0045, 0.0155, -0.0035),
}

CANDIDATES: Final = 400
POSES_PER_KEYPOINT: Final = 12
"""Random poses of the joint and its neighbours that a row must hold for."""


def coco_targets(joints: DoubleArray, vertices: DoubleArray, landmarks: Mapping[str, int]) -> DoubleArray:
    """(17, 3, 11) keypoints of the rest body: the mean, then how they move with each beta.

    ``joints`` (24, 3, 11), ``vertices`` (V, 3, 11).
    """
    targets = np.zeros((len(COCO_NAMES), 3, vertices.shape[2]))
    for index, name in enumerate(COCO_NAMES):
        targets[index] = vertices[landmarks[_FACE[name]]] if name in _FACE else joints[JOINT_NAMES.index(name)]
        left = name.replace("right_", "left_")
        outward = -1.0 if name.startswith("right_") else 1.0
        targets[index, :, 0] += np.array(OFFSET.get(left, (0.0, 0.0, 0.0))) * [outward, 1, 1]
    return targets


def fit_coco_regressor(
    joints: DoubleArray, vertices: DoubleArray, weights: DoubleArray, landmarks: Mapping[str, int], mirror: Int64Array
) -> tuple[DoubleArray, DoubleArray]:
    """Fit the regressor: rows (17, V), and the mean error (17,) over betas and poses, metres.

    A row must give the target for the mean body, for each beta, and for bodies whose carrying joint and its neighbours
    are bent, where the target moves with the carrier.
    """
    targets = coco_targets(joints, vertices, landmarks)
    random = np.random.default_rng(2)
    regressor, errors = np.zeros((len(COCO_NAMES), len(vertices))), np.zeros(len(COCO_NAMES))
    for index, name in enumerate(COCO_NAMES):
        if name.startswith("right_"):
            continue
        joint = COCO_JOINT[index]
        posed_vertices, posed_targets = _posed(
            joint, targets[index, :, 0], joints[..., 0], vertices[..., 0], weights, random
        )
        everything = np.concatenate([vertices, posed_vertices], -1)
        wanted = np.concatenate([targets[index], posed_targets], -1)
        importance = np.r_[1.0, np.full(vertices.shape[2] - 1, SHAPE_WEIGHT), np.full(POSES_PER_KEYPOINT, 0.5)]
        distance = np.linalg.norm(vertices[:, :, 0] - targets[index, :, 0], axis=1)
        stranger = weights[:, _family(joint)].sum(1) < 0.5
        candidates = np.argsort(distance + 10.0 * stranger)[:CANDIDATES]
        regressor[index, candidates], _ = fit_row(wanted, everything, candidates, importance)
        twin = COCO_MIRROR[index]
        regressor[twin] = regressor[index, mirror]
        if twin == index:
            regressor[index] = 0.5 * (regressor[index] + regressor[index, mirror])
        residual = np.einsum("v,vak->ak", regressor[index], everything) - wanted
        errors[[index, twin]] = np.linalg.norm(residual, axis=0).mean()
    regressor[regressor < 1e-4] = 0
    return regressor / regressor.sum(1, keepdims=True), errors


def _family(joint: int) -> list[int]:
    return [
        joint,
        *([PARENTS[joint]] if PARENTS[joint] >= 0 else []),
        *(c for c, p in enumerate(PARENTS) if p == joint),
    ]


def _posed(
    joint: int,
    target: DoubleArray,
    joints: DoubleArray,
    vertices: DoubleArray,
    weights: DoubleArray,
    random: np.random.Generator,
) -> tuple[DoubleArray, DoubleArray]:
    """Vertices (V, 3, POSES_PER_KEYPOINT) in random poses, in the carrier's frame, and the target there.

    The target (3, POSES_PER_KEYPOINT) is constant in that frame.
    """
    seen, stays = np.zeros((*vertices.shape, POSES_PER_KEYPOINT)), np.repeat(target[:, None], POSES_PER_KEYPOINT, 1)
    for pose in range(POSES_PER_KEYPOINT):
        rotations = np.tile(np.eye(3), (len(JOINT_NAMES), 1, 1))
        for bent in _family(joint):
            if bent > 0:
                rotations[bent] = axis_angle_to_matrix(random_bend(bent, random))
        posed, _ = blend_skin(vertices, joints, weights, rotations)
        turned, placed = forward_kinematics(joints, rotations)
        seen[..., pose] = (posed - placed[joint]) @ turned[joint] + joints[joint]
    return seen, stays
