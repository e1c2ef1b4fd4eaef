"""Foot locking of a whole recording: standing feet kept in their places with all that came before and after.

Live, a foot's place is what was seen of it so far (`realtime.stages.world.foot_lock`). Once a recording has ended, the track of
a person's pelvis and small moves of the feet are fitted to all of its frames at once: a point of a sole in contact hardly moves
from one frame to the next and is on the floor, the body stays near where the image shows it, and an ankle within
`realtime.stages.world.leg_reach.MAX_JOINT_SHIFT_M` of the network's answer. Across the line of sight a body is shifted by no
more than live, `realtime.stages.world.foot_kernels.MAX_ACROSS_M`.

Iteratively reweighted least squares (Holland & Welsch 1977), so that a contact that the network has wrong gives way. A body's
shift and the moves of both feet are solved for in turns; the limit of a foot's move is kept by the alternating direction method
of multipliers (Boyd et al. 2011). Arithmetic is float64, world frame, metres.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.linalg import cho_solve_banded, cholesky_banded

from common.arrays import DoubleArray
from realtime.stages.world.foot_kernels import MAX_ACROSS_M, MAX_ALONG
from realtime.stages.world.leg_reach import MAX_JOINT_SHIFT_M

_LEAST_CONTACT, _SURE_CONTACT = 0.15, 0.5
"""Contact up to which a point moves freely, and from which on it is held with full weight."""
_FAST: Final = 1.2  # m/s across the line of sight that halves the contact, as in `foot_kernels`
_STEP, _SLIDE = 0.025, 0.1
"""Standard deviation of a standing point's speed, m/s. Beyond the second it counts by its speed and not by the square of it."""
_ALONG, _ALONG_S = 0.01, 0.2
"""Standard deviation of a predicted distance, as a share of it, and the time over which its error is the same, s. That is short
because predicted strides are too short along the line of sight: over seconds, distances are better than the sum of steps."""
_ACROSS_M, _ACROSS_S = 0.007, 0.3  # the same of the pelvis across the line of sight, m
_FLOOR_M, _FLOOR_S, _NEAR_FLOOR_M = 0.03, 0.3, 0.2
"""Standard deviation of a standing point's height over the floor, m, the time over which its error is the same, s, and the
height beyond which it stands on something else."""
_SHAKE: Final = 5.0
"""Standard deviation of accelerations at 30 frames/s, m/s²: along the line of sight that of the pelvis, whose distance
shakes; across it that of the shift."""
_BELT, _BELT_S = 0.5, 1.0
"""Speed along the line of sight, m/s, that standing feet keep on average over twice the second's time, s, from which on a
treadmill carries them, as in `foot_kernels`."""
_MOVE_M, _MOVE_S = 0.015, 1.0  # standard deviation of a foot's move, and the time over which its error is the same
_FREE_M, _FREE_S = 0.01, 0.05  # the same of a foot that does not stand
_MOVE_SPEED: Final = 0.3  # standard deviation of the speed of a foot's move, m/s at 30 frames/s
_ROUNDS: Final = 6
_INNER: Final = 30  # steps towards the limit of the moves in a round
_FRAME_S: Final = 1 / 30
_MIN_DT_S: Final = 1e-3
_MIN_FRAMES: Final = 3


