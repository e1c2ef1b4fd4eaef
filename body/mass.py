"""Where a body's mass is, by the segments of de Leva (1996)."""

from __future__ import annotations

from typing import Final

import numpy as np

from body.joints import JOINT_NAMES
from common.arrays import DoubleArray

_LIMBS: Final = (
    ("shoulder", "elbow", 0.577, 2.7),
    ("elbow", "wrist", 0.457, 1.6),
    ("wrist", "hand", 0.8, 0.6),
    ("hip", "knee", 0.41, 14.2),
    ("knee", "ankle", 0.44, 4.3),
    ("ankle", "foot", 0.5, 1.4),
)
"""A limb's segments: first and second joint, how far from the first to the second the centre of mass is, and the share of the
body's mass, %. Means of de Leva's women and men."""
_TRUNK, _HEAD = 43.5, 6.9
_TRUNK_AT: Final = 0.5  # from the pelvis to the neck


def _shares() -> DoubleArray:
    shares = np.zeros(len(JOINT_NAMES))
    pelvis, neck, head = (JOINT_NAMES.index(name) for name in ("pelvis", "neck", "head"))
    shares[pelvis], shares[neck], shares[head] = _TRUNK * (1 - _TRUNK_AT), _TRUNK * _TRUNK_AT, _HEAD
    for side in ("left", "right"):
        for first, second, at, mass in _LIMBS:
            shares[JOINT_NAMES.index(f"{side}_{first}")] += mass * (1 - at)
            shares[JOINT_NAMES.index(f"{side}_{second}")] += mass * at
    return np.asarray(shares / shares.sum(), np.float64)


MASS_SHARES: Final = _shares()
"""(24,) whose sum is 1: the centre of mass is ``MASS_SHARES @ joints``."""
