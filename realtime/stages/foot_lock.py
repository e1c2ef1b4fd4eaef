"""Keeps standing feet in their places.

The network's distance of a person varies from frame to frame, and feet slide with it. A foot in contact is therefore tied to
the place where it began to stand: the body is shifted as a whole, mostly along the line of sight, which the image determines
badly, and what is left is taken up by the legs (`realtime.stages.leg_reach`). Where the floor is known, standing feet are
drawn onto it, which also says how far away the person is.

Places are in the axes of the shot's first camera, metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from common.arrays import BoolArray, DoubleArray, FloatArray

MOST_ACROSS_M: Final = 0.02
"""A body is shifted across the line of sight by no more than this."""
MOST_ALONG: Final = 0.08
"""And along it by no more than this share of its distance."""
_TIE, _FLOOR = 0.012, 0.03  # m: standard deviations of a standing foot's place, and of its height over the floor
_ACROSS, _ALONG = 0.012, 0.05  # of the network's pelvis across the line of sight, m, and along it, as a share
_CHANGE, _LEAST_CHANGE = 0.02, 0.002
"""m by which the shift may change in 1/30 s while all four points stand, and while none does. Of a walking person one foot
stands at a time and rolls; to follow it at once would make the whole body shake."""
_SURE, _UNSURE = 0.6, 0.4  # contact from which on a foot is tied, and down to which it stays so
_BROKEN_M: Final = 0.07  # a foot so far from its place has moved, whatever its contact
_CREEP, _CREEP_FIRST = 0.02, 0.05
"""m/s by which a place follows the network's foot, so that a person's distance becomes an average; the second at first."""
_FIRST_S: Final = 1.0
_SOFT_S: Final = 0.12  # a foot is tied by degrees
_FAST, _SPEED_SHARE = 0.3, 0.5  # m/s, and how much of a speed is the last frame's
_SURE_FLOOR_M: Final = 0.15  # deviation of the floor's height up to which tied feet sink or rise onto it
_NEAR_FLOOR_M: Final = 0.2  # feet farther from the floor than this stand on something else


@dataclass(slots=True)
class _Tied:
    places: DoubleArray = field(default_factory=lambda: np.zeros((4, 3)))
    is_tied: BoolArray = field(default_factory=lambda: np.zeros(4, np.bool_))
    since_s: DoubleArray = field(default_factory=lambda: np.zeros(4))
    shift: DoubleArray = field(default_factory=lambda: np.zeros(3))
    feet: DoubleArray = field(default_factory=lambda: np.zeros((4, 3)))
    speed: DoubleArray = field(default_factory=lambda: np.zeros(4))
    time_s: float = -math.inf


class FootLock:
    """Ties everybody's feet to their places. Used by one thread; frames come in order."""

    def __init__(self) -> None:
        self._people: dict[int, _Tied] = {}

    def forget(self, present: set[int]) -> None:
        """People not in ``present`` will not be seen again."""
        for person in self._people.keys() - present:
            del self._people[person]

    def __call__(
        self,
        person: int,
        pelvis: DoubleArray,
        feet: DoubleArray,
        contact: FloatArray,
        time_s: float,
        floor: tuple[DoubleArray, float, float] | None,
    ) -> tuple[DoubleArray, DoubleArray]:
        """Where a person should be instead.

        Args:
            person: their number.
            pelvis: (3,).
            feet: (4, 3) `body.soles.CONTACTS`.
            contact: (4,) 0..1.
            time_s: of the frame.
            floor: up (3,), the height of the origin over the floor and its deviation, m; None where it is not known.

        Returns:
            The shift (3,) of the whole body, and the shift (2, 3) of the left and the right foot that is left after it.
        """
        tied = self._people.setdefault(person, _Tied())
        dt_s = time_s - tied.time_s
        if not 0 < dt_s < 0.5:
            tied.is_tied[:], tied.shift[:], tied.speed[:], dt_s = False, 0.0, 0.0, 1 / 30
            tied.feet = feet
        tied.time_s = time_s
        distance = max(float(np.linalg.norm(pelvis)), 0.1)
        ray = pelvis / distance
        # Motion across the line of sight is measured well: a foot that moves does not stand, whatever its contact.
        step = feet - tied.feet
        tied.speed += (np.linalg.norm(step - (step @ ray)[:, None] * ray, axis=1) / dt_s - tied.speed) * _SPEED_SHARE
        tied.feet = feet
        contact = np.asarray(contact / (1 + (tied.speed / _FAST) ** 4), np.float32)
        apart = feet - tied.places
        along = apart @ ray
        across = np.linalg.norm(apart - along[:, None] * ray, axis=1)
        stays = tied.is_tied & (across < _BROKEN_M) & (np.abs(along) < MOST_ALONG * distance + _BROKEN_M)
        holds = np.where(tied.is_tied, contact > _UNSURE, contact > _SURE)
        begins = holds & ~stays
        tied.places[begins], tied.since_s[begins] = feet[begins] + tied.shift, time_s
        tied.is_tied = holds
        soft = np.minimum((time_s - tied.since_s + dt_s) / _SOFT_S, 1.0)
        weight = np.where(holds, contact * soft, 0.0).astype(np.float64)
        tied.shift = self._shift(tied, pelvis, feet, weight, dt_s, floor)
        if floor is not None:
            up, height, sigma = floor
            over = tied.places @ up + height
            down = np.where(holds & (np.abs(over) < _NEAR_FLOOR_M) & (sigma < _SURE_FLOOR_M), over, 0.0)
            tied.places -= np.clip(down, -_CREEP * dt_s, _CREEP * dt_s)[:, None] * up
        creep = np.where(time_s - tied.since_s < _FIRST_S, _CREEP_FIRST, _CREEP)[:, None] * dt_s
        toward = feet - tied.places
        length = np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-9)
        tied.places += np.where(holds[:, None], toward / length * np.minimum(length, creep), 0.0)
        rest = np.where(holds[:, None], tied.places - feet - tied.shift, 0.0)
        pairs, shares = rest.reshape(2, 2, 3), weight.reshape(2, 2, 1)
        return tied.shift, (pairs * shares).sum(1) / np.maximum(shares.sum(1), 1e-6)

    @staticmethod
    def _shift(
        tied: _Tied,
        pelvis: DoubleArray,
        feet: DoubleArray,
        weight: DoubleArray,
        dt_s: float,
        floor: tuple[DoubleArray, float, float] | None,
    ) -> DoubleArray:
        """The most likely shift (3,) of the body."""
        distance = max(float(np.linalg.norm(pelvis)), 0.1)
        ray = pelvis / distance
        along = np.outer(ray, ray)
        change = _LEAST_CHANGE + (_CHANGE - _LEAST_CHANGE) * float(weight.mean()) ** 3
        slack = (change * dt_s * 30) ** -2
        normal = along / (_ALONG * distance) ** 2 + (np.eye(3) - along) / _ACROSS**2 + slack * np.eye(3)
        side = slack * tied.shift
        tie = weight / _TIE**2
        normal += tie.sum() * np.eye(3)
        side = side + tie @ (tied.places - feet)
        if floor is not None:
            up, height, sigma = floor
            over = feet @ up + height
            near = weight / ((_FLOOR**2 + sigma**2) * (1 + (over / _NEAR_FLOOR_M) ** 4))
            normal += near.sum() * np.outer(up, up)
            side = side - float(near @ over) * up
        shift = np.linalg.solve(normal, side)
        deep = float(shift @ ray)
        across = shift - deep * ray
        length = float(np.linalg.norm(across))
        deep = min(max(deep, -MOST_ALONG * distance), MOST_ALONG * distance)
        return np.asarray(deep * ray + across * min(1.0, MOST_ACROSS_M / max(length, 1e-9)), np.float64)
