"""Sparse regressors: points of the body as weighted means of a few vertices."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.optimize import nnls

from body.joints import JOINT_MIRROR, PARENTS
from common.arrays import DoubleArray, Int64Array

_NEAREST: Final = 160
"""Candidates of the first try; later tries take 3 and 8 times as many."""
GOOD_ENOUGH: Final = 5e-4
"""Metres (shape directions count three times): a fit this good stops the search."""
SUM_WEIGHT: Final = 10.0
SHAPE_WEIGHT: Final = 3.0


def fit_row(
    target: DoubleArray, vertices: DoubleArray, candidates: Int64Array, weights: DoubleArray
) -> tuple[DoubleArray, float]:
    """Non-negative weights with sum 1 of ``candidates`` (C,), and the largest weighted error left.

    ``target`` (3, K) and ``vertices`` (V, 3, K) are K positions or directions at once; ``weights`` (K,) is how much
    each counts.
    """
    used = (vertices[candidates] * weights).reshape(len(candidates), -1).T
    matrix = np.concatenate([used, np.full((1, len(candidates)), SUM_WEIGHT)])
    wanted = np.r_[(target * weights).ravel(), SUM_WEIGHT]
    row, _ = nnls(matrix, wanted, maxiter=50 * len(candidates))
    return row / row.sum(), float(np.abs(matrix[:-1] @ row - wanted[:-1]).max())


def fit_joint_regressor(
    joints: DoubleArray, vertices: DoubleArray, weights: DoubleArray, mirror: Int64Array
) -> DoubleArray:
    """(24, V) rows with regressor @ vertices = joints for the mean body and for every shape direction, symmetric.

    ``joints`` (24, 3, 11), ``vertices`` (V, 3, 11): the mean first, then the directions. Candidates are the vertices
    near a joint that follow it, its parent or its children.
    """
    importance = np.r_[1.0, np.full(vertices.shape[2] - 1, SHAPE_WEIGHT)]
    regressor = np.zeros((len(joints), len(vertices)))
    for joint, parent in enumerate(PARENTS):
        family = [joint, *([parent] if parent >= 0 else []), *(c for c, p in enumerate(PARENTS) if p == joint)]
        stranger = weights[:, family].sum(1) < 0.2
        distance = np.linalg.norm(vertices[:, :, 0] - joints[joint, :, 0], axis=1) + 10.0 * stranger
        for tries in (1, 3, 8):
            candidates = np.argsort(distance)[: tries * _NEAREST]
            row, error = fit_row(joints[joint], vertices, candidates, importance)
            regressor[joint] = 0
            regressor[joint, candidates] = row
            if error < GOOD_ENOUGH:
                break
    symmetric: DoubleArray = 0.5 * (regressor + regressor[list(JOINT_MIRROR)][:, mirror])
    return symmetric
