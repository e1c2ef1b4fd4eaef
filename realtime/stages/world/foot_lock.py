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
from realtime.stages.world.foot_kernels import hold_feet

_NO_FLOOR = (0.0, 0.0, 0.0, 0.0, math.inf)
_ANKLES: Final = slice(15, 17)  # COCO
_SEEN: Final = 0.35  # confidence of an ankle from which on its foot counts as seen


def seen_contact(contact: FloatArray, confidence: FloatArray) -> FloatArray:
    """``contact`` (..., 4) of `body.soles.CONTACTS`, 0 for feet that are not seen by the ``confidence`` (..., 17) of COCO
    keypoints."""
    seen = np.minimum(confidence[..., _ANKLES] / _SEEN, 1.0)
    return np.asarray(contact * np.repeat(seen, 2, -1), np.float32)


@dataclass(slots=True)
class _Tied:
    """Where one person's four `body.soles.CONTACTS` are tied; axes of the shot's first camera, metres."""

    places: DoubleArray = field(default_factory=lambda: np.zeros((4, 3)))
    """(4, 3) place at which each point is kept while it is tied."""
    is_tied: BoolArray = field(default_factory=lambda: np.zeros(4, np.bool_))
    """(4,) which points stand."""
    age_s: DoubleArray = field(default_factory=lambda: np.zeros(4))
    """(4,) how long each has been tied, seconds."""
    shift: DoubleArray = field(default_factory=lambda: np.zeros(3))
    """(3,) shift of the whole body in the last frame."""
    belt: DoubleArray = field(default_factory=lambda: np.zeros(1))
    """(1,) mean speed of standing points away from the camera, m/s: that of a treadmill."""
    feet: DoubleArray = field(default_factory=lambda: np.zeros((4, 3)))
    """(4, 3) points as the network predicted them in the last frame."""
    speed: DoubleArray = field(default_factory=lambda: np.zeros(4))
    """(4,) smoothed speed of the points across the line of sight, m/s."""
    time_s: float = -math.inf
    """Time of the last frame, seconds of the source."""
    growth: float = 1.0
    """Growth of the person in the last frame, see `realtime.records.BodyEstimate.growth`."""

    def advance(self, time_s: float, feet: DoubleArray, growth: float) -> float:
        """Go to the frame at ``time_s``, in which the points are at ``feet`` (4, 3), m, and the person's growth is ``growth``.
        Returns the seconds since the last frame; after a gap nothing is tied."""
        dt_s = time_s - self.time_s
        if not 0 < dt_s < 0.5:
            self.is_tied[:], self.shift[:], self.speed[:], self.feet[:], dt_s = False, 0.0, 0.0, feet, 1 / 30
            self.belt[:] = 0.0
            self.growth = growth
        self.time_s = time_s
        if growth != self.growth:  # places are as far away as the person is
            for known in (self.places, self.feet):
                known *= growth / self.growth
            self.growth = growth
        return dt_s


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
        plane = _NO_FLOOR if floor is None else (*floor[0].tolist(), floor[1], floor[2])
        moves = hold_feet(
            np.ascontiguousarray(pelvis, np.float64),
            np.ascontiguousarray(feet, np.float64),
            contact,
            dt_s,
            plane,
            tied.feet,
            tied.speed,
            tied.is_tied,
            tied.age_s,
            tied.places,
            tied.shift,
            tied.belt,
        )
        return tied.shift.copy(), moves
