"""From presentation timestamps as files and streams have them to times that motion can be measured with."""

from __future__ import annotations

from fractions import Fraction

DEFAULT_FPS = 30.0
_BACKWARD_JUMP_S = 1.0
_BURST_S = 0.25
_BEHIND_S = 1.0
_AHEAD_S = 10.0


def nominal_fps(*rates: Fraction | float | None) -> float:
    """The first believable one of ``rates`` (pictures a second), else 30. Containers claim 0, none and 90000."""
    return next((float(rate) for rate in rates if rate and 0 < rate <= 1000), DEFAULT_FPS)


class FileClock:
    """Times of a file's pictures in seconds: 0 at the first, strictly increasing, true where the file is.

    A picture without a timestamp comes one nominal frame after the one before; one with a repeated or slightly earlier
    timestamp half a frame after it; where the timestamps start over (joined files) time goes on.
    """

    def __init__(self, fps: float) -> None:
        self._frame_s = 1.0 / fps
        self._offset_s: float | None = None
        self._last_s = 0.0

    def time_of(self, pts_s: float | None) -> float:
        """Time of the next picture, whose timestamp is ``pts_s`` seconds or missing."""
        if self._offset_s is None:
            self._offset_s = 0.0 if pts_s is None else -pts_s
            return self._last_s
        if pts_s is None:
            self._last_s += self._frame_s
            return self._last_s
        time_s = pts_s + self._offset_s
        if time_s <= self._last_s - _BACKWARD_JUMP_S:
            time_s = self._last_s + self._frame_s
            self._offset_s = time_s - pts_s
        elif time_s <= self._last_s:
            time_s = self._last_s + 0.5 * self._frame_s
        self._last_s = time_s
        return time_s


class StreamClock:
    """Times of a network stream's pictures: the sender's timestamps, kept near the arrival.

    Network jitter falsifies times of arrival, so the sender's clock is the better one. It is not trusted further than
    that: more than 1 s behind the arrival or 10 s ahead of it, it is set anew.
    """

    def __init__(self) -> None:
        self._first_ns: int | None = None
        self._offset_s: float | None = None
        self._last_s = -1.0

    def reset(self) -> None:
        """The stream was connected anew: its timestamps may start over."""
        self._offset_s = None

    def time_of(self, pts_s: float | None, arrived_ns: int) -> float:
        """Seconds since the first picture. ``pts_s``: the sender's timestamp, None where it has none worth using."""
        if self._first_ns is None:
            self._first_ns = arrived_ns
        arrived_s = (arrived_ns - self._first_ns) * 1e-9
        time_s = arrived_s
        if pts_s is not None:
            if self._offset_s is None or not -_BEHIND_S < pts_s + self._offset_s - arrived_s < _AHEAD_S:
                self._offset_s = arrived_s - pts_s
            time_s = pts_s + self._offset_s
        self._last_s = max(time_s, self._last_s + 1e-3)
        return self._last_s

    def early_by(self, time_s: float, now_ns: int) -> float:
        """Seconds to hold a picture back: streams in segments and files behind a URL arrive in bursts."""
        assert self._first_ns is not None, "time_of comes first"
        return max(0.0, time_s - (now_ns - self._first_ns) * 1e-9 - _BURST_S)
