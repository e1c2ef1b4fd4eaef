"""Foot locking: keeps standing feet in their places.

The predicted distance of a person varies from frame to frame, and feet slide with it. So a foot in contact is tied to the
place where it began to stand. The body is shifted as a whole, mostly along the line of sight, where the image determines it
least, and the legs are bent for the remaining distance (`realtime.stages.world.leg_reach`). If the floor is known, standing
feet are drawn onto it, which also corrects the person's distance.

Places are in the axes of the scene's first camera, metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from common.arrays import BoolArray, DoubleArray, FloatArray
from realtime.stages.world.kernels import shift_of_body, standing_feet

_CONTACT_BEGINS, _CONTACT_ENDS = 0.5, 0.3
"""Contact from which on a foot is tied, and down to which it stays so. Lower than those of the floor, which can wait for surer
ones."""
MAX_ACROSS_M: Final = 0.02
"""Largest shift of a body across the line of sight."""
MAX_ALONG: Final = 0.08
"""Largest shift along it, as a share of the distance."""
_TIE, _FLOOR = 0.012, 0.03  # m: standard deviations of a standing foot's place, and of its height over the floor
_ACROSS, _ALONG = (
    0.012,
    0.05,
)  # of the predicted pelvis across the line of sight, m, and along it, as a share
_FREE_CHANGE, _CHANGE, _FIRM_CHANGE = 0.002, 0.008, 0.02
"""Standard deviation of the shift's change in 1/30 s, m, while no point stands, while one does, and while all four do.
Following the noise of a single leg at once would shake the whole body: the leg takes up what comes so fast."""
_BROKEN_M: Final = 0.07  # a foot farther from its place has moved, whatever its contact
_CREEP, _CREEP_FIRST = 0.02, 0.05
"""Speed, m/s, at which a place follows the predicted foot, so that errors of the distance average out; the second applies in
the first `_FIRST_S`."""
_FIRST_S: Final = 1.0
_REACH_M, _REACH_S = 0.02, 0.1
"""Largest distance of a place from the shifted foot that the legs can bridge, m; farther places approach the foot with this
time constant, s."""
_SOFT_S: Final = 0.12  # time over which a tie becomes firm
_FAST, _SPEED_SHARE = 1.2, 0.5
"""Speed across the line of sight that halves the contact, m/s, and the smoothing of speeds. Noise alone gives standing feet up
to 0.4 m/s."""
_SURE_FLOOR_M: Final = 0.15  # deviation of the floor's height up to which tied feet sink or rise onto it
_NEAR_FLOOR_M: Final = 0.2  # feet farther from the floor than this stand on something else

_NOWHERE, _NOTHING = np.zeros(3), np.zeros(4)


@dataclass(slots=True)
class _Tied:
    """Where one person's four `body.soles.CONTACTS` are tied; axes of the shot's first camera, metres."""

    places: DoubleArray = field(default_factory=lambda: np.zeros((4, 3)))
    """(4, 3) place at which each point is kept while it is tied."""
    is_tied: BoolArray = field(default_factory=lambda: np.zeros(4, np.bool_))
    """(4,) which points stand."""
    since_s: DoubleArray = field(default_factory=lambda: np.zeros(4))
    """(4,) when each was tied, seconds of the source."""
    shift: DoubleArray = field(default_factory=lambda: np.zeros(3))
    """(3,) shift of the whole body in the last frame."""
    feet: DoubleArray = field(default_factory=lambda: np.zeros((4, 3)))
    """(4, 3) points as the network predicted them in the last frame."""
    speed: DoubleArray = field(default_factory=lambda: np.zeros(4))
    """(4,) smoothed speed of the points across the line of sight, m/s."""
    time_s: float = -math.inf
    """Time of the last frame, seconds of the source."""
    growth: float = 1.0
    """Growth of the person in the last frame, see `realtime.records.BodyEstimate.growth`."""

    def advance(self, time_s: float, feet: DoubleArray, growth: float) -> float:
        """Go on to the frame of ``time_s``: the seconds since the last one. After a pause nothing is tied."""
        dt_s = time_s - self.time_s
        if not 0 < dt_s < 0.5:
            self.is_tied[:], self.shift[:], self.speed[:], dt_s = False, 0.0, 0.0, 1 / 30
            self.feet, self.growth = feet.copy(), growth
        self.time_s = time_s
        if growth != self.growth:  # places are as far away as the person is
            for known in (self.places, self.feet):
                known *= growth / self.growth
            self.growth = growth
        return dt_s

    def sink(self, floor: tuple[DoubleArray, float, float], dt_s: float) -> None:
        """Move the places of standing points a little towards the ``floor``, where it is known and near."""
        up, height, sigma = floor
        over = self.places @ up + height
        down = np.where(self.is_tied & (np.abs(over) < _NEAR_FLOOR_M) & (sigma < _SURE_FLOOR_M), over, 0.0)
        self.places -= np.clip(down, -_CREEP * dt_s, _CREEP * dt_s)[:, None] * up


class FootLock:
    """Ties everybody's feet to their places. Used by one thread; frames come in order."""

    def __init__(self) -> None:
        self._people: dict[int, _Tied] = {}

    def forget(self, present: set[int]) -> None:
        """Remove the people not in ``present``."""
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
        growth: float = 1.0,
    ) -> tuple[DoubleArray, DoubleArray]:
        """The shift that keeps a person's standing feet in their places.

        Args:
            person: their number.
            pelvis: (3,).
            feet: (4, 3) `body.soles.CONTACTS`.
            contact: (4,) 0..1.
            time_s: of the frame.
            floor: up (3,), the height of the origin over the floor and its deviation, m; None where it is not known.
            growth: of the person, see `realtime.records.BodyEstimate.growth`.

        Returns:
            The shift (3,) of the whole body, and the shift (2, 3) of the left and the right foot that is left after it.
        """
        tied = self._people.setdefault(person, _Tied())
        dt_s = tied.advance(time_s, feet, growth)
        distance = max(float(np.linalg.norm(pelvis)), 0.1)
        ray = pelvis / distance
        # Motion across the line of sight is measured well: a foot that moves does not stand, whatever its contact.
        limits = (_SPEED_SHARE, _FAST, _CONTACT_BEGINS, _CONTACT_ENDS, _BROKEN_M, MAX_ALONG * distance + _BROKEN_M)
        stands, holds, begins = standing_feet(
            feet, tied.places, tied.feet, tied.speed, tied.is_tied, contact, ray, dt_s, limits
        )
        tied.feet = feet.copy()
        tied.places[begins], tied.since_s[begins] = feet[begins] + tied.shift, time_s
        tied.is_tied = holds
        soft = np.minimum((time_s - tied.since_s + dt_s) / _SOFT_S, 1.0)
        weight = np.where(holds, stands * soft, 0.0)
        tied.shift = self._shift(tied, distance, ray, feet, weight, dt_s, floor)
        if floor is not None:
            tied.sink(floor, dt_s)
        creep = np.where(time_s - tied.since_s < _FIRST_S, _CREEP_FIRST, _CREEP)[:, None] * dt_s
        toward = feet - tied.places
        length = np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-9)
        tied.places += np.where(holds[:, None], toward / length * np.minimum(length, creep), 0.0)
        rest = np.where(holds[:, None], tied.places - feet - tied.shift, 0.0)
        length = np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-9)
        beyond = rest * (np.maximum(length - _REACH_M, 0.0) / length * min(dt_s / _REACH_S, 1.0))
        tied.places -= beyond
        rest -= beyond
        pairs, shares = rest.reshape(2, 2, 3), weight.reshape(2, 2, 1)
        return tied.shift, (pairs * shares).sum(1) / np.maximum(shares.sum(1), 1e-6)

    @staticmethod
    def _shift(
        tied: _Tied,
        distance: float,
        ray: DoubleArray,
        feet: DoubleArray,
        weight: DoubleArray,
        dt_s: float,
        floor: tuple[DoubleArray, float, float] | None,
    ) -> DoubleArray:
        """The most likely shift (3,) of the body."""
        change = _FREE_CHANGE + (_CHANGE - _FREE_CHANGE) * min(float(weight.sum()), 1.0)
        change += (_FIRM_CHANGE - _CHANGE) * float(weight.mean()) ** 3
        stiffness = (_ALONG * distance) ** -2, _ACROSS**-2, (change * dt_s * 30) ** -2
        up, over, pull = _NOWHERE, _NOTHING, _NOTHING
        if floor is not None:
            up, height, sigma = floor
            over = feet @ up + height
            pull = weight / ((_FLOOR**2 + sigma**2) * (1 + (over / _NEAR_FLOOR_M) ** 4))
        most = MAX_ALONG * distance, MAX_ACROSS_M
        return shift_of_body(tied.shift, tied.places, feet, weight / _TIE**2, ray, stiffness, up, pull, over, most)
