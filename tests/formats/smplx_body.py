"""The project's body in the body model's own code."""

from __future__ import annotations

from typing import Any

import numpy as np

from body.joints import PARENTS
from body.model import BodyArrays


def smplx_model(smplx: Any, body: BodyArrays) -> Any:
    """``smplx.SMPL`` of the body ``arrays``, forward passes of which take any number of poses."""
    fields = {
        "v_template": body.v_template.astype(np.float64),
        "shapedirs": body.shapedirs.astype(np.float64),
        "posedirs": body.posedirs.astype(np.float64),
        "J_regressor": body.joint_regressor.astype(np.float64),
        "weights": body.weights.astype(np.float64),
        "kintree_table": np.array([[max(parent, 0) for parent in PARENTS], range(24)]),
        "f": body.faces,
    }
    return smplx.SMPL("", data_struct=smplx.utils.Struct(**fields), vertex_ids=dict.fromkeys(_VERTICES, 0))


_VERTICES = (
    "nose", "reye", "leye", "rear", "lear", "LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel",
    "lthumb", "lindex", "lmiddle", "lring", "lpinky", "rthumb", "rindex", "rmiddle", "rring", "rpinky",
)  # fmt: skip
