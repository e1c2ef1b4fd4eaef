"""Where a body's feet meet the ground."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from body.joints import JOINT_NAMES
from body.model import BodyArrays
from common.arrays import FloatArray

CONTACTS: Final = ("left_heel", "left_toes", "right_heel", "right_toes")
"""The points of both soles that may stand on something, in the order of every ``contact`` array."""
CONTACT_JOINTS: Final = tuple(
    JOINT_NAMES.index(f"{side}_{part}") for side in ("left", "right") for part in ("ankle", "foot")
)
"""The joint that each of `CONTACTS` is fixed to."""
_THICK_M: Final = 0.02  # height over the lowest vertex up to which vertices are the sole
_ENDS: Final = (0.15, 0.85)  # quantiles of the sole's length behind which the heel, and before which the toes, are


class Soles:
    """The contact points of a posed body: the middle of some vertices of each heel and of each foot's toes."""

    def __init__(self, arrays: BodyArrays) -> None:
        """Find the vertices on the rest body of ``arrays``: y up, toes forward along z."""
        rest = np.asarray(arrays.v_template, np.float64)
        ankles = arrays.joint_regressor @ rest
        chosen: list[NDArray[np.intp]] = []
        for number, joint in enumerate(CONTACT_JOINTS):
            side = np.abs(rest[:, 0] - ankles[joint, 0]) < 0.1
            low = side & (rest[:, 1] < rest[side, 1].min() + _THICK_M)
            edge = np.quantile(rest[low, 2], _ENDS[number % 2])
            ends = rest[:, 2] >= edge if number % 2 else rest[:, 2] <= edge
            chosen.append(np.flatnonzero(low & ends))
        self._vertices: Final = np.concatenate(chosen)
        self._starts: Final = np.cumsum([0, *(len(one) for one in chosen[:-1])])
        self._share: Final = (1 / np.array([len(one) for one in chosen]))[:, None].astype(np.float32)

    def __call__(self, vertices: FloatArray) -> FloatArray:
        """`CONTACTS` (4, 3) float32 of a posed body's ``vertices`` (V, 3), m, in the same frame."""
        sums = np.add.reduceat(vertices[self._vertices], self._starts, axis=0)
        return np.asarray(sums * self._share, np.float32)
