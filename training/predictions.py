"""What a saved motion says about a recording whose truth is known: which row belongs to whom, and what its body is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from body.errors import BodyError
from body.lbs import NumpyBody
from body.model import DATA, BodyArrays, load_body
from realtime.motion_file import Motion

Array = NDArray[np.float64]


def rows_of_person(
    motion: Motion, frames: NDArray[np.int64], points: Array, columns: list[int], *, of_joints: bool = False
) -> NDArray[np.int64]:
    """The rows of ``motion`` that show a person: in each frame, the one whose keypoints lie nearest to his.

    Args:
        motion: N rows.
        frames: (T,) indices of frames in the source.
        points: (T, K, 2) where the person's points truly are, image pixels; NaN where not known.
        columns: the K of the 17 COCO keypoints, or with ``of_joints`` of the 24 joints, that ``points`` are.

    Returns:
        (T,) row numbers; -1 where the motion has nobody in that frame, or nothing is known of the person.
    """
    seen = motion.joints_px if of_joints else motion.keypoints_px
    order = np.argsort(motion.frame, kind="stable")
    starts, ends = (np.searchsorted(motion.frame[order], frames, side) for side in ("left", "right"))
    rows = np.full(len(frames), -1, np.int64)
    for t, (start, end) in enumerate(zip(starts, ends, strict=True)):
        known = np.isfinite(points[t]).all(-1)
        found = [row for row in order[start:end] if motion.person[row] >= 0]
        if known.any() and found:
            distance = np.linalg.norm(seen[found][:, columns] - points[t], axis=-1)[:, known].mean(-1)
            rows[t] = found[int(np.nanargmin(distance))] if np.isfinite(distance).any() else -1
    return rows


def body_of(motion: Motion, path: Path | None = None) -> BodyArrays:
    """The body that a motion's pose parameters belong to: the file ``path``, or a body that ships with the project.

    Raises `BodyError` if it is another body, by its hash.
    """
    for candidate in [path] if path is not None else sorted(DATA.glob("*.npz")):
        arrays = load_body(candidate)
        if arrays.sha256 == motion.body_sha256:
            return arrays
    what = f"{path} is not the body" if path is not None else "no shipped body is the one"
    raise BodyError(f"{what} that the motion of {motion.source} was made with: name that file with --body")


def posed(motion: Motion, rows: NDArray[np.int64], arrays: BodyArrays) -> NDArray[np.float32]:
    """Vertices (len(rows), V, 3), metres, camera frame, of the motion's ``rows``; NaN where a row is -1."""
    body = NumpyBody(arrays)
    vertices = np.full((len(rows), arrays.vertex_count, 3), np.nan, np.float32)
    for place, row in enumerate(rows):
        if row >= 0:
            body.set_shape(motion.betas[row])
            vertices[place] = body.pose(motion.global_orient[row], motion.body_pose[row], motion.transl[row])[0]
    return vertices
