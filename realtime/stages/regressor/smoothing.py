"""Smoothing the regressor's predictions, with the true time between frames.

The One-Euro filter (Casiez, Roussel & Vogel 2012) smooths slow motion strongly and fast motion weakly: its cutoff frequency
rises with speed. By itself it still lags: at the cutoff that keeps people from jittering, limbs were a frame late (34 ms
where they move faster than 1 m/s), visibly beside the real ones. So each value is first extrapolated with a speed that decays
as a limb's does, and only the difference from that is filtered: as smooth at rest, with half the lag.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from common.arrays import FloatArray
from realtime.stages.regressor.distance_filter import DistanceFilter
from realtime.stages.regressor.kernels import filter_rotations

Cutoff = TypeVar("Cutoff", float, FloatArray)


@dataclass(frozen=True, slots=True)
class OneEuro:
    """Settings of a One-Euro filter with extrapolation."""

    rest_hz: float
    """Cutoff at rest, Hz."""
    gain: float
    """What the cutoff gains for each unit of speed, Hz."""
    speed_hz: float = 1.5
    """Cutoff of the speed itself, Hz."""
    memory_s: float = 0.1
    """Time constant of an extrapolated speed's decay, s; 0: no extrapolation."""

    @staticmethod
    def alpha(cutoff_hz: Cutoff, dt_s: float) -> Cutoff:
        """Share of the new value after ``dt_s`` with this cutoff."""
        step = 2 * math.pi * dt_s * cutoff_hz
        return step / (step + 1)

    def ahead_s(self, dt_s: float) -> float:
        """Seconds by which the present speed extrapolates to ``dt_s`` later: less than ``dt_s``, as it decays."""
        return self.memory_s * -math.expm1(-dt_s / self.memory_s) if self.memory_s > 0 else 0.0


ROTATION = OneEuro(rest_hz=1.5, gain=2.5)
"""For joint rotations: speeds in rad/s."""
DIRECTION = OneEuro(rest_hz=8.0, gain=30.0)
"""For the pelvis's direction, x/z and y/z, which the image determines well. Speeds in 1/s; 0.3 is 1 m/s across at 3 m."""


class RotationFilter:
    """One-Euro on rotations (J, 3, 3): each joint moves a share of the way along the shortest arc from where it was
    heading to its new value."""

    def __init__(self, joints: int, settings: OneEuro = ROTATION) -> None:
        self._settings = settings
        self._value: FloatArray | None = None
        self._speed = np.zeros((joints, 3), np.float32)

    def __call__(self, rotations: FloatArray, dt_s: float) -> FloatArray:
        """Filter rotation matrices that were measured ``dt_s`` seconds after the last ones."""
        if self._value is None:
            self._value = rotations.astype(np.float32)
            return self._value
        settings, filtered = self._settings, np.empty_like(self._value)
        filter_rotations(
            self._value,
            self._speed,
            np.ascontiguousarray(rotations, np.float32),
            dt_s,
            settings.ahead_s(dt_s),
            OneEuro.alpha(settings.speed_hz, dt_s),
            settings.rest_hz,
            settings.gain,
            filtered,
        )
        self._value = filtered
        return filtered


class PositionFilter:
    """Filters the pelvis (3,) in the camera frame: One-Euro on its direction, `DistanceFilter` on its distance."""

    def __init__(self, direction: OneEuro = DIRECTION) -> None:
        self._axes = _Axes((direction, direction))
        self._distance = DistanceFilter()

    def __call__(self, position: FloatArray, dt_s: float, velocity: FloatArray | None = None) -> FloatArray:
        """Filter a position (3,) m measured ``dt_s`` seconds after the last one. ``velocity`` (3,) is that which the network
        predicts over the ground, m/s, camera axes; None: not predicted."""
        depth = max(float(position[2]), 0.1)
        x, y = self._axes((float(position[0]) / depth, float(position[1]) / depth), dt_s)
        depth = self._distance(position, velocity, dt_s)
        return np.array([x * depth, y * depth, depth], np.float32)


class _Axes:
    """One-Euro on independent numbers. Plain floats: arrays of three would cost more."""

    def __init__(self, settings: Sequence[OneEuro]) -> None:
        self._settings = settings
        self._value: list[float] = []
        self._speed = [0.0] * len(settings)

    def __call__(self, measured: Sequence[float], dt_s: float) -> list[float]:
        if not self._value:
            self._value = list(measured)
        for axis, (settings, now) in enumerate(zip(self._settings, measured, strict=True)):
            value, speed = self._value[axis], self._speed[axis]
            foreseen = value + speed * settings.ahead_s(dt_s)
            speed += OneEuro.alpha(settings.speed_hz, dt_s) * ((now - value) / dt_s - speed)
            alpha = OneEuro.alpha(settings.rest_hz + settings.gain * abs(speed), dt_s)
            self._value[axis], self._speed[axis] = foreseen + alpha * (now - foreseen), speed
        return list(self._value)
