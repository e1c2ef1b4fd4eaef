"""Poses and shapes of one SMPL-layout body said in those of another.

Two bodies with the same 24 joints still differ in what their numbers mean: betas are other directions, and rotations count
from another rest pose. Betas are chosen so that limbs and trunk get the same lengths; rotations so that limbs point where
they pointed (`training.motion.clip`).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from body.joints import JOINT_NAMES
from body.model import BodyArrays
from training.motion.clip import CANONICAL_BONES, adapt_rest_pose, canonical_rotations

Array = NDArray[np.float64]
FloatArray = NDArray[np.float32]

CLOSE_M: Final = 0.005
"""Lengths are to agree about so well, metres; a beta away from 0 costs as much as a length off by this."""

_ENDS: Final[tuple[tuple[int, int], ...]] = (
    *((joint, end) for joint, end, _ in CANONICAL_BONES),
    *(
        (JOINT_NAMES.index(joint), JOINT_NAMES.index(end))
        for joint, end in (("pelvis", "neck"), ("right_hip", "left_hip"), ("right_shoulder", "left_shoulder"))
    ),
)
"""The joints at the ends of the L lengths that are to agree: limbs, trunk, widths of hips and shoulders."""


class BodyConversion:
    """From the parameters of one body to those of another.

    Args:
        own: the body that poses and betas belong to.
        target: the one that they are wanted for.
    """

    def __init__(self, own: BodyArrays, target: BodyArrays) -> None:
        self._own, self._target = (_rest_joints(body) for body in (own, target))
        base, directions = _lengths(*self._own)
        target_base, target_directions = _lengths(*self._target)
        # Betas have unit variance in both bodies: the likeliest ones, given lengths known to CLOSE_M (ridge regression).
        normal = target_directions.T @ target_directions + CLOSE_M**2 * np.eye(target_directions.shape[1])
        solve = np.linalg.solve(normal, target_directions.T)
        self._offset, self._matrix = solve @ (base - target_base), solve @ directions
        self._own_limit, self._target_limit = own.beta_limit, target.beta_limit

    def betas(self, betas: NDArray[np.floating[Any]]) -> FloatArray:
        """(..., 10) betas of the own body to (..., 10) of the target."""
        clamped = np.clip(betas, -self._own_limit, self._own_limit)
        wanted = clamped @ self._matrix.T + self._offset
        return np.clip(wanted, -self._target_limit, self._target_limit).astype(np.float32)

    def rotations(self, rotations: NDArray[np.floating[Any]], betas: NDArray[np.floating[Any]]) -> FloatArray:
        """(..., 24, 3) local axis-angle of the own body with ``betas`` (10,), radians, to those of the target."""
        own, target = _with(self._own, betas), _with(self._target, self.betas(betas))
        return adapt_rest_pose(canonical_rotations(rotations, own), target)


def _rest_joints(body: BodyArrays) -> tuple[Array, Array]:
    """(24, 3) joints of the mean shape, and (24, 3, 10) metres for one unit of each beta."""
    regressor = body.joint_regressor.astype(np.float64)
    return regressor @ body.v_template, np.einsum("jv,vab->jab", regressor, body.shapedirs.astype(np.float64))


def _with(joints: tuple[Array, Array], betas: NDArray[np.floating[Any]]) -> Array:
    return joints[0] + joints[1] @ np.asarray(betas, np.float64)


def _lengths(base: Array, directions: Array) -> tuple[Array, Array]:
    """(L,) metres and (L, 10) metres for one unit of each beta: lengths at rest, along the mean shape's directions."""
    lengths, slopes = [], []
    for joint, end in _ENDS:
        bone = base[end] - base[joint]
        along = bone / np.linalg.norm(bone)
        lengths.append(float(along @ bone))
        slopes.append(along @ (directions[end] - directions[joint]))
    return np.array(lengths), np.array(slopes)
