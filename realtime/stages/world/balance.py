"""The vertical, from how people stand: a standing person's centre of mass is over the feet.

Averaged over time, the line from the supporting soles to the centre of mass is vertical in any posture: people who bend
forward move their hips back. Unlike the network's prediction of the vertical, it is not biased towards the training
cameras. Across the line of sight it is accurate to 1 or 2 degrees, which gives the camera's roll. Along the line of sight
it is only as accurate as the depths of the posed body.

Only people with stretched legs count: those who sit, kneel or lie are supported by more than their soles.

Directions are in the axes of the scene's first camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from body.joints import JOINT_NAMES
from body.mass import MASS_SHARES
from common.arrays import DoubleArray, FloatArray
from common.compiled import njit
from realtime.stages.world.plane_fit import tangents

_SIGMA, _ALONG = math.radians(1.5), math.radians(6.0)
"""Standard deviations of a person's mean line: in all directions, and the addition along the line of sight."""
_SWAY_M: Final = 0.15  # prior standard deviation of the centre of mass over the feet
_SWAY_S: Final = 0.5  # time between two independent samples of the sway
_OUTLIER: Final = 3.0  # scale of the robust weight, deviations
_LOAD: Final = 0.15  # standard deviation of the load's position between the feet, as a share of their distance
_STANDS: Final = 0.5  # contact from which on a sole supports the body
_STRETCHED: Final = 0.9  # least distance of hip and ankle of a stretched leg, as a share of its length
_HIGH: Final = 0.75  # least height of a standing body's centre of mass over the soles, as a share of the leg's length
_ASKEW: Final = math.cos(math.radians(30))
"""Cosine of the angle to the known vertical beyond which a line is not that of a standing person."""
_LIFTED_M: Final = 0.1  # a foot that is so much higher than the other one supports nothing
_MIN_S: Final = 0.3
_LEGS: Final = np.array(
    [[JOINT_NAMES.index(f"{side}_{joint}") for joint in ("hip", "knee", "ankle")] for side in ("left", "right")]
)
_LIMITS: Final = (_STANDS, _STRETCHED, _HIGH, _ASKEW, _LIFTED_M)


@dataclass(slots=True)
class _Stand:
    """Sums over the time that one person stands, in the axes of the first camera. All but the first are weighted by seconds."""

    seconds: float = 0.0
    """Time of standing, weighted by contact, seconds."""
    line: DoubleArray = field(default_factory=lambda: np.zeros(3))
    """(3,) vector from the soles to the centre of mass, metres."""
    square: DoubleArray = field(default_factory=lambda: np.zeros((3, 3)))
    """(3, 3) Outer product of that line with itself, square metres: the sway."""
    apart: DoubleArray = field(default_factory=lambda: np.zeros((3, 3)))
    """(3, 3) Outer product of the line between the feet with itself, square metres: the load may rest on either."""
    ray: DoubleArray = field(default_factory=lambda: np.zeros(3))
    """(3,) Unit line of sight to the feet, along which depth is least certain."""


class Balance:
    """Collects how people stand, as evidence of the vertical."""

    def __init__(self) -> None:
        self._people: dict[int, _Stand] = {}

    def see(
        self,
        person: int,
        joints: FloatArray,
        feet: FloatArray,
        contact: FloatArray,
        dt_s: float,
        rotation: DoubleArray,
        up: DoubleArray,
    ) -> None:
        """Add one person's ``joints`` (24, 3) and `body.soles.CONTACTS` ``feet`` (4, 3), camera frame, metres, with their
        ``contact`` (4,) 0..1, ``dt_s`` after the last ones. ``rotation`` (3, 3) takes the camera's axes to the first camera's,
        ``up`` (3,) is the vertical known so far."""
        line, apart = np.empty(3), np.empty(3)
        carried = standing_line(joints, feet, contact, MASS_SHARES, _LEGS, up @ rotation, _LIMITS, line, apart)
        if carried <= 0:
            return
        stand = self._people.setdefault(person, _Stand())
        weight = dt_s * carried
        line, apart = rotation @ line, rotation @ apart
        ray = rotation @ feet.mean(0).astype(np.float64)
        stand.seconds += weight
        stand.line += weight * line
        stand.square += weight * (line[:, None] * line)
        stand.apart += weight * (apart[:, None] * apart)
        stand.ray += weight * ray / np.linalg.norm(ray)

    def drifted(self, variance: float) -> None:
        """Reduce the weight of past evidence, because the camera has rotated by an angle known up to ``variance``, rad²."""
        keep = 1 / (1 + variance / _SIGMA**2)
        for stand in self._people.values():
            stand.seconds *= keep
            for part in (stand.line, stand.square, stand.apart, stand.ray):
                part *= keep

    def forget(self, present: set[int], up: DoubleArray) -> DoubleArray:
        """Remove the people not in ``present`` and return their `evidence`."""
        gone = [self._people.pop(person) for person in self._people.keys() - present]
        return sum((_robust(_evidence(stand), up) for stand in gone), np.zeros((3, 3)))

    def evidence(self, up: DoubleArray) -> DoubleArray:
        """A (3, 3), rad⁻²: the most likely vertical u minimises u·A·u. People who lean far from ``up`` (3,), the vertical known
        so far, get little weight."""
        return sum((_robust(_evidence(stand), up) for stand in self._people.values()), np.zeros((3, 3)))


