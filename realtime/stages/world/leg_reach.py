"""Inverse kinematics of the legs for small moves: hip and knee turn so that the ankle reaches a target."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from body.joints import COCO_NAMES, JOINT_NAMES
from body.model import BodyArrays
from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from common.arrays import AnyFloatArray, DoubleArray, FloatArray
from common.compiled import njit
from realtime.records import BodyEstimate
from realtime.stages.world.kernels import cross_product

MAX_JOINT_SHIFT_M: Final = 0.02
"""Largest move of a joint."""
_LEGS: Final = tuple(
    tuple(JOINT_NAMES.index(name) for name in (f"{side}_hip", f"{side}_knee", f"{side}_ankle"))
    for side in ("left", "right")
)
_TOES: Final = 3  # index of a foot's joint minus that of its ankle
_NEARLY: Final = 0.999  # greatest length of a stretched leg, as a share of the full length
_HALVINGS: Final = 6


class LegReach:
    """Bends the legs of posed bodies. Feet keep their directions.

    The mesh follows by its skinning weights, without being posed anew, which would cost ten times as much: for moves of
    `MAX_JOINT_SHIFT_M` the skin is right to a millimetre.
    """

    def __init__(self, arrays: BodyArrays) -> None:
        """``arrays``: of the bodies."""
        self._sides: list[tuple[NDArray[np.intp], FloatArray]] = []
        for hip, knee, ankle in _LEGS:
            foot = arrays.weights[:, ankle] + arrays.weights[:, ankle + _TOES]
            shares = np.stack([arrays.weights[:, hip], arrays.weights[:, knee], foot], 1).astype(np.float32)
            rows = np.flatnonzero(shares.sum(1) > 0)
            self._sides.append((rows, shares[rows]))
        # Compile it now, so that no frame waits for it.
        reach(np.diag([0.0, 0.4, 0.8]), np.full(3, 0.01), MAX_JOINT_SHIFT_M, np.empty((2, 3)))

    def __call__(self, body: BodyEstimate, moves: DoubleArray) -> BodyEstimate:
        """``body`` with its left and right ankle moved by ``moves`` (2, 3), m, in its frame.

        Knees stay hinges that bend one way: a leg that cannot reach stays as long as it can be. Where an ankle's move would
        take the knee further than `MAX_JOINT_SHIFT_M`, its part along the leg is made smaller.
        """
        pose, joints, coco, vertices = (part.copy() for part in (body.body_pose, body.joints, body.coco, body.vertices))
        found = np.empty((2, 3))
        for side, (hip, knee, ankle) in enumerate(_LEGS):
            places = body.joints[[hip, knee, ankle]].astype(np.float64)
            if not reach(places, moves[side], MAX_JOINT_SHIFT_M, found):
                continue
            new_knee, new_ankle = found
            local = [body.global_orient, *body.body_pose[[hip - 1, knee - 1, ankle - 1]]]
            turns = axis_angle_to_matrix(np.stack(local).astype(np.float64))
            thigh = turns[0] @ turns[1]
            shank = thigh @ turns[2]
            foot = shank @ turns[3]
            turn_thigh = _between(places[1] - places[0], new_knee - places[0])
            turn_shank = _between(places[2] - places[1], new_ankle - new_knee)
            new_thigh, new_shank = turn_thigh @ thigh, turn_shank @ shank
            pose[[hip - 1, knee - 1, ankle - 1]] = matrix_to_axis_angle(
                np.stack([turns[0].T @ new_thigh, new_thigh.T @ new_shank, new_shank.T @ foot])
            )
            knee_move, ankle_move = ((new - old).astype(np.float32) for new, old in zip(found, places[1:], strict=True))
            joints[knee] += knee_move
            joints[[ankle, ankle + _TOES]] += ankle_move
            coco[COCO_NAMES.index("left_knee") + side] += knee_move
            coco[COCO_NAMES.index("left_ankle") + side] += ankle_move
            rows, shares = self._sides[side]
            skin = body.vertices[rows]
            bend = (skin - body.joints[hip]) @ (turn_thigh - np.eye(3)).astype(np.float32).T
            vertices[rows] += shares[:, :1] * bend
            bend = (skin - body.joints[knee]) @ (turn_shank - np.eye(3)).astype(np.float32).T + knee_move
            vertices[rows] += shares[:, 1:2] * bend + shares[:, 2:] * ankle_move
        return replace(body, body_pose=pose, joints=joints, coco=coco, vertices=vertices)


@njit(cache=True, nogil=True)
def bent_leg(places: DoubleArray, target: DoubleArray, out: DoubleArray) -> float:
    """Writes knee and ankle of a leg whose hip, knee and ankle are at ``places`` (3, 3), once its ankle is as near ``target``
    (3,) as it can be, to ``out`` (2, 3). Returns by how much the knee has moved, m."""
    upper, lower, now, distance = 0.0, 0.0, 0.0, 0.0
    for k in range(3):
        upper += (places[1, k] - places[0, k]) ** 2
        lower += (places[2, k] - places[1, k]) ** 2
        now += (places[2, k] - places[0, k]) ** 2
        distance += (target[k] - places[0, k]) ** 2
    upper, lower, now, distance = math.sqrt(upper), math.sqrt(lower), math.sqrt(now), max(math.sqrt(distance), 1e-6)
    longest = max(_NEARLY * (upper + lower), now)
    reached = min(max(distance, abs(upper - lower) + 1e-3), longest)
    forward = 0.0
    for k in range(3):
        forward += (places[1, k] - places[0, k]) * (target[k] - places[0, k]) / distance
    width = 0.0
    for k in range(3):
        width += (places[1, k] - places[0, k] - forward * (target[k] - places[0, k]) / distance) ** 2
    width = math.sqrt(width)
    near = (upper**2 - lower**2 + reached**2) / (2 * reached)
    far = math.sqrt(max(upper**2 - near**2, 0.0))
    moved = 0.0
    for k in range(3):
        along = (target[k] - places[0, k]) / distance
        aside = (places[1, k] - places[0, k] - forward * along) / width if width > 1e-6 else 0.0
        out[0, k] = places[0, k] + near * along + far * aside
        out[1, k] = places[0, k] + reached * along
        moved += (out[0, k] - places[1, k]) ** 2
    return math.sqrt(moved)


@njit(cache=True, nogil=True)
def reach(places: DoubleArray, move: DoubleArray, most: float, out: DoubleArray) -> bool:
    """Writes where knee and ankle of a leg at ``places`` (3, 3) come to when the ankle is to go by ``move`` (3,), or as far as
    ``most`` m a joint allow, to ``out`` (2, 3). False: nowhere.

    A leg that is almost straight gets a little longer or shorter only by a large move of its knee, but swings freely: only the
    part along the leg is made smaller, and by just so much as to have no jumps from frame to frame.
    """
    length = math.sqrt(move[0] ** 2 + move[1] ** 2 + move[2] ** 2)
    if length < 1e-5:
        return False
    leg = places[2] - places[0]
    leg = leg / max(math.sqrt(leg[0] ** 2 + leg[1] ** 2 + leg[2] ** 2), 1e-6)
    move = move * min(1.0, most / length)
    if bent_leg(places, places[2] + move, out) <= most:
        return True
    along = (move[0] * leg[0] + move[1] * leg[1] + move[2] * leg[2]) * leg
    less, more = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (less + more) / 2
        if bent_leg(places, places[2] + move - (1 - middle) * along, out) <= most:
            less = middle
        else:
            more = middle
    return bent_leg(places, places[2] + move - (1 - less) * along, out) <= most


def _between(before: DoubleArray, after: DoubleArray) -> AnyFloatArray:
    """The least rotation (3, 3) that takes one direction to another near it."""
    first, second = before / np.linalg.norm(before), after / np.linalg.norm(after)
    axis = cross_product(first, second)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9:
        return np.eye(3)
    return axis_angle_to_matrix(axis / sine * np.arctan2(sine, float(first @ second)))
