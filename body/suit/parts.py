"""A plain suit for a body: which part of its surface is shirt, trousers, shoes or skin, and the colours of each.

Everything is derived from the body model itself, its joints and skinning weights, so that a user's licensed SMPL gets
its suit too. Only drawing uses it: the estimated body is never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from body.joints import JOINT_NAMES
from body.model import BodyArrays
from body.suit.seams import Seams, cut_seams
from common.arrays import DoubleArray, FloatArray

Colour = tuple[int, int, int]
"""Blue, green, red, each 0..255."""

PALETTE: Final[tuple[Colour, ...]] = (
    (176, 128, 40),  # blue
    (66, 96, 214),  # coral
    (96, 148, 60),  # green
    (168, 92, 140),  # violet
    (52, 152, 216),  # amber
    (128, 84, 196),  # rose
)
"""Shirts of persons 0, 1, 2 ..., then round again: the one hue of a person."""

SKIN: Final[Colour] = (172, 188, 208)
"""A mannequin's, not a person's: pale and the same for everybody."""

_CLAY: Final = 0.45  # of the way from a person's colour to white
_SLEEVE: Final = 0.62  # of the upper arm is covered
_WAIST: Final = 0.35  # of the way from the pelvis to the lowest joint of the spine
_COLLAR_M: Final = -0.005  # metres along the neck, from its joint
_COLLAR: Final = 0.25  # of the distance between the shoulders: the radius of the collar around the neck
_SHOULDERS_M: Final = 0.06  # metres over the collar there are no shoulders any more
_CUFF: Final = 0.93  # of the shank is covered
_EDGE_M: Final = 0.014  # half of the width of a seam, metres: narrower than the triangles are long, it would be ragged
_SEAM_M: Final = 0.003  # the same of a surface that is cut along it, the whole width


class SuitPart(IntEnum):
    """What a piece of the surface is; the columns of `suit_shares`."""

    SKIN = 0
    SHIRT = 1
    TROUSERS = 2
    SHOES = 3


def colour_of(person: int) -> Colour:
    """The colour of a person, the same in every view."""
    return PALETTE[person % len(PALETTE)]


def clay_colour(person: int) -> FloatArray:
    """(3,) float32 BGR 0..255: all of a person who wears no suit."""
    hue = np.array(colour_of(person), np.float32)
    return hue + np.float32(_CLAY) * (255 - hue)


def part_colours(person: int) -> NDArray[np.uint8]:
    """(4, 3) uint8 BGR in the order of `SuitPart`: skin, shirt, trousers and shoes of a person."""
    shirt = np.array(colour_of(person), np.float64)
    trousers = 0.38 * shirt + np.array([56, 52, 50])
    shoes = 0.14 * shirt + np.array([42, 41, 41])
    return np.asarray(np.round(np.stack([np.array(SKIN, np.float64), shirt, trousers, shoes])), np.uint8)


def suit_shares(body: BodyArrays) -> FloatArray:
    """(V, 4) float32 0..1, rows sum to 1: how much of each vertex of ``body`` is which `SuitPart`.

    Seams are planes across the bones of the rest pose: sleeves end on the upper arms, the shirt at the waist, trousers over
    the ankles. Vertices within a few millimetres of a seam belong to both sides, which keeps it smooth between vertices.
    """
    return _shares(_past_seams(body, body.v_template), _EDGE_M)


def suit_seams(body: BodyArrays, drawn: FloatArray) -> tuple[Seams, FloatArray]:
    """The surface of ``body`` cut along the suit's seams, and (V + E, 4) as of `suit_shares` for its vertices and those of the
    cuts: sharp lines. They are straight on ``drawn`` (V, 3), the vertices of its rest pose as they are drawn, metres."""
    past = _past_seams(body, drawn)
    seams = cut_seams(body.faces, past, _SEAM_M)
    return seams, _shares([seams.extend(each[:, None])[:, 0].astype(np.float64) for each in past], _SEAM_M / 2)


def _shares(past: Sequence[DoubleArray], edge: float) -> FloatArray:
    """(N, 4) of `suit_shares` for ``past`` of `_past_seams`; ``edge`` is half of the width of a seam, metres."""
    bare, shoe, trouser = past
    shares = np.zeros((len(bare), len(SuitPart)))
    shares[:, SuitPart.SKIN] = _ramp(bare, edge)
    shares[:, SuitPart.SHOES] = _ramp(shoe, edge)
    shares[:, SuitPart.TROUSERS] = _ramp(trouser, edge) * (1 - shares[:, SuitPart.SHOES])
    shares[:, SuitPart.SHIRT] = np.maximum(1 - shares.sum(1), 0)
    return np.asarray(shares / shares.sum(1, keepdims=True), np.float32)


def _past_seams(body: BodyArrays, surface: FloatArray) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
    """(V,) each, for ``surface`` (V, 3) of the rest pose: metres past the seams to bare skin, shoes and trousers, positive
    outside of the cloth before."""
    rest = surface.astype(np.float64)
    joints = body.joint_regressor.astype(np.float64) @ body.v_template.astype(np.float64)
    ratio = {"sleeve": _SLEEVE, "waist": _WAIST, "cuff": _CUFF}
    arm = np.maximum(_weight(body, "left", _ARM), _weight(body, "right", _ARM))
    foot = np.minimum(
        *(_beyond(rest, joints, f"{side}_knee", f"{side}_ankle", ratio["cuff"]) for side in ("left", "right"))
    )
    sleeves = np.maximum(
        *(_beyond(rest, joints, f"{side}_shoulder", f"{side}_elbow", ratio["sleeve"]) for side in ("left", "right"))
    )
    is_arm = arm > 0.5
    neck = _beyond(rest, joints, "neck", "head", 0.0) - _COLLAR_M
    above_waist = _beyond(rest, joints, "pelvis", "spine1", ratio["waist"])
    # Arms hang at the height of the neck but are none of it.
    left, right = (joints[JOINT_NAMES.index(f"{side}_shoulder")] for side in ("left", "right"))
    collar = _COLLAR * np.linalg.norm(left - right) - _from_axis(rest, joints, "neck", "head")
    above = np.maximum(np.minimum(neck, collar), neck - _SHOULDERS_M)  # a head is wider than its collar
    bare = np.where(is_arm, sleeves, above)
    return bare, np.where(is_arm, -1.0, foot), np.where(is_arm, -1.0, -above_waist)


_ARM: Final = ("shoulder", "elbow", "wrist", "hand")


def _weight(body: BodyArrays, side: str, names: tuple[str, ...]) -> FloatArray:
    """(V,) how much joints ``names`` (of a ``side``) move each vertex, 0..1."""
    columns = [JOINT_NAMES.index(f"{side}_{name}" if side else name) for name in names]
    return np.asarray(body.weights[:, columns].sum(1), np.float32)


def _beyond(rest: DoubleArray, joints: DoubleArray, start: str, end: str, ratio: float) -> DoubleArray:
    """(V,) metres by which vertices lie past the plane across the bone ``start`` to ``end`` at ``ratio`` of its length."""
    first, last = joints[JOINT_NAMES.index(start)], joints[JOINT_NAMES.index(end)]
    along = (last - first) / np.linalg.norm(last - first)
    return np.asarray((rest - first - ratio * (last - first)) @ along, np.float64)


def _from_axis(rest: DoubleArray, joints: DoubleArray, start: str, end: str) -> DoubleArray:
    """(V,) metres between vertices and the line through the bone ``start`` to ``end``."""
    first, last = joints[JOINT_NAMES.index(start)], joints[JOINT_NAMES.index(end)]
    return np.asarray(np.linalg.norm(np.cross(rest - first, (last - first) / np.linalg.norm(last - first)), axis=1))


def _ramp(past: DoubleArray, edge: float) -> DoubleArray:
    """0 before a seam, 1 after it, a straight line in between."""
    return np.clip(0.5 + past / (2 * edge), 0, 1)
