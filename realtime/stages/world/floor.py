"""The floor: the plane through the standing feet of all people, perpendicular to the vertical.

Each step gives one sample, the mean position of the standing foot, because the frames of one step share their error. Feet at
different distances also improve the vertical: with a wrong one the floor would slope.

One camera measures a person's distance only as well as the person's size is known. A wrong size scales the person's
distance by a constant factor, so the fit has one unknown factor for each person, with which all stand on one floor.

Positions are in the axes of the scene's first camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import DoubleArray, FloatArray
from realtime.stages.world.plane_fit import fit_plane

SIZE_SIGMA, KNOWN_SIZE_SIGMA = 0.06, 0.015
"""Standard deviation of the error factor of a person's size, and so of the distance; the second if the height is given."""
FOOT_SIGMA_M: Final = 0.03
"""Standard deviation of a standing foot's height in the posed body."""
DEPTH_SIGMA: Final = 0.04
"""Standard deviation of a step's distance, as a share of it, in addition to the person's factor."""
_CONTACT_BEGINS, _CONTACT_ENDS = 0.6, 0.4
"""Contact above which a foot begins to stand, and below which it ends to."""
_MIN_S: Final = 0.12  # shortest step that is a sample
_SLID_M: Final = 0.3  # a foot that has moved farther from its mean position begins a new step
_MAX_SAMPLES: Final = 96  # largest number of samples
_FRESH_S: Final = 8.0  # age of the samples that are kept when the camera moves


@dataclass(slots=True)
class _Step:
    """One foot while it stands."""

    person: int
    """Who stands."""
    place: DoubleArray
    """(3,) mean position of the foot so far, weighted by contact; first camera's axes, metres."""
    seconds: float
    """How long it has stood."""
    contact_s: float
    """Sum of contact times seconds."""
    seen_s: float
    """When it was seen last, seconds of the source."""
    entered: bool = False
    """Whether it has stood for long enough to be one of the floor's samples."""


@dataclass(slots=True)
class Plane:
    """The floor that fits the samples."""

    up: DoubleArray
    """(3,) unit vector."""
    up_sigma: float
    """Standard deviation of ``up``, radians."""
    height: float
    """Height of the camera over the floor, metres."""
    sigma: float
    """Standard deviation of the floor's height where people stood, metres."""
    factors: dict[int, float]
    """Factor by which each person who has stood is larger and farther away than the network predicts."""


class Floor:
    """Collects the positions of standing feet and fits the floor.

    Args:
        size_sigma: standard deviation of the error factor of a person's size, and so of the distance.
    """

    def __init__(self, size_sigma: float = SIZE_SIGMA) -> None:
        self._size_sigma = size_sigma
        self._standing: dict[tuple[int, int], _Step] = {}
        self._steps: list[_Step] = []

    def see(
        self, person: int, feet: FloatArray, contact: FloatArray, dt_s: float, time_s: float, rotation: DoubleArray
    ) -> None:
        """Add one person's `body.soles.CONTACTS` ``feet`` (4, 3), camera frame, metres, in the network's size, with their
        ``contact`` (4,) 0..1. ``rotation`` (3, 3) takes the camera's axes to the first camera's."""
        for foot in (0, 1):
            heel_and_toes = contact[2 * foot : 2 * foot + 2].astype(np.float64)
            most = float(heel_and_toes.max())
            step = self._standing.get((person, foot))
            if most < (_CONTACT_BEGINS if step is None else _CONTACT_ENDS):
                self._standing.pop((person, foot), None)
                continue
            weights = np.maximum(heel_and_toes - 0.3, 1e-3) ** 2
            place = rotation @ (weights @ feet[2 * foot : 2 * foot + 2] / weights.sum())
            if step is not None and float(np.abs(place - step.place).max()) > _SLID_M:
                step = None
            if step is None:
                step = self._standing[person, foot] = _Step(person, place, 0.0, 0.0, time_s)
            step.contact_s += most * dt_s
            step.seconds += dt_s
            step.place = step.place + (most * dt_s / step.contact_s) * (place - step.place)
            step.seen_s = time_s
            if not step.entered and step.seconds >= _MIN_S:
                step.entered = True
                self._steps.append(step)
                self._thin()

    def _thin(self) -> None:
        """Bound the number of samples: every second one of the older half is removed."""
        if len(self._steps) > _MAX_SAMPLES:
            half = len(self._steps) // 2
            self._steps = self._steps[:half:2] + self._steps[half:]

    def forget(self, present: set[int]) -> None:
        """End the steps of people not in ``present``; their samples are kept."""
        for key in [key for key in self._standing if key[0] not in present]:
            del self._standing[key]

    def drifted(self, time_s: float) -> None:
        """Remove old samples, because the camera has moved since."""
        self._steps = [step for step in self._steps if time_s - step.seen_s < _FRESH_S]

    def fit(self, matrix: DoubleArray, vector: DoubleArray, up: DoubleArray) -> Plane | None:
        """The plane; the search starts at ``up`` (3,). ``matrix`` and ``vector`` are those of `vertical.Vertical.evidence`.
        None if nobody has stood yet."""
        if not self._steps:
            return None
        people = sorted({step.person for step in self._steps})
        index = np.array([people.index(step.person) for step in self._steps])
        places = np.array([step.place for step in self._steps])
        weight = np.array(
            [min(step.contact_s / step.seconds, 1.0) * min(step.seconds / 0.3, 1.0) for step in self._steps]
        )
        fitted = fit_plane(places, index, weight, (matrix, vector), up, (self._size_sigma, FOOT_SIGMA_M, DEPTH_SIGMA))
        up_sigma = math.sqrt(float(np.trace(fitted.covariance)) / 2)
        factors = dict(zip(people, fitted.factors.tolist(), strict=True))
        return Plane(fitted.up, up_sigma, fitted.height, fitted.sigma, factors)
