"""Pose correctives, linear in the entries of the local rotations, fitted to delta mush's effect on a bent joint."""

from __future__ import annotations

from typing import Final

import numpy as np

from body.fitting.geometry import DeltaMush, blend_skin
from body.joints import JOINT_MIRROR, JOINT_NAMES
from body.packed import POSE_FEATURES
from body.rotations import axis_angle_to_matrix
from common.arrays import DoubleArray, FloatArray, Int64Array

RANGE: Final = {
    # joint: the largest rotation about each axis, radians, that the correctives are fitted for
    "hip": (2.0, 0.6, 0.8),
    "knee": (2.2, 0.2, 0.2),
    "ankle": (0.7, 0.3, 0.3),
    "foot": (0.6, 0.1, 0.1),
    "spine1": (0.7, 0.5, 0.4),
    "spine2": (0.5, 0.5, 0.4),
    "spine3": (0.4, 0.4, 0.3),
    "neck": (0.6, 0.7, 0.4),
    "head": (0.5, 0.7, 0.4),
    "collar": (0.3, 0.3, 0.4),
    "shoulder": (0.8, 1.2, 1.5),
    "elbow": (0.8, 2.3, 0.6),
    "wrist": (0.9, 0.6, 1.0),
    "hand": (0.4, 0.4, 1.2),
}
POSES_PER_JOINT: Final = 60
RIDGE: Final = 0.05
DAMPING: Final = 0.03
"""Regularises the inverse of the blended matrix, which is nearly singular in deep folds."""
NEGLIGIBLE: Final = 2e-4
"""Metres per unit of a feature; smaller values are dropped, so that the correctives are sparse."""


def random_bend(joint: int, random: np.random.Generator) -> DoubleArray:
    """Random axis-angle (3,) of ``joint`` in a humanly possible range: knees and elbows bend one way only."""
    name = JOINT_NAMES[joint].split("_")[-1]
    bend: DoubleArray = random.uniform(-1, 1, 3) * np.array(RANGE[name])
    if name == "knee":
        bend[0] = abs(bend[0])
    if name == "elbow":
        bend[1] = -abs(bend[1]) if JOINT_NAMES[joint].startswith("left") else abs(bend[1])
    if name == "hip" and bend[0] >= 0.5:  # thighs go far forward, not far back
        bend[0] = -bend[0]
    return bend


def fit_correctives(
    vertices: DoubleArray,
    faces: Int64Array,
    joints: DoubleArray,
    weights: DoubleArray,
    mirror: Int64Array,
    iterations: int,
    seed: int = 1,
) -> FloatArray:
    """Fit symmetric correctives (V, 3, 207) of the rest body ``vertices`` (V, 3), ``joints`` (24, 3).

    Each joint is bent alone, in ``POSES_PER_JOINT`` ways; ``iterations`` of smoothing set the reach of an effect.
    """
    random = np.random.default_rng(seed)
    mush = DeltaMush(faces, len(vertices), iterations).bind(vertices)
    found = np.zeros((len(vertices), 3, POSE_FEATURES), np.float32)
    for joint in range(1, len(JOINT_NAMES)):
        features, wanted = np.zeros((POSES_PER_JOINT, 9)), np.zeros((POSES_PER_JOINT, vertices.size))
        for pose in range(POSES_PER_JOINT):
            rotations = np.tile(np.eye(3), (len(JOINT_NAMES), 1, 1))
            rotations[joint] = axis_angle_to_matrix(random_bend(joint, random))
            posed, blended = blend_skin(vertices, joints, weights, rotations)
            change = mush.apply(posed) - posed
            back = blended.transpose(0, 2, 1)
            rest_change = np.linalg.solve(back @ blended + DAMPING * np.eye(3), back @ change[..., None])
            features[pose], wanted[pose] = (rotations[joint] - np.eye(3)).ravel(), rest_change.ravel()
        normal = features.T @ features + RIDGE * POSES_PER_JOINT / 9 * np.eye(9)
        solved = np.linalg.solve(normal, features.T @ wanted)
        found[:, :, 9 * (joint - 1) : 9 * joint] = solved.T.reshape(len(vertices), 3, 9)
    for _ in range(2):
        found = (mush.step @ found.reshape(len(vertices), -1)).reshape(found.shape).astype(np.float32)
    found[np.abs(found) < NEGLIGIBLE] = 0
    symmetric: FloatArray = 0.5 * (found + _reflected(found, mirror))
    return symmetric


def _reflected(correctives: FloatArray, mirror: Int64Array) -> FloatArray:
    """The mirrored field: with S = diag(-1, 1, 1), the corrective of S v under S R S, reflected."""
    axes = np.array([-1.0, 1, 1], np.float32)
    swapped = (correctives[mirror] * axes[None, :, None]).reshape(len(correctives), 3, 23, 9)
    order = [joint - 1 for joint in JOINT_MIRROR[1:]]
    reflected: FloatArray = (swapped[:, :, order] * np.outer(axes, axes).ravel()).reshape(correctives.shape)
    return reflected
