"""Conversion of poses and shapes between two SMPL-layout bodies.

Two bodies with the same 24 joints can differ in the meaning of their parameters: betas span other directions, and
rotations are relative to another rest pose. Betas are converted so that bone lengths and the girths of limbs and trunk
agree; rotations so that limbs keep their directions.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from body.errors import BodyError
from body.joints import JOINT_NAMES, PARENTS
from body.model import BodyArrays
from common.arrays import AnyFloatArray, DoubleArray, FloatArray

CLOSE_M: Final = 0.005
"""Tolerance of lengths, metres: a beta of 1 costs as much as a length that is off by this."""
GIRTH_CLOSE_M: Final = 0.01
"""Tolerance of radii, metres; larger, because two meshes are never cut in quite the same place."""
ALIKE_M: Final = 0.01
"""Two bodies share one parameterisation if their bones, and the bones' changes per beta, agree within this, metres."""
_MIN_SLICE_VERTICES: Final = 6  # vertices that a measurable slice needs
_STEP: Final = 0.5  # of a beta, for the derivatives


def _index(joint: str, end: str) -> tuple[int, int]:
    return JOINT_NAMES.index(joint), JOINT_NAMES.index(end)


def _both(joint: str, end: str) -> tuple[tuple[int, int], ...]:
    return tuple(_index(f"{side}_{joint}", f"{side}_{end}") for side in ("left", "right"))


LIMB_BONES: Final = (
    *_both("hip", "knee"),
    *_both("knee", "ankle"),
    *_both("shoulder", "elbow"),
    *_both("elbow", "wrist"),
    *_both("wrist", "hand"),
)
"""Bones that point the same way in every body of the same pose: (joint that rotates the bone, joint at its end).

The rest directions of the others depend on where a model places joints inside the spine or the foot.
"""

_LENGTHS: Final = (
    *LIMB_BONES,
    _index("pelvis", "neck"),
    _index("right_hip", "left_hip"),
    _index("right_shoulder", "left_shoulder"),
)
_TRUNK: Final = tuple(JOINT_NAMES.index(name) for name in ("pelvis", "spine1", "spine2", "spine3"))


class _Slice(NamedTuple):
    """A slice of a body across one of its bones, whose girth is measured."""

    joint: int
    """Joint where the bone begins, SMPL order."""
    end: int
    """Joint where it ends."""
    skin: tuple[int, ...]
    """Joints whose vertices count: those that are skinned to them most."""
    low: float
    """Begin of the slice along the bone, as a share of its length: 0 is ``joint``, 1 is ``end``."""
    high: float
    """End of the slice, likewise."""


_GIRTHS: Final = (
    *(_Slice(joint, end, (joint,), 0.3, 0.8) for joint, end in LIMB_BONES[:8]),
    *(_Slice(*_index("pelvis", "neck"), _TRUNK, low, low + 0.25) for low in (0.0, 0.25, 0.5)),
)


class BodyConversion:
    """Converts the parameters of one body to those of another."""

    def __init__(self, own: BodyArrays, target: BodyArrays) -> None:
        """Fit the conversion; takes some tens of milliseconds.

        Args:
            own: The body that poses and betas belong to.
            target: The body to convert them to.

        Raises:
            BodyError: A limb has no length, or the rest poses differ too much.
        """
        self._own, self._target = (body.at_rest(body.joint_regressor) for body in (own, target))
        _check(own, self._own[..., 0], target, self._target[..., 0])
        base, directions = _measures(own, self._own)
        target_base, target_directions = _measures(target, self._target)
        # Betas have unit variance in both bodies, so the most likely ones are a ridge regression on the measures.
        close = np.array([CLOSE_M] * len(_LENGTHS) + [GIRTH_CLOSE_M] * len(_GIRTHS))[:, None]
        known = np.isfinite(base + target_base)
        slopes = (target_directions / close)[known]
        solve = np.linalg.solve(slopes.T @ slopes + np.eye(slopes.shape[1]), slopes.T)
        self._offset = solve @ ((base - target_base) / close[:, 0])[known]
        self._matrix = solve @ (directions / close)[known]
        self._own_limit, self._target_limit = own.beta_limit, target.beta_limit

    @classmethod
    def where_needed(cls, own: BodyArrays, target: BodyArrays) -> BodyConversion | None:
        """A conversion, or None where both bodies have the same parameterisation: one body at two resolutions."""
        return None if float(np.abs(_bones(own) - _bones(target)).max()) < ALIKE_M else cls(own, target)

    def betas(self, betas: AnyFloatArray) -> FloatArray:
        """Convert betas (..., 10) of the own body to betas (..., 10) float32 of the target, clamped to both limits."""
        clamped = np.clip(betas, -self._own_limit, self._own_limit)
        wanted = clamped @ self._matrix.T + self._offset
        return np.asarray(np.clip(wanted, -self._target_limit, self._target_limit), np.float32)

    def rotations(self, rotations: ArrayLike, betas: AnyFloatArray) -> FloatArray:
        """Convert local rotations (..., 24, 3, 3), root included, of the own body with ``betas`` (10,) to the target.

        Returns:
            (..., 24, 3, 3) float32.

        Raises:
            ValueError: ``rotations`` has another shape.
        """
        local = np.asarray(rotations, np.float64)
        if local.shape[-3:] != (len(JOINT_NAMES), 3, 3):
            raise ValueError(f"rotations must have shape (..., 24, 3, 3), got {local.shape}")
        clamped = np.clip(betas, -self._own_limit, self._own_limit)
        change = _changes(_with(self._own, clamped), _with(self._target, self.betas(clamped)))
        # A global rotation G becomes G C, so a local one becomes inverse(C of the parent) L C.
        before = np.concatenate([np.eye(3)[None], change[list(PARENTS[1:])]])
        return np.asarray(np.swapaxes(before, -1, -2) @ local @ change, np.float32)