def hold_recorded(
    time_s: DoubleArray,
    pelvis: DoubleArray,
    soles: DoubleArray,
    contact: DoubleArray,
    eye: DoubleArray,
    has_floor: bool = True,
) -> tuple[DoubleArray, DoubleArray]:
    """The shift (T, 3) of a body in each frame, and the moves (T, 2, 3) of its left and right foot in the shifted body.

    Args:
        time_s: (T,) increasing, seconds.
        pelvis: (T, 3) as predicted.
        soles: (T, 4, 3) `body.soles.CONTACTS`, as predicted.
        contact: (T, 4) 0..1.
        eye: (3,) place of the camera.
        has_floor: whether people stand on y = 0.
    """
    shift, moves = np.zeros(pelvis.shape), np.zeros((len(pelvis), 2, 3))
    if len(pelvis) < _MIN_FRAMES:
        return shift, moves
    dt = np.maximum(np.diff(time_s), _MIN_DT_S)
    seconds = np.concatenate([dt[:1], (dt[1:] + dt[:-1]) / 2, dt[-1:]])
    ray = pelvis - eye
    distance = np.maximum(np.linalg.norm(ray, axis=-1), 0.1)
    ray = ray / distance[:, None]
    steps = np.diff(soles, axis=0)
    stands = _standing(steps / dt[:, None, None], contact, ray)
    both = np.minimum(stands[1:], stands[:-1])
    steps = steps - _carried(steps, both, ray[1:], time_s)[:, None]
    bound = np.ones((2, len(pelvis)))
    for _ in range(_ROUNDS):
        moved = np.repeat(np.diff(moves, axis=0), 2, 1)
        speed = np.linalg.norm(steps + np.diff(shift, axis=0)[:, None] + moved, axis=-1) / dt[:, None]
        still = both / np.sqrt(1 + (speed / _SLIDE) ** 2) / (_STEP**2 * dt[:, None])
        height = soles[..., 1] + np.repeat(moves, 2, 1)[..., 1]
        over = height + shift[:, None, 1]
        grounded = has_floor * stands / (1 + (over / _NEAR_FLOOR_M) ** 4) / _FLOOR_M**2
        floor = grounded * (seconds / _FLOOR_S)[:, None]
        across = bound[1] * seconds / (_ACROSS_S * _ACROSS_M**2)
        along = bound[0] * seconds / (_ALONG_S * (_ALONG * distance) ** 2)
        shift = _shift(pelvis, steps + moved, height, ray, (along, across), seconds, still, floor)
        deep = (shift * ray).sum(-1)
        aside = np.linalg.norm(shift - deep[:, None] * ray, axis=-1)
        far = np.stack([np.abs(deep) / (MAX_ALONG * distance), aside / MAX_ACROSS_M])
        bound = np.maximum(bound, 1 + far**4)
        shift -= np.maximum(0, 1 - 1 / np.maximum(far[1], 1))[:, None] * (shift - deep[:, None] * ray)
        for side in (0, 1):
            mine = slice(2 * side, 2 * side + 2)
            mine_moved = steps[:, mine] + np.diff(shift, axis=0)[:, None]
            moves[:, side] = _moves(mine_moved, seconds, still[:, mine], stands[:, mine].max(1))
    return shift, moves


def _standing(velocity: DoubleArray, contact: DoubleArray, ray: DoubleArray) -> DoubleArray:
    """Weight (T, 4), 0..1, with which each point is held. ``velocity`` (T - 1, 4, 3) m/s."""
    across = velocity - (velocity * ray[1:, None]).sum(-1, keepdims=True) * ray[1:, None]
    speed = np.linalg.norm(across, axis=-1)
    near = np.concatenate([speed[:1], (speed[1:] + speed[:-1]) / 2, speed[-1:]])
    stands = contact / (1 + (near / _FAST) ** 4)
    return np.asarray(np.clip((stands - _LEAST_CONTACT) / (_SURE_CONTACT - _LEAST_CONTACT), 0, 1), np.float64)


def _carried(steps: DoubleArray, weight: DoubleArray, ray: DoubleArray, time_s: DoubleArray) -> DoubleArray:
    """How far (T - 1, 3) a treadmill's belt carries standing points in each of the ``steps`` (T - 1, 4, 3)."""
    along = (weight * (steps * ray[:, None]).sum(-1)).sum(1)
    span = weight.sum(1) * np.diff(time_s)
    ends = time_s[1:]
    first = np.searchsorted(ends, ends - _BELT_S, "left")
    last = np.searchsorted(ends, ends + _BELT_S, "right")
    total, held = (np.concatenate([[0.0], np.cumsum(each)]) for each in (along, span))
    speed = (total[last] - total[first]) / np.maximum(held[last] - held[first], 0.1)
    belt = speed / (1 + (_BELT / np.maximum(np.abs(speed), 1e-6)) ** 4)
    return np.asarray((belt * np.diff(time_s))[:, None] * ray, np.float64)


