"""The compiled loop of `realtime.stages.world.foot_lock`: which feet stand, and where they and their body are kept.

A point that stands is kept where it was shown in the last frame. Of all shifts of the body, moves of the ankles and turns of
the feet within their limits, those are taken which displace standing points least. What the limits do not allow moves the
point, and it is kept where it then is: nothing pulls it back to where it began, for that would be a second slide.

Arithmetic is float64, in the axes of the scene's first camera, metres. Single thread, GIL released. In numpy these are about a
hundred operations on a few numbers for each person and frame, which cost twenty times as much.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from common.arrays import DoubleArray, FloatArray
from common.compiled import njit
from realtime.stages.world.kernels import invert
from realtime.stages.world.leg_reach import MAX_JOINT_SHIFT_M, reach, turn_vector

_LEAST, _SURE = 0.2, 0.5  # contact up to which a point moves freely, and from which on it is held with full weight
MAX_ACROSS_M: Final = 0.015
"""Largest shift of a body across the line of sight, where it is seen at once that a mesh lies beside its person."""
MAX_ALONG: Final = 0.08
"""Largest shift along it, as a share of the distance."""
_TIE, _FLOOR = 0.003, 0.03  # m: standard deviations of a standing point's move, and of its height over the floor
_ACROSS, _ACROSS_S, _ALONG, _ALONG_S = 0.015, 1.0, 0.02, 0.1
"""Standard deviation of the predicted pelvis across the line of sight, m, and along it, as a share of the distance, each with
the time over which its error is the same, s."""
_FLOOR_S: Final = 0.3  # the same time of the height
_FREE_CHANGE, _CHANGE, _FIRM_CHANGE = 0.006, 0.0055, 0.0155
"""Standard deviation of the shift's change in 1/30 s, m, while no point stands, while one does, and while all four do.
Following the noise of a single leg at once would shake the whole body: the leg takes up what comes so fast."""
_FASTEST: Final = 0.6
"""Speed, m/s, by which the shown pelvis may be faster than the predicted one. Where the predicted legs jump by centimetres from
one frame to the next, their feet slide a little: the whole body would be seen to jump."""
_RETURN_S: Final = 1.0  # time constant with which the shift of a body goes back to nothing while no foot stands
_MOVE, _MOVE_S, _MOVE_CHANGE = 0.015, 0.3, 0.009
"""Standard deviation of an ankle's move, m, the time over which it is the same, s, and that of its change in 1/30 s, m."""
_RELAX_S: Final = 0.12  # time constant with which moves and turns of a foot in the air go back to nothing
_MAX_TURN: Final = 0.15  # rad: largest turn of a foot about its ankle
_BROKEN_M, _BROKEN = 0.03, 0.03
"""A point that would have to be brought back by more than this, m, and a share of the distance, has moved, whatever its
contact."""
_AGE_S, _ACROSS_FOLLOW_S = 1.0, 0.6
"""A standing point follows the predicted one along the line of sight as the mean over the time that it has stood does, in which
the first place counts as the first of these times, s. Across it, where the image determines it, it follows with the second as
time constant."""
_FAST, _SPEED_SHARE = 1.2, 0.5
"""Speed across the line of sight that halves the contact, m/s, and the new frame's share in smoothed speeds. Noise alone gives
standing feet up to 0.4 m/s."""
_BELT, _BELT_S = 0.5, 1.5
"""Speed along the line of sight, m/s, that standing feet keep on average over the second's time, s, from which on a treadmill
carries them: places move with them, or they would pull the body off it. Errors of walkers' distances are slower."""
_SINK: Final = 0.02  # m/s with which standing points sink or rise onto the floor
_SURE_FLOOR_M: Final = 0.15  # deviation of the floor's height up to which they do
_NEAR_FLOOR_M: Final = 0.2  # feet farther from the floor than this stand on something else
_ROUNDS: Final = 3


