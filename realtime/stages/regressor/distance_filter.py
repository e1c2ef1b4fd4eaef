"""Smoothing a person's distance with the speed that the network predicts.

An image determines the distance badly: predictions wander by 2 % within a second or two, which is 10 cm at 5 m and looks like
motion from the side. The network also predicts the pelvis's velocity over the ground. Of walkers it is right along the line of
sight, too, where the distance's differences are mostly noise; of other motion it often says nothing, that is, no speed.

So this is a Kalman filter of the logarithm of the distance. It is moved by the predicted speed and by a correction of that
speed, which it estimates. How large corrections are expected to be depends on two things that the image shows: on how far the
predicted velocity is wrong across the line of sight, where the true one is seen, and on whether the distances have been beyond
the filter's for a while. The correction also takes up what the prediction cannot know: somebody on a treadmill, or a camera
that is carried.
"""

from __future__ import annotations

import math
from typing import Final

from common.arrays import FloatArray

_NOISE: Final = 0.08**2 / 30
"""Spectral density of the noise of a predicted log distance, s: white noise that averages out as slowly as the true one, which
is smaller but hardly changes within half a second."""
_FIRST_CHANGE: Final = 0.05  # standard deviation of the first speed correction, 1/s
_DRIFT: Final = 0.01**2  # variance that a second adds to the log distance, 1/s
_LASTS_S: Final = 0.35  # time constant of a speed correction
_LEAST: Final = 0.02  # standard deviation of a correction where all agrees, 1/s
_FROM_ACROSS: Final = 0.5
"""Standard deviation of the correction per error of the predicted velocity across the line of sight."""
_ACROSS_S: Final = 0.3  # time constant with which that error is averaged
_BEYOND, _BEYOND_S, _FROM_BEYOND = 0.03, 0.15, 2.0
"""Mean difference of the predicted log distances from the filter's which noise explains, time constant of that mean, s, and
standard deviation of the correction per what is beyond, if that is made up for in this time."""
_FAR, _RETURN_S = 0.03, 0.07
"""Difference of the filtered from the predicted log distance beyond which it returns to this with that time constant, s: a body
that much too large or too small is seen in the image."""
_MIN_DT_S: Final = 1e-3


class DistanceFilter:
    """Filters one person's distance. Plain floats: arrays of three would cost more."""

    def __init__(self) -> None:
        self._log: float | None = None
        self._change = 0.0  # correction of the speed, 1/s
        self._variance, self._both, self._change_variance = 0.0, 0.0, _FIRST_CHANGE**2
        self._beyond = 0.0
        self._place = self._wrong = (0.0, 0.0)

    def __call__(self, position: FloatArray, velocity: FloatArray | None, dt_s: float) -> float:
        """The filtered distance z, m, of a pelvis at ``position`` (3,), m, camera frame, that is predicted to move with
        ``velocity`` (3,) over the ground, m/s, camera axes; None: not predicted. ``dt_s`` seconds after the last one."""
        x, y, z = (float(value) for value in position)
        distance, dt = max(z, 0.1), max(dt_s, _MIN_DT_S)
        place, measured, noise = (x / distance, y / distance), math.log(distance), _NOISE / dt
        if self._log is None:
            self._log, self._variance, self._place = measured, noise, place
            return distance
        right, down, ahead = (0.0, 0.0, 0.0) if velocity is None else (float(v) / distance for v in velocity)
        share = -math.expm1(-dt / _ACROSS_S)
        self._wrong = tuple(  # type: ignore[assignment]  # of two
            wrong + share * ((now - last) / dt - (speed - ahead * now) - wrong)
            for wrong, now, last, speed in zip(self._wrong, place, self._place, (right, down), strict=True)
        )
        self._place = place
        lasts = math.exp(-dt / _LASTS_S)
        self._log += (ahead + self._change) * dt
        self._change *= lasts
        off = measured - self._log
        self._beyond += -math.expm1(-dt / _BEYOND_S) * (off - self._beyond)
        expected = _LEAST + _FROM_ACROSS * math.hypot(*self._wrong)
        expected += _FROM_BEYOND * max(abs(self._beyond) - _BEYOND, 0.0) / _BEYOND_S
        variance = self._variance + 2 * dt * self._both + dt * dt * self._change_variance + _DRIFT * dt
        both = lasts * (self._both + dt * self._change_variance)
        changed = lasts**2 * self._change_variance + expected**2 * (1 - lasts**2)
        gain, change_gain = variance / (variance + noise), both / (variance + noise)
        self._log += gain * off
        self._change += change_gain * off
        self._variance, self._both = (1 - gain) * variance, (1 - gain) * both
        self._change_variance = changed - change_gain * both
        within = min(max(self._log, measured - _FAR), measured + _FAR)
        self._log += -math.expm1(-dt / _RETURN_S) * (within - self._log)
        return math.exp(self._log)
