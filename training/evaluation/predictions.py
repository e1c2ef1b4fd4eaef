"""Matches the rows of a saved motion to the people of a recording with ground truth, and poses them."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment

from body.lbs import NumpyBody
from body.model import BodyArrays
from common.arrays import DoubleArray, FloatArray, Int64Array
from formats.motion import Motion

MAX_MATCH_DISTANCE: Final = 1.0
"""Largest mean distance of a person's points, over the person's size, at which a row still counts as that person."""


def rows_of_people(
    motion: Motion,
    frames: Int64Array,
    points: DoubleArray,
    columns: list[int],
    *,
    of_joints: bool = False,
    near: float = MAX_MATCH_DISTANCE,
) -> Int64Array:
    """The rows of ``motion`` that show each of P people: frame by frame, the pairing whose points lie nearest in all.

    Each row goes to at most one person and each person gets at most one row; rows that are too far off go to nobody. The
    motion's own person numbers do not matter, so a person who was lost and found again counts as the same.

    Args:
        motion: N rows.
        frames: (T,) indices of frames in the source.
        points: (P, T, K, 2) where points of the people truly are, image pixels; NaN where not known.
        columns: the K of the 17 COCO keypoints, or with ``of_joints`` of the 24 joints, that ``points`` are.
        of_joints: compare with the motion's joints instead of its detected keypoints.
        near: largest mean distance of a person's points, over the person's size.

    Returns:
        (P, T) row numbers; -1 where the motion does not have the person, or nothing is known of the person.
    """
    seen = (motion.joints_px if of_joints else motion.keypoints_px).astype(np.float64)
    order = np.argsort(motion.frame, kind="stable")
    starts, ends = (np.searchsorted(motion.frame[order], frames, side) for side in ("left", "right"))
    rows = np.full(points.shape[:2], -1, np.int64)
    for t, (start, end) in enumerate(zip(starts, ends, strict=True)):
        found = [row for row in order[start:end] if motion.person[row] >= 0]
        if not found:
            continue
        distance = np.array([[_distance(seen[row], truth, columns) for row in found] for truth in points[:, t]])
        people, chosen = linear_sum_assignment(np.minimum(distance, 1e6))  # the assignment takes no infinities
        for person, place in zip(people, chosen, strict=True):
            if distance[person, place] <= min(near, 1e6):
                rows[person, t] = found[place]
    return rows


def _distance(seen: DoubleArray, truth: DoubleArray, columns: list[int]) -> float:
    """Mean distance of the points that both know over the size of the larger of the two; infinite without any."""
    both = np.isfinite(truth).all(-1) & np.isfinite(seen[columns]).all(-1)
    if not both.any():
        return float("inf")
    size = max(float(np.ptp(part[np.isfinite(part).all(-1)], axis=0).max()) for part in (seen, truth))
    return float(np.linalg.norm(seen[columns] - truth, axis=-1)[both].mean()) / max(size, 1.0)


def posed(motion: Motion, rows: Int64Array, arrays: BodyArrays) -> FloatArray:
    """Vertices (len(rows), V, 3), metres, camera frame, of the motion's ``rows``; NaN where a row is -1."""
    body = NumpyBody(arrays)
    vertices = np.full((len(rows), arrays.vertex_count, 3), np.nan, np.float32)
    for place, row in enumerate(rows):
        if row >= 0:
            body.set_shape(motion.betas[row])
            vertices[place] = body.pose(motion.global_orient[row], motion.body_pose[row], motion.transl[row])[0]
    return vertices
