"""Files like SMPL's, made from the body that ships, and poses to try."""

from __future__ import annotations

from typing import Any

import numpy as np

from body.joints import PARENTS
from body.model import BodyArrays
from common.arrays import FloatArray


def smpl_fields(body: BodyArrays) -> dict[str, Any]:
    """The fields of an SMPL file. Arrays are copies."""
    return {
        "v_template": body.v_template.astype(np.float64),
        "shapedirs": body.shapedirs.astype(np.float64),
        "posedirs": body.posedirs.astype(np.float64),
        "J_regressor": body.joint_regressor.astype(np.float64),
        "weights": body.weights.astype(np.float64),
        "f": body.faces.astype(np.uint32),
        # the root's parent is 2**32 - 1 in SMPL's own files; smplx replaces it
        "kintree_table": np.array([[2**32 - 1, *PARENTS[1:]], range(24)], np.int64),
    }


def random_pose(seed: int, spread: float = 0.4) -> FloatArray:
    """(24, 3) axis-angle."""
    return np.random.default_rng(seed).normal(0, spread, (24, 3)).astype(np.float32)


def random_betas(seed: int) -> FloatArray:
    """(10,) within the default body's limit."""
    return np.random.default_rng(seed + 1000).uniform(-2, 2, 10).astype(np.float32)
