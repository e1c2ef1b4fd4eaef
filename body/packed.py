"""The packed ``.npz`` form of a body: under 1 MB instead of 25 MB for the plain arrays.

Weights keep their four largest entries, correctives are stored sparsely in steps of 0.1 mm, regressors as triplets.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from body.joints import JOINTS, KEYPOINTS
from common.arrays import AnyArray, FloatArray

FORMAT: Final = "motionmesh-body/1"
"""Value of the ``format`` entry that identifies a packed file."""

POSEDIRS_STEP: Final = 1e-4
"""Metres of one integer step of a stored corrective."""

BETAS, POSE_FEATURES = 10, 207
_MAX_VERTICES: Final = 30_000
"""Most vertices of a packed file: unpacked correctives take 2.5 kB each."""


def packed_entries(
    *,
    v_template: AnyArray,
    shapedirs: AnyArray,
    posedirs: AnyArray,
    joint_regressor: AnyArray,
    weights: AnyArray,
    faces: AnyArray,
    coco_regressor: AnyArray,
    mirror: AnyArray,
    landmarks: Mapping[str, int],
    beta_limit: float,
    about: Mapping[str, Any],
) -> dict[str, AnyArray]:
    """The entries of a packed file.

    Shapes as in ``BodyArrays``; ``weights`` has at most four non-zero entries per row; ``about`` is stored as JSON and
    never interpreted.
    """
    strongest = np.argsort(-weights, axis=1, kind="stable")[:, :4]
    steps = np.round(posedirs / POSEDIRS_STEP).astype(np.int16).ravel()
    moved = np.flatnonzero(steps)
    joint_row, joint_column = np.nonzero(joint_regressor)
    coco_row, coco_column = np.nonzero(coco_regressor)
    return {
        "format": np.array(FORMAT),
        "v_template": v_template.astype(np.float32),
        "shapedirs": shapedirs.astype(np.float16),
        "posedirs_gap": np.diff(moved, prepend=0).astype(np.uint32),
        "posedirs_step": steps[moved],
        "joint_row": joint_row.astype(np.uint8),
        "joint_column": joint_column.astype(np.uint16),
        "joint_value": joint_regressor[joint_row, joint_column].astype(np.float32),
        "coco_row": coco_row.astype(np.uint8),
        "coco_column": coco_column.astype(np.uint16),
        "coco_value": coco_regressor[coco_row, coco_column].astype(np.float32),
        "weights_joint": strongest.astype(np.uint8),
        "weights_value": np.take_along_axis(weights, strongest, 1).astype(np.float16),
        "faces": faces.astype(np.uint16),
        "mirror": mirror.astype(np.uint16),
        "landmarks": np.array(json.dumps(dict(landmarks), sort_keys=True)),
        "beta_limit": np.array(beta_limit, np.float32),
        "about": np.array(json.dumps(dict(about), sort_keys=True)),
    }


def unpack(entries: Mapping[str, AnyArray]) -> dict[str, Any]:
    """Keyword arguments of ``BodyArrays`` (without ``name`` and ``sha256``) from the entries of a packed file.

    Raises:
        KeyError, ValueError, IndexError: The entries were not made by ``pack``.
    """
    v_template = np.asarray(entries["v_template"], np.float32)
    count = len(v_template)
    if count > _MAX_VERTICES:
        raise ValueError(f"{count} vertices, more than {_MAX_VERTICES}")
    posedirs = np.zeros(count * 3 * POSE_FEATURES, np.float32)
    posedirs[np.cumsum(entries["posedirs_gap"].astype(np.int64))] = entries["posedirs_step"] * np.float32(POSEDIRS_STEP)
    weights = np.zeros((count, JOINTS), np.float32)
    np.put_along_axis(
        weights, entries["weights_joint"].astype(np.int64), entries["weights_value"].astype(np.float32), 1
    )
    return {
        "v_template": v_template,
        "shapedirs": entries["shapedirs"].astype(np.float32).reshape(count, 3, BETAS),
        "posedirs": posedirs.reshape(count, 3, POSE_FEATURES),
        "joint_regressor": _rows(entries, "joint", JOINTS, count),
        "weights": weights / weights.sum(1, keepdims=True),
        "faces": entries["faces"].astype(np.int32),
        "coco_regressor": _rows(entries, "coco", KEYPOINTS, count),
        "mirror": entries["mirror"].astype(np.int32),
        "landmarks": {str(name): int(vertex) for name, vertex in json.loads(str(entries["landmarks"])).items()},
        "beta_limit": float(entries["beta_limit"]),
    }


def _rows(entries: Mapping[str, AnyArray], prefix: str, rows: int, columns: int) -> FloatArray:
    dense: FloatArray = np.zeros((rows, columns), np.float32)
    dense[entries[f"{prefix}_row"], entries[f"{prefix}_column"]] = entries[f"{prefix}_value"]
    dense /= dense.sum(1, keepdims=True)
    return dense
