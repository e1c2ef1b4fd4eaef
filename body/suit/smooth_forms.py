"""The surface that a suit covers: chest and groin as under cloth, toes in a shoe, cloth without folds of skin.

Computed once, in the rest pose, as an offset of each vertex; posing turns it with the body. It only changes what is drawn:
motion files, live output and measurements take the body's own vertices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from body.joints import JOINT_NAMES, PARENTS
from body.model import BodyArrays
from body.rotations import axis_angle_to_matrix
from body.suit.parts import SuitPart, suit_shares
from common.arrays import DoubleArray, FloatArray, Int32Array, Int64Array

Edges = tuple[Int64Array, Int64Array]

_ROUNDS: Final = 60
_CHEST_ROUNDS: Final = 120  # more where it is strong: until nothing is left of a small and dense form
_CLOTH, _FACE, _CHEST, _GROIN = 0.04, 0.03, 1.0, 0.5  # of the way to the neighbours' mean, a round
_CHEST_M, _GROIN_M = 0.06, 0.075  # metres from the middle at which the strength has fallen to 0.6 of the most
_BONES: Final = 4  # joints that turn an offset
_TOES_M, _TOES_RAMP_M = (
    -0.015,
    0.035,
)  # where the shoe begins to cover the toes, metres before the foot joint, and how slowly
_SHOE_ROUNDS: Final = 24
_SQUARENESS: Final = 2.6  # exponent of the superellipse across a shoe; 2 is an ellipse
_SLICE_M: Final = 0.006
_DOME_M: Final = 0.03  # of the shoe's length are its rounded tip


@dataclass(frozen=True, slots=True, eq=False)
class SmoothForms:
    """Offsets from the estimated to the drawn surface of one body model. Safe in all threads."""

    rows: Int32Array
    """(R,) vertices that move."""
    mean: FloatArray
    """(R, 3) metres in the rest pose, for betas 0."""
    betas: FloatArray
    """(R, 3, 10) more for one unit of each beta."""
    bones: Int32Array
    """(R, K) joints that turn them."""
    weights: FloatArray
    """(R, K) how much; rows sum to 1."""

    def offsets(self, betas: FloatArray) -> FloatArray:
        """(R, 3) float32 metres: what to add to the vertices in ``rows`` of the rest body of ``betas`` (10,)."""
        change = self.betas.reshape(-1, self.betas.shape[-1]) @ betas.astype(
            np.float32
        )  # one product: 10 times quicker
        return np.asarray(self.mean + change.reshape(self.mean.shape), np.float32)

    def __call__(self, vertices: FloatArray, rotations: FloatArray, betas: FloatArray) -> FloatArray:
        """A new (V, 3) float32 metres: ``vertices`` (V, 3) of a body as they are drawn, in any frame of reference.

        ``rotations`` (24, 3) axis-angle are the body's, the first one to that frame; ``betas`` (10,) its shape.
        """
        from body.suit.kernels import shift  # late: importing numba costs more than all of OpenCV

        local = axis_angle_to_matrix(rotations).astype(np.float32)
        for joint, parent in enumerate(PARENTS):
            if parent >= 0:
                local[joint] = local[parent] @ local[joint]
        drawn = np.array(vertices, np.float32, order="C")
        shift(self.rows, self.offsets(betas), self.bones, self.weights, local, drawn)
        return drawn


def smooth_forms(body: BodyArrays) -> SmoothForms:
    """The offsets for ``body``, from its rest pose, joints and skinning weights."""
    rest = body.v_template.astype(np.float64)
    joints = dict(zip(JOINT_NAMES, body.joint_regressor.astype(np.float64) @ rest, strict=True))
    shares = suit_shares(body)
    strength = _strength(body, rest, joints, shares)
    # The mean shape and all betas at once: smoothing is linear.
    surface = np.concatenate([body.v_template[..., None], body.shapedirs], -1).reshape(len(rest), -1)
    smooth = surface.astype(np.float32)
    edges = _both_ways(body.faces)
    _relax(edges, strength, _ROUNDS, smooth)
    _relax(edges, np.where(strength > 0.3, strength, 0).astype(np.float32), _CHEST_ROUNDS, smooth)
    offsets = (smooth - surface).reshape(len(rest), 3, -1)
    for side in ("left", "right"):
        _cover_toes(body, edges, joints[f"{side}_ankle"], joints[f"{side}_foot"], shares[:, SuitPart.SHOES], offsets)
    rows = np.flatnonzero(np.abs(offsets[..., 0]).max(1) > 5e-4).astype(np.int32)
    bones = np.argsort(-body.weights[rows], axis=1, kind="stable")[:, :_BONES]
    weights = np.take_along_axis(body.weights[rows], bones, 1)
    return SmoothForms(
        rows,
        np.ascontiguousarray(offsets[rows, :, 0]),
        np.ascontiguousarray(offsets[rows, :, 1:]),
        bones.astype(np.int32),
        np.ascontiguousarray(weights / weights.sum(1, keepdims=True), np.float32),
    )


def _strength(body: BodyArrays, rest: DoubleArray, joints: dict[str, DoubleArray], shares: FloatArray) -> FloatArray:
    """(V,) 0..1: how strongly each vertex is smoothed."""
    head = body.weights[:, [JOINT_NAMES.index("neck"), JOINT_NAMES.index("head")]].sum(1)
    cloth = shares[:, SuitPart.SHIRT] + shares[:, SuitPart.TROUSERS]
    strength = np.maximum(_CLOTH * cloth, _FACE * head).astype(np.float64)
    arms = [i for i, name in enumerate(JOINT_NAMES) if name.endswith(("shoulder", "elbow", "wrist", "hand"))]
    trunk = cloth * (body.weights[:, arms].sum(1) < 0.3)
    front = rest[:, 2] > joints["spine3"][2] + 0.03
    across = np.minimum(*(np.abs(rest[:, 0] - side) for side in (joints["left_collar"][0], joints["right_collar"][0])))
    chest_height = joints["spine2"][1] + 0.6 * (joints["spine3"][1] - joints["spine2"][1])
    chest = np.hypot(across, rest[:, 1] - chest_height)
    groin = np.hypot(rest[:, 0], rest[:, 1] - 0.5 * (joints["left_hip"][1] + joints["right_hip"][1]) + 0.03)
    for away, radius, most, where in ((chest, _CHEST_M, _CHEST, front), (groin, _GROIN_M, _GROIN, True)):
        strength = np.maximum(strength, most * np.exp(-0.5 * (away / radius) ** 2) * trunk * where)
    return np.asarray(strength, np.float32)


def _cover_toes(
    body: BodyArrays, edges: Edges, ankle: DoubleArray, foot: DoubleArray, shoe: FloatArray, offsets: FloatArray
) -> None:
    """Put the toes of one foot into a shoe: spread their vertices over a rounded tip around all five. Adds to ``offsets``."""
    ahead = (foot - ankle) * [1, 0, 1]
    ahead /= np.linalg.norm(ahead)
    sideways = np.cross([0, 1, 0], ahead)
    own = np.flatnonzero((shoe > 0.5) & (np.sign(body.v_template[:, 0]) == np.sign(foot[0])))
    local = (body.v_template[own] - foot) @ np.stack([sideways, [0, 1, 0], ahead], 1)
    begin = _TOES_M
    toes = local[:, 2] > begin
    if toes.sum() < 8:
        return
    slices = np.arange(begin, local[:, 2].max() + _SLICE_M, _SLICE_M)
    near = np.abs(local[None, :, 2] - slices[:, None]) <= 1.5 * _SLICE_M
    spans = [(local[here, :2].min(0), local[here, :2].max(0)) for here in near if here.any()]
    places = slices[[bool(here.any()) for here in near]]
    low, high = (_averaged(np.array(ends)) for ends in zip(*spans, strict=True))
    part = np.clip((local[:, 2] - begin) / _TOES_RAMP_M, 0, 1)[:, None]
    dome = float(local[:, 2].max()) - _DOME_M  # from here on the tip is half an ellipsoid
    strength = np.zeros(len(body.v_template), np.float32)
    strength[own] = 0.5 * part[:, 0]
    moving = body.v_template.astype(np.float32)
    for _ in range(_SHOE_ROUNDS):
        _relax(edges, strength, 2, moving)
        now = (moving[own] - foot) @ np.stack([sideways, [0, 1, 0], ahead], 1)
        at = [np.interp(np.minimum(now[:, 2], dome), places, ends[:, axis]) for ends in (low, high) for axis in (0, 1)]
        middle = np.stack([(at[0] + at[2]) / 2, (at[1] + at[3]) / 2], 1)
        half = np.maximum(np.stack([(at[2] - at[0]) / 2, (at[3] - at[1]) / 2], 1), 0.004)
        away = (now[:, :2] - middle) / half
        beyond = np.maximum(now[:, 2] - dome, 0) / _DOME_M
        radius = np.maximum(np.hypot((np.abs(away) ** _SQUARENESS).sum(1) ** (1 / _SQUARENESS), beyond), 0.05)[:, None]
        wanted = np.concatenate([middle + half * away / radius, dome + _DOME_M * beyond[:, None] / radius], 1)
        wanted[:, 2] = np.where(beyond > 0, wanted[:, 2], now[:, 2])
        now += part * (wanted - now)
        moving[own] = foot + now @ np.stack([sideways, [0, 1, 0], ahead])
    offsets[own, :, 0] += (moving - body.v_template)[own]


def _averaged(values: DoubleArray) -> DoubleArray:
    """(N, 2) with each row replaced by the mean of itself and its neighbours."""
    padded = np.concatenate([values[:1], values, values[-1:]])
    return np.asarray((padded[:-2] + padded[1:-1] + padded[2:]) / 3, np.float64)


def _both_ways(faces: Int32Array) -> Edges:
    """Both ends of every edge, in both directions, sorted by the first."""
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    count = int(faces.max()) + 1
    keys = np.unique(np.concatenate([ends[:, 0] * count + ends[:, 1], ends[:, 1] * count + ends[:, 0]]))
    return keys // count, keys % count


def _relax(edges: Edges, strength: FloatArray, rounds: int, vertices: FloatArray) -> None:
    """``kernels.relax`` in place, for vertices of ``strength`` over a hundredth."""
    from body.suit.kernels import relax  # late, as above

    chosen = strength > 0.01
    rows, own = np.flatnonzero(chosen).astype(np.int32), chosen[edges[0]]
    first, second = edges[0][own], edges[1][own]
    relax(
        vertices,
        rows,
        np.append(np.searchsorted(first, rows), len(first)).astype(np.int32),
        second.astype(np.int32),
        np.ascontiguousarray(strength[rows], np.float32),
        rounds,
    )
