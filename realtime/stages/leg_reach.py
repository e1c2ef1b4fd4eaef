"""Moving a foot by a little: hip and knee turn so that the ankle comes to a place, and the foot keeps its direction."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from body.joints import COCO_NAMES, JOINT_NAMES
from body.model import BodyArrays
from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from common.arrays import AnyFloatArray, DoubleArray, FloatArray
from realtime.records import BodyEstimate
from realtime.stages.world_kernels import cross_product

MOST_M: Final = 0.02
"""No joint is moved further than this."""
_LEGS: Final = tuple(
    tuple(JOINT_NAMES.index(name) for name in (f"{side}_hip", f"{side}_knee", f"{side}_ankle"))
    for side in ("left", "right")
)
_TOES: Final = 3  # a foot's joint comes so long after its ankle
_NEARLY: Final = 0.999  # of a leg's length: it is not stretched further


class LegReach:
    """Bends the legs of posed bodies.

    The mesh follows by its skinning weights, without being posed anew, which would cost ten times as much: for moves of
    `MOST_M` the skin is right to a millimetre.
    """

    def __init__(self, arrays: BodyArrays) -> None:
        """``arrays``: of the bodies."""
        self._sides: list[tuple[NDArray[np.intp], FloatArray]] = []
        for hip, knee, ankle in _LEGS:
            foot = arrays.weights[:, ankle] + arrays.weights[:, ankle + _TOES]
            shares = np.stack([arrays.weights[:, hip], arrays.weights[:, knee], foot], 1).astype(np.float32)
            rows = np.flatnonzero(shares.sum(1) > 0)
            self._sides.append((rows, shares[rows]))

    def __call__(self, body: BodyEstimate, moves: DoubleArray) -> BodyEstimate:
        """``body`` with its left and right ankle moved by ``moves`` (2, 3), m, in its frame.

        Knees stay hinges that bend one way: a leg that cannot reach stays as long as it can be. Where an ankle's move would
        take the knee further than `MOST_M`, it is made smaller.
        """
        pose, joints, coco, vertices = (part.copy() for part in (body.body_pose, body.joints, body.coco, body.vertices))
        for side, (hip, knee, ankle) in enumerate(_LEGS):
            places = body.joints[[hip, knee, ankle]].astype(np.float64)
            found = _within_reach(places, moves[side])
            if found is None:
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


def _within_reach(places: DoubleArray, move: DoubleArray) -> tuple[DoubleArray, DoubleArray] | None:
    """Where knee and ankle come to when the ankle is to go by ``move``, or as far as `MOST_M` allows; None: nowhere."""
    length = float(np.linalg.norm(move))
    if length < 1e-5:
        return None
    move = move * min(1.0, MOST_M / length)
    for _ in range(3):
        new_knee, new_ankle = _bend(places, places[2] + move)
        if np.linalg.norm(new_knee - places[1]) <= MOST_M:
            return new_knee, new_ankle
        move = move / 2
    return None


def _bend(places: DoubleArray, target: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Knee and ankle of a leg whose hip, knee and ankle are at ``places`` (3, 3) once its ankle is as near ``target`` as it
    can be."""
    hip, knee, ankle = places
    upper, lower = float(np.linalg.norm(knee - hip)), float(np.linalg.norm(ankle - knee))
    way = target - hip
    distance = max(float(np.linalg.norm(way)), 1e-6)
    now = float(np.linalg.norm(ankle - hip))
    longest = max(_NEARLY * (upper + lower), now)
    reached = min(max(distance, abs(upper - lower) + 1e-3), longest)
    along = way / distance
    out = knee - hip - float((knee - hip) @ along) * along
    length = float(np.linalg.norm(out))
    near = (upper**2 - lower**2 + reached**2) / (2 * reached)
    far = np.sqrt(max(upper**2 - near**2, 0.0))
    bent = out / length * far if length > 1e-6 else 0.0
    return hip + near * along + bent, hip + reached * along


def _between(before: DoubleArray, after: DoubleArray) -> AnyFloatArray:
    """The least rotation (3, 3) that takes one direction to another near it."""
    first, second = before / np.linalg.norm(before), after / np.linalg.norm(after)
    axis = cross_product(first, second)
    sine = float(np.linalg.norm(axis))
    if sine < 1e-9:
        return np.eye(3)
    return axis_angle_to_matrix(axis / sine * np.arctan2(sine, float(first @ second)))
