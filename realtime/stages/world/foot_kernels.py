"""The compiled loop of `realtime.stages.world.foot_lock`: which feet stand, and where they and their body are kept.

Arithmetic is float64, in the axes of the scene's first camera, metres. Single thread, GIL released. In numpy these are about a
hundred operations on a few numbers for each person and frame, which cost twenty times as much.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from common.arrays import BoolArray, DoubleArray, FloatArray
from common.compiled import njit
from realtime.stages.world.kernels import invert

_BEGINS, _ENDS = 0.4, 0.25
"""Contact from which on a foot is tied, and down to which it stays so. Lower than those of the floor, which can wait for surer
ones."""
MAX_ACROSS_M: Final = 0.015
"""Largest shift of a body across the line of sight, where it is seen at once that a mesh lies beside its person."""
MAX_ALONG: Final = 0.08
"""Largest shift along it, as a share of the distance."""
_TIE, _FLOOR = 0.012, 0.03  # m: standard deviations of a standing foot's place, and of its height over the floor
_ACROSS, _ALONG = 0.007, 0.05
"""Standard deviation of the predicted pelvis across the line of sight, m, and along it, as a share of the distance."""
_FREE_CHANGE, _CHANGE, _FIRM_CHANGE = 0.002, 0.008, 0.02
"""Standard deviation of the shift's change in 1/30 s, m, while no point stands, while one does, and while all four do.
Following the noise of a single leg at once would shake the whole body: the leg takes up what comes so fast."""
_RETURN_S: Final = 1.0  # time constant with which the shift of a body goes back to nothing while no foot stands
_BROKEN_M: Final = 0.07  # a foot farther from its place has moved, whatever its contact
_CREEP, _CREEP_FIRST = 0.02, 0.05
"""Least speed, m/s, at which a place follows the predicted foot along the line of sight, so that errors of the distance average
out; the second applies in the first `_FIRST_S`."""
_FIRST_S: Final = 1.0
_ALONG_S, _ACROSS_S = 0.5, 0.5
"""A place far from the predicted foot follows it along the line of sight as the mean over the time that it has been tied does,
in which the first prediction counts as the first of these times, s. Across it, where the image determines it, it follows with
the second as time constant."""
_REACH_M, _REACH_S = 0.02, 0.1
"""Largest distance of a place from the shifted foot that the legs can bridge, m; farther places approach the foot with this
time constant, s."""
_SOFT_S: Final = 0.12  # time over which a tie becomes firm
_FAST, _SPEED_SHARE = 1.2, 0.5
"""Speed across the line of sight that halves the contact, m/s, and the new frame's share in smoothed speeds. Noise alone gives
standing feet up to 0.4 m/s."""
_BELT, _BELT_S = 0.5, 1.5
"""Speed along the line of sight, m/s, that standing feet keep on average over the second's time, s, from which on a treadmill
carries them: places move with them, or they would pull the body off it. Errors of walkers' distances are slower."""
_SURE_FLOOR_M: Final = 0.15  # deviation of the floor's height up to which tied feet sink or rise onto it
_NEAR_FLOOR_M: Final = 0.2  # feet farther from the floor than this stand on something else


@njit(cache=True, nogil=True)
def hold_feet(
    pelvis: DoubleArray,
    feet: DoubleArray,
    contact: FloatArray,
    dt_s: float,
    floor: tuple[float, float, float, float, float],
    last: DoubleArray,
    speed: DoubleArray,
    is_tied: BoolArray,
    age_s: DoubleArray,
    places: DoubleArray,
    shift: DoubleArray,
    belt: DoubleArray,
) -> DoubleArray:
    """One frame of a person whose ``pelvis`` is at (3,) and whose soles are at ``feet`` (4, 3) with ``contact`` (4,) 0..1,
    ``dt_s`` after the frame before.

    ``floor``: up, the height of the origin over the floor and its deviation, m, infinite if there is none. The others are the
    person's state of `foot_lock.FootLock`, which is changed in place.

    Returns:
        The shift (2, 3) of the left and the right foot that is left after that of the body.
    """
    distance = max(math.sqrt(pelvis[0] ** 2 + pelvis[1] ** 2 + pelvis[2] ** 2), 0.1)
    ray, weight = pelvis / distance, np.zeros(4)
    carried = belt[0] * dt_s / (1 + (_BELT / max(abs(belt[0]), 1e-6)) ** 4)
    drift = 0.0
    for n in range(4):
        places[n] += carried * ray
        aside, away = _apart(feet[n], last[n], ray)
        speed[n] += (aside / dt_s - speed[n]) * _SPEED_SHARE
        # Motion across the line of sight is measured well: a foot that moves does not stand, whatever its contact.
        stands = contact[n] / (1 + (speed[n] / _FAST) ** 4)
        holds = stands > (_ENDS if is_tied[n] else _BEGINS)
        aside, along = _apart(feet[n], places[n], ray)
        age_s[n] += dt_s
        if holds and not (is_tied[n] and aside < _BROKEN_M and abs(along) < MAX_ALONG * distance + _BROKEN_M):
            age_s[n] = 0.0
            for k in range(3):
                places[n, k] = feet[n, k] + shift[k]
        is_tied[n] = holds
        if holds:
            weight[n] = stands * min((age_s[n] + dt_s) / _SOFT_S, 1.0)
            drift += weight[n] * (away / dt_s - belt[0])
        for k in range(3):
            last[n, k] = feet[n, k]
    belt[0] += drift / max(weight.sum(), 1.0) * min(dt_s / _BELT_S, 1.0)
    _shift_body(feet, weight, places, distance, ray, dt_s, floor, shift)
    moves: DoubleArray = _follow_feet(feet, weight, is_tied, age_s, shift, ray, dt_s, floor, places)
    return moves


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
def _over_floor(point, floor):  # type: ignore[no-untyped-def]
    """Height of a point (3,) over the ``floor``, m."""
    return point[0] * floor[0] + point[1] * floor[1] + point[2] * floor[2] + floor[3]