def _check(own: BodyArrays, joints: DoubleArray, target: BodyArrays, target_joints: DoubleArray) -> None:
    for joint, end in LIMB_BONES:
        bones = joints[end] - joints[joint], target_joints[end] - target_joints[joint]
        lengths = [float(np.linalg.norm(bone)) for bone in bones]
        if min(lengths) < 1e-3 or bones[0] @ bones[1] < 0:
            raise BodyError(
                f"the bodies {own.name} and {target.name} have different rest poses "
                f"({JOINT_NAMES[joint]} to {JOINT_NAMES[end]}); give SMPL as it was released, in its T-pose"
            )


def _bones(body: BodyArrays) -> DoubleArray:
    """(23, 3, 11) each joint from its parent at rest, of the mean shape and for one unit of each beta, metres."""
    joints = body.at_rest(body.joint_regressor)
    bones: DoubleArray = joints[1:] - joints[list(PARENTS[1:])]
    return bones


def _with(joints: DoubleArray, betas: AnyFloatArray) -> DoubleArray:
    """(24, 3) metres, of joints (24, 3, 11) as `BodyArrays.at_rest` gives them."""
    shaped: DoubleArray = joints @ np.append(1.0, betas)
    return shaped


def _changes(own: DoubleArray, target: DoubleArray) -> DoubleArray:
    """The rotation (24, 3, 3) of each joint from the target's rest bone to the own one, for rest joints (24, 3)."""
    joints, ends = np.array(LIMB_BONES).T
    change = np.tile(np.eye(3), (len(JOINT_NAMES), 1, 1))
    change[joints] = _between(target[ends] - target[joints], own[ends] - own[joints])
    for wrist, hand in _both("wrist", "hand"):
        change[hand] = change[wrist]  # otherwise the fingers would bend relative to the back of the hand
    return change


def _between(start: DoubleArray, end: DoubleArray) -> DoubleArray:
    """The shortest rotations (N, 3, 3) from directions (N, 3) to others (N, 3) that are not opposite."""
    a, b = (bones / np.linalg.norm(bones, axis=1, keepdims=True) for bones in (start, end))
    skew = np.cross(np.cross(a, b)[:, None], np.eye(3)[None]).swapaxes(1, 2)  # its columns: axis x unit vectors
    cosine = (a * b).sum(1)[:, None, None]
    turns: DoubleArray = np.eye(3) + skew + skew @ skew / (1 + cosine)
    return turns


def _measures(body: BodyArrays, joints: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """(M,) lengths and radii of the mean shape, metres, and (M, 10) metres for one unit of each beta."""
    template, directions = body.v_template.astype(np.float64), body.shapedirs.astype(np.float64)
    follows = body.weights.argmax(1)
    skins = [_cut(template, joints[..., 0], follows, piece) for piece in _GIRTHS]

    def measure(betas: DoubleArray) -> DoubleArray:
        places = _with(joints, betas)
        lengths = [np.linalg.norm(places[end] - places[joint]) for joint, end in _LENGTHS]
        radii = []
        for piece, (vertices, share) in zip(_GIRTHS, skins, strict=True):
            axis = places[piece.end] - places[piece.joint]
            radii.append(_radius(template[vertices] + directions[vertices] @ betas, share, axis))
        return np.array([*lengths, *radii])

    steps = np.eye(directions.shape[2]) * _STEP
    slopes = [(measure(step) - measure(-step)) / (2 * _STEP) for step in steps]
    return measure(np.zeros(len(steps))), np.stack(slopes, 1)


def _cut(
    vertices: DoubleArray, joints: DoubleArray, follows: NDArray[np.intp], piece: _Slice
) -> tuple[NDArray[np.intp], DoubleArray]:
    """Vertices (N,) of a slice, and the share of its skin that each represents: smaller where the mesh is dense."""
    axis = joints[piece.end] - joints[piece.joint]
    along = (vertices - joints[piece.joint]) @ axis / (axis @ axis)
    found = np.flatnonzero(np.isin(follows, piece.skin) & (along > piece.low) & (along < piece.high))
    if len(found) < _MIN_SLICE_VERTICES:
        return found, np.full(len(found), np.nan)
    # By the angle around the axis: a vertex represents the skin halfway to its neighbours.
    around, across = _plane(axis)
    flat = (vertices[found] - vertices[found].mean(0)) @ np.stack([around, across], 1)
    angle = np.arctan2(flat[:, 1], flat[:, 0])
    order = np.argsort(angle)
    gaps = np.diff(angle[order], append=angle[order[0]] + 2 * np.pi)
    share = np.empty(len(found))
    share[order] = (gaps + np.roll(gaps, 1)) / (4 * np.pi)
    return found, share


def _plane(axis: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Two directions perpendicular to ``axis``."""
    first = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
    second = np.cross(axis, first)
    return first / np.linalg.norm(first), second / np.linalg.norm(second)


def _radius(points: DoubleArray, share: DoubleArray, axis: DoubleArray) -> float:
    """Root mean square distance of skin ``points`` (N, 3) from their centre across ``axis``: a tube's radius.

    NaN where there are too few points.
    """
    if len(points) < _MIN_SLICE_VERTICES:
        return float("nan")
    centred = points - share @ points
    along = centred @ axis / np.linalg.norm(axis)
    return float(np.sqrt(max(share @ ((centred**2).sum(1) - along**2), 0.0)))
