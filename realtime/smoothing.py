"""Steadying what the regressor says, with the true time between frames.

The One-Euro filter (Casiez, Roussel & Vogel 2012) follows slow motion calmly and fast motion without lag: its cutoff
frequency rises with speed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from realtime.records import FloatArray


@dataclass(frozen=True, slots=True)
class OneEuro:
    """Cutoff in Hz at rest, its gain per unit of speed, and the cutoff of the speed itself."""

    rest_hz: float
    gain: float
    speed_hz: float = 1.5

    @staticmethod
    def alpha(cutoff_hz: FloatArray | float, dt_s: float) -> FloatArray | float:
        """Share of the new value after ``dt_s`` with this cutoff."""
        step = 2 * math.pi * dt_s * cutoff_hz
        return step / (step + 1)


ROTATION = OneEuro(rest_hz=2.2, gain=1.2)
"""For joint rotations: speeds in rad/s."""
POSITION = OneEuro(rest_hz=1.8, gain=1.6)
"""For the pelvis: speeds in m/s at 3 m; the filter divides by distance, as noise grows with it."""


class RotationFilter:
    """One-Euro on rotations (J, 3, 3): each joint moves a share of the way along the shortest arc to its new value."""

    def __init__(self, joints: int, settings: OneEuro = ROTATION) -> None:
        self._settings = settings
        self._value: FloatArray | None = None
        self._speed = np.zeros((joints, 3), np.float32)

    def __call__(self, rotations: FloatArray, dt_s: float) -> FloatArray:
        """Filter rotation matrices that were measured ``dt_s`` seconds after the last ones."""
        if self._value is None:
            self._value = rotations.astype(np.float32)
            return self._value
        arc = matrix_to_axis_angle(np.swapaxes(self._value, -1, -2) @ rotations)
        share = np.float32(OneEuro.alpha(self._settings.speed_hz, dt_s))
        self._speed += share * (arc / np.float32(dt_s) - self._speed)
        speed = np.linalg.norm(self._speed, axis=-1)
        alpha = OneEuro.alpha(self._settings.rest_hz + self._settings.gain * speed, dt_s)
        self._value = (self._value @ axis_angle_to_matrix(arc * np.asarray(alpha)[:, None])).astype(np.float32)
        return self._value


class PositionFilter:
    """One-Euro on the pelvis (3,) in the camera frame. The image fixes its direction well and its distance badly, so the
    two are filtered apart: direction as measured by speed across the picture, distance calmer."""

    def __init__(self, settings: OneEuro = POSITION) -> None:
        self._settings = settings
        self._value: FloatArray | None = None
        self._speed = np.zeros(3, np.float32)

    def __call__(self, position: FloatArray, dt_s: float) -> FloatArray:
        """Filter a position (3,) m measured ``dt_s`` seconds after the last one."""
        depth = max(float(position[2]), 0.1)
        now = np.array([position[0] / depth, position[1] / depth, math.log(depth)], np.float32)
        if self._value is None:
            self._value = now
        else:
            share = np.float32(OneEuro.alpha(self._settings.speed_hz, dt_s))
            self._speed += share * ((now - self._value) / np.float32(dt_s) - self._speed)
            # In rays: 0.3 /s at 3 m is about 1 m/s.
            cutoff = np.array([3.0, 3.0, 0.7], np.float32) * self._settings.rest_hz
            cutoff += np.float32(self._settings.gain * 12.0) * np.abs(self._speed) * np.array([1, 1, 0.35], np.float32)
            self._value = self._value + np.asarray(OneEuro.alpha(cutoff, dt_s), np.float32) * (now - self._value)
        depth = math.exp(float(self._value[2]))
        return np.array([self._value[0] * depth, self._value[1] * depth, depth], np.float32)