@njit(cache=True, nogil=True)
def _shift_body(feet, weight, places, distance, ray, dt_s, floor, shift):  # type: ignore[no-untyped-def]
    """Change ``shift`` (3,) to the most likely one of a body whose ``feet`` (4, 3) are tied to ``places`` (4, 3), and drawn
    onto the floor, by their ``weight`` (4,)."""
    firm = weight.sum()
    # Nobody's feet are seen before a webcam: what one of them seemed to say once must not last.
    shift *= 1 - (1 - min(firm, 1.0)) * min(dt_s / _RETURN_S, 1.0)
    change = _FREE_CHANGE + (_CHANGE - _FREE_CHANGE) * min(firm, 1.0)
    change += (_FIRM_CHANGE - _CHANGE) * (firm / 4) ** 3
    along, across, slack = (_ALONG * distance) ** -2, _ACROSS**-2, (change * dt_s * 30) ** -2
    normal, inverse, side = np.zeros((3, 3)), np.empty((3, 3)), slack * shift
    for i in range(3):
        for j in range(3):
            normal[i, j] = (along - across) * ray[i] * ray[j]
        normal[i, i] += across + slack + firm / _TIE**2
    for n in range(4):
        over, pull = 0.0, 0.0
        if weight[n] > 0 and floor[4] < math.inf:
            over = _over_floor(feet[n], floor)
            pull = weight[n] / ((_FLOOR**2 + floor[4] ** 2) * (1 + (over / _NEAR_FLOOR_M) ** 4))
        for i in range(3):
            side[i] += weight[n] / _TIE**2 * (places[n, i] - feet[n, i]) - pull * over * floor[i]
            for j in range(3):
                normal[i, j] += pull * floor[i] * floor[j]
    invert(normal, inverse)
    wanted = np.zeros(3)
    for i in range(3):
        for j in range(3):
            wanted[i] += inverse[i, j] * side[j]
    deep = (wanted * ray).sum()
    aside = wanted - deep * ray
    kept = min(max(deep, -MAX_ALONG * distance), MAX_ALONG * distance)
    shorter = min(1.0, MAX_ACROSS_M / max(math.sqrt((aside * aside).sum()), 1e-9))
    shift[:] = kept * ray + shorter * aside


@njit(cache=True, nogil=True)
def _follow_feet(feet, weight, is_tied, age_s, shift, ray, dt_s, floor, places):  # type: ignore[no-untyped-def]
    """Let the ``places`` (4, 3) of tied feet sink onto the floor, follow the predicted ``feet`` (4, 3) slowly, and come within
    the legs' reach. Returns the shift (2, 3) that is left for each foot."""
    moves, rest = np.zeros((2, 3)), np.empty(3)
    for n in range(4):
        if not is_tied[n]:
            continue
        over = _over_floor(places[n], floor) if floor[4] < _SURE_FLOOR_M else 0.0
        if abs(over) < _NEAR_FLOOR_M:
            for k in range(3):
                places[n, k] -= min(max(over, -_CREEP * dt_s), _CREEP * dt_s) * floor[k]
        creep = (_CREEP_FIRST if age_s[n] < _FIRST_S else _CREEP) * dt_s
        deep = ((feet[n] - places[n]) * ray).sum()
        along = min(max(creep / max(abs(deep), 1e-9), dt_s / (age_s[n] + _ALONG_S)), 1.0)
        across = min(dt_s / _ACROSS_S, 1.0)
        for k in range(3):
            places[n, k] += along * deep * ray[k] + across * (feet[n, k] - places[n, k] - deep * ray[k])
            rest[k] = places[n, k] - feet[n, k] - shift[k]
        length = math.sqrt((rest * rest).sum())
        beyond = max(length - _REACH_M, 0.0) / max(length, 1e-9) * min(dt_s / _REACH_S, 1.0)
        share = weight[n] / max(weight[n] + weight[n ^ 1], 1e-6)
        for k in range(3):
            places[n, k] -= beyond * rest[k]
            moves[n // 2, k] += (1 - beyond) * rest[k] * share
    return moves