def _robust(matrix: DoubleArray, up: DoubleArray) -> DoubleArray:
    """``matrix`` (3, 3) with the weight of Geman & McClure: up·matrix·up is the squared distance in deviations."""
    return np.asarray(matrix / (1 + float(up @ matrix @ up) / _OUTLIER**2) ** 2, np.float64)


def _evidence(stand: _Stand) -> DoubleArray:
    """`Balance.evidence` of one person, before robust weighting."""
    if stand.seconds < _MIN_S:
        return np.zeros((3, 3))
    line = stand.line / stand.seconds
    height = float(np.linalg.norm(line))
    mean = line / height
    axes = tangents(mean)
    seen = stand.seconds / _SWAY_S
    sway = stand.square / stand.seconds - np.outer(line, line)
    sway = (seen * sway + _SWAY_M**2 * np.eye(3)) / (1 + seen)
    variance = (sway / (1 + seen) + _LOAD**2 * stand.apart / stand.seconds) / height**2
    variance += _ALONG**2 * np.outer(stand.ray, stand.ray) / stand.seconds**2
    spread = axes.T @ variance @ axes + _SIGMA**2 * np.eye(2)
    found: DoubleArray = axes @ np.linalg.inv(spread) @ axes.T
    return found


@njit(cache=True, nogil=True)
def _loads(feet, contact, up, stands, lifted, carries):  # type: ignore[no-untyped-def]
    """Writes how much each foot carries to ``carries`` (2,), zeros before. Returns 0..1 how sure it is that one stands."""
    sure = 0.0
    low = np.empty(2)
    for side in range(2):
        low[side] = np.inf
        for n in range(2 * side, 2 * side + 2):
            low[side] = min(low[side], feet[n, 0] * up[0] + feet[n, 1] * up[1] + feet[n, 2] * up[2])
            if contact[n] > stands:
                carries[side] += contact[n]
        sure += carries[side] / 4
    if sure == 0.0:
        return sure
    for side in range(2):  # a foot as low as the standing one may carry as much, even where its contact was missed
        if carries[side] == 0.0 and low[side] - low[1 - side] < lifted:
            carries[side] = carries[1 - side]
    return sure


@njit(cache=True, nogil=True)
def standing_line(
    joints: FloatArray,
    feet: FloatArray,
    contact: FloatArray,
    shares: DoubleArray,
    legs: NDArray[np.intp],
    up: DoubleArray,
    limits: tuple[float, float, float, float, float],
    line: DoubleArray,
    apart: DoubleArray,
) -> float:
    """Writes the line from the soles that carry a body to its centre of mass to ``line`` (3,), and that from one standing foot
    to the other to ``apart`` (3,), zeros where one stands alone. Returns 0..1 how much of it stands; 0 where it does not."""
    stands, stretched, high, askew, lifted = limits
    total, length, size, along = 0.0, 0.0, 0.0, 0.0
    line[:] = 0.0
    apart[:] = 0.0
    carries = np.zeros(2)
    sure: float = _loads(feet, contact, up, stands, lifted, carries)
    if sure == 0.0:
        return 0.0
    for side in range(2):
        hip, knee, ankle = legs[side]
        upper, lower, whole = 0.0, 0.0, 0.0
        for k in range(3):
            upper += (joints[knee, k] - joints[hip, k]) ** 2
            lower += (joints[ankle, k] - joints[knee, k]) ** 2
            whole += (joints[ankle, k] - joints[hip, k]) ** 2
        leg = math.sqrt(upper) + math.sqrt(lower)
        length = max(length, leg)
        if carries[side] == 0.0:
            continue
        if math.sqrt(whole) < stretched * leg:
            return 0.0
        total += carries[side]
        weights = contact[2 * side] + contact[2 * side + 1] + 1e-3
        for k in range(3):
            middle = (contact[2 * side] + 5e-4) * feet[2 * side, k] + (contact[2 * side + 1] + 5e-4) * feet[
                2 * side + 1, k
            ]
            line[k] -= carries[side] * middle / weights
            apart[k] += middle / weights * (1.0 if side == 0 else -1.0)
    for k in range(3):
        centre = 0.0
        for j in range(len(shares)):
            centre += shares[j] * joints[j, k]
        line[k] = line[k] / total + centre
        size += line[k] ** 2
        along += line[k] * up[k]
        if carries[0] == 0.0 or carries[1] == 0.0:
            apart[k] = 0.0
    if along < askew * math.sqrt(size) or along < high * length:
        return 0.0
    return sure
