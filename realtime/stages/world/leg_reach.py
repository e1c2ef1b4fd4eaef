"""Inverse kinematics of the legs for small moves: hip and knee turn so that the ankle reaches a target."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from body.joints import COCO_NAMES, JOINT_NAMES
from body.kernels import axis_angle_of, set_matrix, shifted
from body.model import BodyArrays
from common.arrays import DoubleArray, FloatArray
from common.compiled import njit
from realtime.records import BodyEstimate

MAX_JOINT_SHIFT_M: Final = 0.02
"""Largest move of a joint."""
LEG_JOINTS: Final = np.array(
    [[JOINT_NAMES.index(f"{side}_{joint}") for joint in ("hip", "knee", "ankle")] for side in ("left", "right")]
)
"""(2, 3) numbers of hip, knee and ankle of the left and the right leg."""
FOOT_JOINTS: Final = np.concatenate([LEG_JOINTS, LEG_JOINTS[:, 2:] + 3], 1)
"""(2, 4) The same, with the joint of the toes."""
_COCO_KNEE, _COCO_ANKLE = COCO_NAMES.index("left_knee"), COCO_NAMES.index("left_ankle")  # the right ones follow
_NOWHERE: Final = np.zeros(3, np.float32)
UNTURNED: Final = np.zeros((2, 3))  # turns of both feet
TOES: Final = 3  # index of a foot's joint minus that of its ankle
_NEARLY: Final = 0.999  # greatest length of a stretched leg, as a share of the full length
_HALVINGS: Final = 6


class LegReach:
    """Bends the legs of posed bodies. Feet keep their directions, but for the turns that are asked for.

    The mesh follows by its skinning weights, without being posed anew, which would cost ten times as much: for moves of
    `MAX_JOINT_SHIFT_M` the skin is right to a millimetre.
    """

    def __init__(self, arrays: BodyArrays) -> None:
        """``arrays``: of the bodies."""
        self._sides: list[tuple[NDArray[np.intp], FloatArray]] = []
        for hip, knee, ankle in LEG_JOINTS:
            foot = arrays.weights[:, ankle] + arrays.weights[:, ankle + TOES]
            shares = np.stack([arrays.weights[:, hip], arrays.weights[:, knee], foot], 1).astype(np.float32)
            rows = np.flatnonzero(shares.sum(1) > 0)
            self._sides.append((rows, shares[rows]))
        # Compile them now, so that no frame waits for it.
        places, found, pose = np.diag([0.0, 0.4, 0.8]), np.empty((2, 3)), np.zeros((23, 3), np.float32)
        reach(places, np.full(3, 0.01), MAX_JOINT_SHIFT_M, found)
        vertices = arrays.v_template.astype(np.float32)
        bend_leg(np.zeros(3), pose, LEG_JOINTS[0], places, found, UNTURNED[0], vertices, *self._sides[0])

    def __call__(
        self, body: BodyEstimate, moves: DoubleArray, shift: FloatArray = _NOWHERE, turns: DoubleArray = UNTURNED
    ) -> BodyEstimate:
        """``body`` with its left and right ankle moved by ``moves`` (2, 3), and all of it by ``shift`` (3,), m, in its frame.
        Feet turn about their ankles by the rotation vectors ``turns`` (2, 3).

        Knees stay hinges that bend one way: a leg that cannot reach stays as long as it can be. Where an ankle's move would
        take the knee further than `MAX_JOINT_SHIFT_M`, its part along the leg is made smaller.
        """
        vertices, joints, coco = shifted(body.vertices, shift), body.joints + shift, body.coco + shift
        pose, found, root = body.body_pose, np.empty((2, 3)), body.global_orient.astype(np.float64)
        toes = np.empty(3)
        for side, leg in enumerate(LEG_JOINTS):
            places = joints[leg].astype(np.float64)
            turns_foot = bool(turns[side].any())
            if not reach(places, moves[side], MAX_JOINT_SHIFT_M, found):
                if not turns_foot:
                    continue
                found[:] = places[1:]
            if pose is body.body_pose:
                pose = pose.copy()
            bend_leg(root, pose, leg, places, found, turns[side], vertices, *self._sides[side])
            knee_move, ankle_move = (found - places[1:]).astype(np.float32)
            _, knee, ankle = leg
            if turns_foot:
                turn_vector(turns[side], joints[ankle + TOES].astype(np.float64) - places[2], toes)
                joints[ankle + TOES] = places[2] + toes
            joints[knee] += knee_move
            joints[ankle] += ankle_move
            joints[ankle + TOES] += ankle_move
            coco[_COCO_KNEE + side] += knee_move
            coco[_COCO_ANKLE + side] += ankle_move
        return replace(body, transl=body.transl + shift, body_pose=pose, joints=joints, coco=coco, vertices=vertices)


@njit(cache=True, nogil=True)
def bend_leg(
    root: DoubleArray,
    pose: FloatArray,
    leg: NDArray[np.intp],
    places: DoubleArray,
    found: DoubleArray,
    turn: DoubleArray,
    vertices: FloatArray,
    rows: NDArray[np.intp],
    shares: FloatArray,
) -> None:
    """Changes ``pose`` (23, 3) and ``vertices`` (V, 3) in place so that knee and ankle come from ``places`` (3, 3: hip, knee,
    ankle) to ``found`` (2, 3), m, and the foot turns about its ankle by the rotation vector ``turn`` (3,).

    ``root`` (3,) is the body's global orientation, ``leg`` (3,) are the numbers of hip, knee and ankle. The vertices ``rows``
    (R,) follow thigh, shank and foot by their ``shares`` (R, 3).
    """
    turns, turned, local = np.empty((4, 3, 3)), np.empty((3, 3, 3)), np.empty((3, 3))
    thigh, shank, foot = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    new_thigh, new_shank, new_foot, old = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    set_matrix(root[0], root[1], root[2], turns[0])
    for n in range(3):
        x, y, z = pose[leg[n] - 1]
        set_matrix(float(x), float(y), float(z), turns[n + 1])
    _turn_between(places[1] - places[0], found[0] - places[0], turned[0])
    _turn_between(places[2] - places[1], found[1] - found[0], turned[1])
    _multiply(turns[0], turns[1], thigh)
    _multiply(thigh, turns[2], shank)
    _multiply(shank, turns[3], foot)
    _multiply(turned[0], thigh, new_thigh)
    _multiply(turned[1], shank, new_shank)
    set_matrix(turn[0], turn[1], turn[2], turned[2])
    _multiply(turned[2], foot, new_foot)
    chain = (turns[0], new_thigh, new_shank, new_foot)
    for n in range(3):
        _multiply(chain[n].T, chain[n + 1], local)
        x, y, z = axis_angle_of(local)
        pose[leg[n] - 1, 0], pose[leg[n] - 1, 1], pose[leg[n] - 1, 2] = x, y, z
    for n in range(len(rows)):
        row = rows[n]
        for k in range(3):
            old[k] = vertices[row, k]
        for k in range(3):
            bent = shares[n, 1] * (found[0, k] - places[1, k]) + shares[n, 2] * (found[1, k] - places[2, k])
            for m in range(3):  # about the hip, the knee and the ankle
                part = places[m, k] - old[k]
                for j in range(3):
                    part += turned[m, k, j] * (old[j] - places[m, j])
                bent += shares[n, m] * part
            vertices[row, k] = old[k] + bent


@njit(cache=True, nogil=True)
def _multiply(first, second, out):  # type: ignore[no-untyped-def]
    """Writes the product of two matrices (3, 3) to ``out`` (3, 3)."""
    for i in range(3):
        for j in range(3):
            out[i, j] = first[i, 0] * second[0, j] + first[i, 1] * second[1, j] + first[i, 2] * second[2, j]


@njit(cache=True, nogil=True)
def turn_vector(turn: DoubleArray, vector: DoubleArray, out: DoubleArray) -> None:
    """Writes ``vector`` (3,), turned by the rotation vector ``turn`` (3,), radians, to ``out`` (3,) (Rodrigues)."""
    angle = math.sqrt(turn[0] ** 2 + turn[1] ** 2 + turn[2] ** 2)
    sine = math.sin(angle) / angle if angle > 1e-9 else 1.0
    rest = (1 - math.cos(angle)) / angle**2 if angle > 1e-9 else 0.5
    along = turn[0] * vector[0] + turn[1] * vector[1] + turn[2] * vector[2]
    across = (
        turn[1] * vector[2] - turn[2] * vector[1],
        turn[2] * vector[0] - turn[0] * vector[2],
        turn[0] * vector[1] - turn[1] * vector[0],
    )
    for k in range(3):
        out[k] = math.cos(angle) * vector[k] + sine * across[k] + rest * along * turn[k]


@njit(cache=True, nogil=True)
def _turn_between(before: DoubleArray, after: DoubleArray, out: DoubleArray) -> None:
    """Writes the least rotation that takes one direction (3,) to another near it to ``out`` (3, 3)."""
    lengths = math.sqrt((before * before).sum() * (after * after).sum())
    cosine = (before * after).sum() / lengths
    x = (before[1] * after[2] - before[2] * after[1]) / lengths
    y = (before[2] * after[0] - before[0] * after[2]) / lengths
    z = (before[0] * after[1] - before[1] * after[0]) / lengths
    sine = math.sqrt(x * x + y * y + z * z)
    angle = math.atan2(sine, cosine) / sine if sine > 1e-12 else 0.0
    set_matrix(angle * x, angle * y, angle * z, out)


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
