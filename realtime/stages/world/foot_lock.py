"""Foot locking: keeps standing feet in their places.

The predicted distance of a person varies from frame to frame, and feet slide with it. So a foot in contact is kept where it was
shown in the last frame. The body is shifted as a whole, mostly along the line of sight, where the image determines it least,
the legs are bent for the remaining distance, and feet turn about their ankles (`realtime.stages.world.leg_reach`). If the floor
is known, standing feet are drawn onto it, which also corrects the person's distance.

Places are in the axes of the scene's first camera, metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from common.arrays import DoubleArray, FloatArray
from realtime.stages.world.foot_kernels import hold_feet

_NO_FLOOR = (0.0, 0.0, 0.0, 0.0, math.inf)
_ANKLES: Final = slice(15, 17)  # COCO
_SEEN: Final = 0.35  # confidence of an ankle from which on its foot counts as seen


def seen_contact(contact: FloatArray, confidence: FloatArray) -> FloatArray:
    """``contact`` (..., 4) of `body.soles.CONTACTS`, 0 for feet that are not seen by the ``confidence`` (..., 17) of COCO
    keypoints."""
    seen = np.minimum(confidence[..., _ANKLES] / _SEEN, 1.0)
    return np.asarray(contact * np.repeat(seen, 2, -1), np.float32)


class Held(NamedTuple):
    """How a person is displaced; axes of the shot's first camera, metres."""

    shift: DoubleArray
    """(3,) shift of the whole body."""
    moves: DoubleArray
    """(2, 3) move of the left and the right ankle in addition."""
    turns: DoubleArray
    """(2, 3) rotation vector of the left and the right foot about its ankle, radians."""
    turned: DoubleArray
    """(4, 3) `body.soles.CONTACTS` of the turned feet, before shift and moves."""


@dataclass(slots=True)
class _Person:
    """Where one person's four `body.soles.CONTACTS` were shown; axes of the shot's first camera, metres."""

    places: DoubleArray = field(default_factory=lambda: np.zeros((4, 3)))
    """(4, 3) points as they were shown in the last frame."""
    age_s: DoubleArray = field(default_factory=lambda: np.zeros(4))
    """(4,) how long each has stood, seconds."""
    shift: DoubleArray = field(default_factory=lambda: np.zeros(3))
    """(3,) shift of the whole body in the last frame."""
    moves: DoubleArray = field(default_factory=lambda: np.zeros((2, 3)))
    """(2, 3) moves of the ankles in the last frame."""
    turns: DoubleArray = field(default_factory=lambda: np.zeros((2, 3)))
    """(2, 3) turns of the feet in the last frame, rotation vectors, radians."""
    belt: DoubleArray = field(default_factory=lambda: np.zeros(1))
    """(1,) mean speed of standing points away from the camera, m/s: that of a treadmill."""
    feet: DoubleArray = field(default_factory=lambda: np.zeros((4, 3)))
    """(4, 3) points as the network predicted them in the last frame."""
    body: DoubleArray = field(default_factory=lambda: np.zeros(3))
    """(3,) pelvis as the network predicted it in the last frame."""
    speed: DoubleArray = field(default_factory=lambda: np.zeros(4))
    """(4,) smoothed speed of the points across the line of sight, m/s."""
    time_s: float = -math.inf
    """Time of the last frame, seconds of the source."""
    growth: float = 1.0
    """Growth of the person in the last frame, see `realtime.records.BodyEstimate.growth`."""

    def advance(self, time_s: float, pelvis: DoubleArray, feet: DoubleArray, growth: float) -> float:
        """Go to the frame at ``time_s``, in which the ``pelvis`` is predicted at (3,), m, the points at ``feet`` (4, 3), m, and
        the person's growth is ``growth``. Returns the seconds since the last frame; after a gap nothing is kept."""
        dt_s = time_s - self.time_s
        if not 0 < dt_s < 0.5:
            for past in (self.age_s, self.shift, self.moves, self.turns, self.speed, self.belt):
                past[:] = 0.0
            self.places[:], self.feet[:], self.body[:], dt_s = feet, feet, pelvis, 1 / 30
            self.growth = growth
        self.time_s = time_s
        if growth != self.growth:  # places are as far away as the person is
            for known in (self.places, self.feet, self.body):
                known *= growth / self.growth
            self.growth = growth
        return dt_s


class FootLock:
    """Keeps everybody's standing feet in their places. Used by one thread; frames come in order."""

    def __init__(self) -> None:
        self._people: dict[int, _Person] = {}

    def forget(self, present: set[int]) -> None:
        """Remove the people not in ``present``."""
        for person in self._people.keys() - present:
            del self._people[person]

    def __call__(
        self,
        person: int,
        pelvis: DoubleArray,
        feet: DoubleArray,
        legs: DoubleArray,
        contact: FloatArray,
        time_s: float,
        floor: tuple[DoubleArray, float, float] | None,
        growth: float = 1.0,
    ) -> Held:
        """The displacement that keeps a person's standing feet in their places.

        Args:
            person: their number.
            pelvis: (3,).
            feet: (4, 3) `body.soles.CONTACTS`.
            legs: (2, 4, 3) hip, knee, ankle and foot joint of the left and the right leg.
            contact: (4,) 0..1.
            time_s: of the frame.
            floor: up (3,), the height of the origin over the floor and its deviation, m; None where it is not known.
            growth: of the person, see `realtime.records.BodyEstimate.growth`.
        """
        known = self._people.setdefault(person, _Person())
        dt_s = known.advance(time_s, pelvis, feet, growth)
        plane = _NO_FLOOR if floor is None else (*floor[0].tolist(), floor[1], floor[2])
        turned = np.empty((4, 3))
        hold_feet(
            np.ascontiguousarray(pelvis, np.float64),
            np.ascontiguousarray(feet, np.float64),
            contact,
            np.ascontiguousarray(legs, np.float64),
            dt_s,
            plane,
            known.feet,
            known.speed,
            known.age_s,
            known.places,
            known.shift,
            known.moves,
            known.turns,
            known.belt,
            known.body,
            turned,
        )
        return Held(known.shift.copy(), known.moves.copy(), known.turns.copy(), turned)