def _shift(
    pelvis: DoubleArray,
    steps: DoubleArray,
    height: DoubleArray,
    ray: DoubleArray,
    firm: tuple[DoubleArray, DoubleArray],
    seconds: DoubleArray,
    still: DoubleArray,
    floor: DoubleArray,
) -> DoubleArray:
    """The most likely shift (T, 3) of a body whose ``pelvis`` is at (T, 3) and whose feet make ``steps`` (T - 1, 4, 3) at
    ``height`` (T, 4) without it; ``still`` (T - 1, 4) and ``floor`` (T, 4) are the weights, m⁻², of both, ``firm`` (T,) those
    of the shift along the ``ray`` (T, 3) and across it."""
    frames = len(ray)
    blocks = np.zeros((3, frames, 3, 3))  # of the normal matrix: a frame with itself, the next, and the one after that
    side = np.zeros((frames, 3))
    along, across = firm
    outer = ray[:, :, None] * ray[:, None, :]
    blocks[0] = along[:, None, None] * outer + across[:, None, None] * (np.eye(3) - outer)
    weight = still.sum(1)[:, None, None] * np.eye(3)
    pull = (still[..., None] * steps).sum(1)
    blocks[0, 1:] += weight
    blocks[0, :-1] += weight
    blocks[1, :-1] -= weight
    side[1:] -= pull
    side[:-1] += pull
    blocks[0, :, 1, 1] += floor.sum(1)
    side[:, 1] -= (floor * height).sum(1)
    frame_s = float(np.median(seconds))
    calm = (_FRAME_S / frame_s) ** 3 / (_SHAKE * _FRAME_S**2) ** 2
    bends = (np.diff(pelvis, 2, axis=0) * ray[1:-1]).sum(-1, keepdims=True) * ray[1:-1]
    for first, factor in enumerate((1, -2, 1)):
        side[first : frames - 2 + first] -= factor * calm * bends
        for second in range(first, 3):
            blocks[second - first, first : frames - 2 + first] += factor * (1, -2, 1)[second] * calm * np.eye(3)
    return _solve(blocks, side)


def _solve(blocks: DoubleArray, side: DoubleArray) -> DoubleArray:
    """The solution (T, 3) of the symmetric positive definite system whose ``blocks`` (3, T, 3, 3) couple each frame with itself
    and the next two."""
    frames = len(side)
    banded = np.zeros((9, 3 * frames))  # by diagonals, the main one last
    for ahead in range(3):
        for i in range(3):
            for j in range(3):
                above = 3 * ahead + j - i
                if above >= 0:
                    banded[8 - above, 3 * ahead + j :: 3] = blocks[ahead, : frames - ahead, i, j]
    return np.asarray(cho_solve_banded((cholesky_banded(banded), False), side.ravel()).reshape(frames, 3))


def _moves(steps: DoubleArray, seconds: DoubleArray, still: DoubleArray, stands: DoubleArray) -> DoubleArray:
    """The most likely moves (T, 3), of `MAX_JOINT_SHIFT_M` at most, of a foot whose heel and toes make ``steps`` (T - 1, 2, 3)
    without them; ``still`` (T - 1, 2) as in `_shift`, ``stands`` (T,) is how surely the foot does."""
    frames = len(seconds)
    weight = still.sum(1) + (_FRAME_S / float(np.median(seconds))) / (_MOVE_SPEED * _FRAME_S) ** 2
    pull = (still[..., None] * steps).sum(1)
    own = stands / (_MOVE_S * _MOVE_M**2) + (1 - stands) / (_FREE_S * _FREE_M**2)
    banded, side = np.zeros((2, frames)), np.zeros((frames, 3))
    banded[1] = own * seconds
    banded[1, 1:] += weight
    banded[1, :-1] += weight
    banded[0, 1:] = -weight
    side[1:] -= pull
    side[:-1] += pull
    firm = float(np.median(banded[1])) * 0.1
    banded[1] += firm
    factor = cholesky_banded(banded), False
    near, over = np.zeros((frames, 3)), np.zeros((frames, 3))
    for _ in range(_INNER):
        found = cho_solve_banded(factor, side + firm * (near - over))
        near = found + over
        near *= np.minimum(1, MAX_JOINT_SHIFT_M / np.maximum(np.linalg.norm(near, axis=-1, keepdims=True), 1e-9))
        over += found - near
    return np.asarray(near, np.float64)