@njit(cache=True, nogil=True)
def hold_feet(
    pelvis: DoubleArray,
    feet: DoubleArray,
    contact: FloatArray,
    legs: DoubleArray,
    dt_s: float,
    floor: tuple[float, float, float, float, float],
    last: DoubleArray,
    speed: DoubleArray,
    age_s: DoubleArray,
    places: DoubleArray,
    shift: DoubleArray,
    moves: DoubleArray,
    turns: DoubleArray,
    belt: DoubleArray,
    body: DoubleArray,
    turned: DoubleArray,
) -> None:
    """One frame of a person whose ``pelvis`` is at (3,), whose soles are at ``feet`` (4, 3) with ``contact`` (4,) 0..1, and
    whose ``legs`` are at (2, 4, 3): hip, knee, ankle and toes; ``dt_s`` after the frame before.

    ``floor``: up, the height of the origin over the floor and its deviation, m, infinite if there is none. The others are the
    person's state of `foot_lock.FootLock`, which is changed in place. ``turned`` (4, 3) becomes ``feet`` with each foot turned
    about its ankle by ``turns`` (2, 3), before the ``shift`` (3,) of the body and the ``moves`` (2, 3) of the ankles.
    """
    distance = max(math.sqrt(pelvis[0] ** 2 + pelvis[1] ** 2 + pelvis[2] ** 2), 0.1)
    ray, weight = pelvis / distance, np.zeros(4)
    carried = belt[0] * dt_s / (1 + (_BELT / max(abs(belt[0]), 1e-6)) ** 8)
    drift = 0.0
    for n in range(4):
        aside, away = _apart(feet[n], last[n], ray)
        speed[n] += (aside / dt_s - speed[n]) * _SPEED_SHARE
        # Motion across the line of sight is measured well: a foot that moves does not stand, whatever its contact.
        stands = contact[n] / (1 + (speed[n] / _FAST) ** 4)
        weight[n] = min(max((stands - _LEAST) / (_SURE - _LEAST), 0.0), 1.0)
        age_s[n] = age_s[n] + dt_s if weight[n] > 0 else 0.0
        drift += weight[n] * (away / dt_s - belt[0])
        last[n] = feet[n]
        _carry(places[n], feet[n], ray, carried, age_s[n], dt_s)
        if weight[n] > 0 and floor[4] < _SURE_FLOOR_M:
            over = _over_floor(places[n], floor)
            if abs(over) < _NEAR_FLOOR_M:
                for k in range(3):
                    places[n, k] -= min(max(over, -_SINK * dt_s), _SINK * dt_s) * floor[k]
    belt[0] += drift / max(weight.sum(), 1.0) * min(dt_s / _BELT_S, 1.0)
    for side in range(2):
        _turn_foot(feet, weight, legs[side, 2], places, side, dt_s, turns[side], turned)
    gap = places - turned
    for n in range(4):
        broken = 0.0
        for k in range(3):
            broken += (gap[n, k] - shift[k] - moves[n // 2, k]) ** 2
        if math.sqrt(broken) > _BROKEN_M + _BROKEN * distance:
            weight[n] = 0.0
    _place_body(feet, gap, weight, distance, ray, dt_s, floor, shift, moves, pelvis - body)
    body[:] = pelvis
    found, toes = np.empty((2, 3)), np.empty(3)
    for side in range(2):
        if reach(legs[side, :3] + shift, moves[side], MAX_JOINT_SHIFT_M, found):
            for k in range(3):
                moves[side, k] = found[1, k] - legs[side, 2, k] - shift[k]
        else:
            moves[side] = 0.0
        turn_vector(turns[side], legs[side, 3] - legs[side, 2], toes)
        turns[side] *= _share_within(moves[side], toes - (legs[side, 3] - legs[side, 2]), MAX_JOINT_SHIFT_M)
        for n in range(2 * side, 2 * side + 2):
            turn_vector(turns[side], feet[n] - legs[side, 2], toes)
            for k in range(3):
                turned[n, k] = legs[side, 2, k] + toes[k]
                places[n, k] = turned[n, k] + shift[k] + moves[side, k]


@njit(cache=True, nogil=True)
def _apart(first, second, ray):  # type: ignore[no-untyped-def]
    """The distance of two points (3,) across the unit vector ``ray`` (3,) and along it, m."""
    along, across = 0.0, 0.0
    for k in range(3):
        along += (first[k] - second[k]) * ray[k]
    for k in range(3):
        across += (first[k] - second[k] - along * ray[k]) ** 2
    return math.sqrt(across), along


@njit(cache=True, nogil=True)
def _carry(place, foot, ray, carried, age_s, dt_s):  # type: ignore[no-untyped-def]
    """Let a ``place`` (3,) follow the predicted ``foot`` (3,), after a belt has ``carried`` it along the ``ray`` (3,), m."""
    deep = 0.0
    for k in range(3):
        place[k] += carried * ray[k]
        deep += (foot[k] - place[k]) * ray[k]
    across = min(dt_s / _ACROSS_FOLLOW_S, 1.0)
    for k in range(3):
        place[k] += dt_s / (age_s + _AGE_S) * deep * ray[k] + across * (foot[k] - place[k] - deep * ray[k])


@njit(cache=True, nogil=True)
def _over_floor(point, floor):  # type: ignore[no-untyped-def]
    """Height of a point (3,) over the ``floor``, m."""
    return point[0] * floor[0] + point[1] * floor[1] + point[2] * floor[2] + floor[3]


@njit(cache=True, nogil=True)
def _shorten(vector, most):  # type: ignore[no-untyped-def]
    """Shorten ``vector`` (3,) to the length ``most``. Returns whether it was longer."""
    length = math.sqrt(vector[0] ** 2 + vector[1] ** 2 + vector[2] ** 2)
    if length <= most:
        return False
    for k in range(3):
        vector[k] *= most / length
    return True


@njit(cache=True, nogil=True)
def _share_within(move, more, most):  # type: ignore[no-untyped-def]
    """The largest share 0..1 of ``more`` (3,) that can be added to ``move`` (3,) so that the sum is no longer than ``most``."""
    a, b, c = 0.0, 0.0, -(most**2)
    for k in range(3):
        a += more[k] ** 2
        b += more[k] * move[k]
        c += move[k] ** 2
    if a + 2 * b + c <= 0 or a < 1e-12:
        return 1.0
    return min(max((-b + math.sqrt(max(b * b - a * min(c, 0.0), 0.0))) / a, 0.0), 1.0)


@njit(cache=True, nogil=True)
def _turn_foot(feet, weight, ankle, places, side, dt_s, turn, turned):  # type: ignore[no-untyped-def]
    """Change ``turn`` (3,), a rotation vector about the ``ankle`` (3,), so that heel and toes keep their direction as far as
    both stand, and write the turned points of that ``side`` to ``turned`` (4, 3)."""
    heel, toes = 2 * side, 2 * side + 1
    both = min(weight[heel], weight[toes])
    before, after, out = feet[toes] - feet[heel], places[toes] - places[heel], np.empty(3)
    x = before[1] * after[2] - before[2] * after[1]
    y = before[2] * after[0] - before[0] * after[2]
    z = before[0] * after[1] - before[1] * after[0]
    sine = math.sqrt(x * x + y * y + z * z)
    angle = math.atan2(sine, (before * after).sum()) / sine if sine > 1e-12 else 0.0
    kept = (1 - both) * math.exp(-dt_s / _RELAX_S)
    turn[0] = kept * turn[0] + both * angle * x
    turn[1] = kept * turn[1] + both * angle * y
    turn[2] = kept * turn[2] + both * angle * z
    _shorten(turn, _MAX_TURN)
    for n in (heel, toes):
        turn_vector(turn, feet[n] - ankle, out)
        turned[n] = ankle + out


@njit(cache=True, nogil=True)
def _place_body(feet, gap, weight, distance, ray, dt_s, floor, shift, moves, step):  # type: ignore[no-untyped-def]
    """Change ``shift`` (3,) and ``moves`` (2, 3) to the most likely ones of a body whose points have to go by ``gap`` (4, 3) to
    stay where they are, and are drawn onto the floor, by their ``weight`` (4,). The predicted pelvis made the ``step`` (3,)."""
    firm = weight.sum()
    # Nobody's feet are seen before a webcam: what one of them seemed to say once must not last.
    shift *= 1 - (1 - min(firm, 1.0)) * min(dt_s / _RETURN_S, 1.0)
    start, limited, most = np.empty((2, 3)), np.zeros(2, np.bool_), MAX_ALONG * distance
    own, change = dt_s / _MOVE_S / _MOVE**2, (_MOVE_CHANGE * dt_s * 30) ** -2
    for side in range(2):
        free = 1 - (weight[2 * side] + weight[2 * side + 1]) / 2
        for k in range(3):
            start[side, k] = moves[side, k] * math.exp(-dt_s / _RELAX_S * free)
    wanted, aside = np.empty(3), np.empty(3)
    for _ in range(_ROUNDS):
        _shift_body(feet, gap, weight, distance, ray, dt_s, floor, shift, moves, start, limited, wanted)
        for k in range(3):
            aside[k] = step[k] + wanted[k] - shift[k]
        _shorten(aside, _FASTEST * dt_s + math.sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2))
        for k in range(3):
            wanted[k] = shift[k] + aside[k] - step[k]
        deep = wanted[0] * ray[0] + wanted[1] * ray[1] + wanted[2] * ray[2]
        for k in range(3):
            aside[k] = wanted[k] - deep * ray[k]
        _shorten(aside, MAX_ACROSS_M)
        for k in range(3):
            wanted[k] = min(max(deep, -most), most) * ray[k] + aside[k]
        for side in range(2):
            first, second = weight[2 * side] / _TIE**2, weight[2 * side + 1] / _TIE**2
            for k in range(3):
                pull = first * (gap[2 * side, k] - wanted[k]) + second * (gap[2 * side + 1, k] - wanted[k])
                moves[side, k] = (pull + change * start[side, k]) / (first + second + own + change)
            limited[side] |= _shorten(moves[side], MAX_JOINT_SHIFT_M)
    shift[:] = wanted


@njit(cache=True, nogil=True)
def _shift_body(feet, gap, weight, distance, ray, dt_s, floor, shift, moves, start, limited, wanted):  # type: ignore[no-untyped-def]
    """Write the shift of `_place_body` to ``wanted`` (3,). Ankles that are ``limited`` (2,) have moved by ``moves`` (2, 3); the
    others, by ``start`` (2, 3) so far, take up what is too fast for the body."""
    firm = weight.sum()
    change = _FREE_CHANGE + (_CHANGE - _FREE_CHANGE) * min(firm, 1.0)
    change += (_FIRM_CHANGE - _CHANGE) * (firm / 4) ** 3
    slack = (change * dt_s * 30) ** -2
    along, across = dt_s / _ALONG_S / (_ALONG * distance) ** 2, dt_s / _ACROSS_S / _ACROSS**2
    own, quick = dt_s / _MOVE_S / _MOVE**2, (_MOVE_CHANGE * dt_s * 30) ** -2
    normal, inverse, side_of = np.zeros((3, 3)), np.empty((3, 3)), slack * shift
    for i in range(3):
        for j in range(3):
            normal[i, j] = (along - across) * ray[i] * ray[j]
        normal[i, i] += across + slack
    for side in range(2):
        first, second = weight[2 * side] / _TIE**2, weight[2 * side + 1] / _TIE**2
        tie = first + second
        passed = 1.0 if limited[side] else (own + quick) / (tie + own + quick)
        for i in range(3):
            taken = tie * moves[side, i] if limited[side] else tie * quick / (tie + own + quick) * start[side, i]
            normal[i, i] += passed * tie
            side_of[i] += passed * (first * gap[2 * side, i] + second * gap[2 * side + 1, i]) - taken
    for n in range(4):
        if weight[n] == 0.0 or floor[4] == math.inf:
            continue
        over = _over_floor(feet[n], floor)
        pull = weight[n] * dt_s / _FLOOR_S / ((_FLOOR**2 + floor[4] ** 2) * (1 + (over / _NEAR_FLOOR_M) ** 4))
        for i in range(3):
            side_of[i] -= pull * over * floor[i]
            for j in range(3):
                normal[i, j] += pull * floor[i] * floor[j]
    invert(normal, inverse)
    for i in range(3):
        wanted[i] = inverse[i, 0] * side_of[0] + inverse[i, 1] * side_of[1] + inverse[i, 2] * side_of[2]
