"""From presentation timestamps as files and streams have them to times that motion can be measured with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from typing_extensions import override

DEFAULT_FPS = 30.0
UNTIMED_FPS = 25.0
"""Of a file that stores neither times nor a rate, as FFmpeg and the players that are made with it take it."""
_BACKWARD_JUMP_S = 1.0
_STRAY_FRAMES = 2.5  # so far back timestamps may be without starting over
_STARTED_OVER = 2  # frames in a row that are further back
_FORWARD_JUMP_S = 6 * 3600.0  # MP4 files cannot say that one frame lasts longer than 2³¹/90000 s, 6.6 hours
_BURST_S = 0.25
_BEHIND_S = 1.0
_AHEAD_S = 10.0
_SAME_RATE = 0.02
_TICK_S = 1e-4  # no camera here takes more frames a second than this says
_FEWEST = 3


def nominal_fps(*rates: Fraction | float | None) -> float:
    """The first believable one of ``rates`` (frames a second), else 30. Containers claim 0, none and 90000."""
    return next((float(rate) for rate in rates if rate and 0 < rate <= 1000), DEFAULT_FPS)


def measured_fps(times_s: Sequence[float]) -> float | None:
    """Frames a second by their timestamps ``times_s``, seconds in any order; None where there are too few.

    Pauses do not count, and neither do repeated timestamps: the mean of the intervals that are near their median.
    """
    steps = np.diff(np.unique(np.asarray(times_s, np.float64)))
    if len(steps) < _FEWEST:
        return None
    median = float(np.median(steps))
    usual = steps[(steps > 0.5 * median) & (steps < 1.5 * median)]
    rate = 1.0 / float(usual.mean()) if len(usual) else 0.0
    return rate if 0 < rate <= 1000 else None


def can_be_times(times_s: Sequence[float]) -> bool:
    """Whether the timestamps ``times_s``, seconds in any order, tell frames apart: not all are equal, or ticks of a clock."""
    return len(times_s) <= _FEWEST or max(times_s) - min(times_s) > _TICK_S * (len(times_s) - 1)


def believable_fps(claimed: Sequence[Fraction | float | None], times_s: Sequence[float]) -> float:
    """Frames a second of a file that claims ``claimed`` rates, whose first frames lie at ``times_s`` seconds.

    Browsers' recordings claim 1000, edit lists make averages wrong: of the claims the one that the timestamps support best,
    and what they say themselves where they support none.
    """
    measured = measured_fps(times_s)
    if measured is None:
        return nominal_fps(*claimed)
    near = [float(rate) for rate in claimed if rate and abs(float(rate) / measured - 1) < _SAME_RATE]
    return min(near, key=lambda rate: abs(rate - measured), default=round(measured, 3))


class FileClock:
    """Times of a file's frames in seconds: 0 at the first, strictly increasing, true where the file is.

    A frame without a timestamp comes one nominal frame after the one before; one with a repeated or slightly earlier
    timestamp half a frame after it. Where the timestamps start over (joined files) time goes on: at once where they jump by a
    second or more, else as soon as a second frame is as far back. Time also goes on over a gap of more than six hours, which
    ``on_gap`` is told in seconds.
    """

    def __init__(self, fps: float, on_gap: Callable[[float], None] = lambda gap_s: None) -> None:
        self._frame_s = 1.0 / fps
        self._on_gap = on_gap
        self._offset_s: float | None = None
        self._last_s = 0.0
        self._back = 0

    def time_of(self, pts_s: float | None) -> float:
        """Time of the next frame, whose timestamp is ``pts_s`` seconds or missing."""
        if self._offset_s is None:
            self._offset_s = 0.0 if pts_s is None else -pts_s
            return self._last_s
        if pts_s is None:
            self._last_s += self._frame_s
            return self._last_s
        time_s = pts_s + self._offset_s
        is_gap = time_s >= self._last_s + _FORWARD_JUMP_S
        if is_gap:
            self._on_gap(time_s - self._last_s)
        self._back = self._back + 1 if time_s < self._last_s - _STRAY_FRAMES * self._frame_s else 0
        if is_gap or self._back == _STARTED_OVER or time_s <= self._last_s - _BACKWARD_JUMP_S:
            time_s = self._last_s + self._frame_s
            self._offset_s = time_s - pts_s
            self._back = 0
        elif self._back:  # one stray frame, or the first of those that start over?
            time_s = self._last_s + self._frame_s
        elif time_s <= self._last_s:
            time_s = self._last_s + 0.5 * self._frame_s
        self._last_s = time_s
        return time_s


class StreamClock:
    """Times of a network stream's frames: the sender's timestamps, kept near the arrival.

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
        """Seconds since the first frame. ``pts_s``: the sender's timestamp, None where it has none worth using."""
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

    def place_of(self, pts_s: float) -> float | None:
        """Seconds since the first frame of what the sender stamped ``pts_s``; None while no frame has said."""
        return None if self._offset_s is None else pts_s + self._offset_s

    def early_by(self, time_s: float, now_ns: int) -> float:
        """Seconds to hold a frame back: streams in segments and files behind a URL arrive in bursts. Below zero: how late
        it is."""
        assert self._first_ns is not None, "time_of comes first"
        return time_s - (now_ns - self._first_ns) * 1e-9 - _BURST_S


class FilmClock(StreamClock):
    """Times of a video that comes over a network: its own timestamps, 0 at the first frame and strictly increasing, however
    slow the network is. Where they start over, or jump by more than six hours, time goes on.

    It is played by these times from the first frame on, later by every pause that the network made. ``on_gap`` is told of gaps
    that were closed, in seconds.
    """

    def __init__(self, on_gap: Callable[[float], None] = lambda gap_s: None) -> None:
        super().__init__()
        self._on_gap = on_gap
        self._pauses_s = _BURST_S

    @override
    def time_of(self, pts_s: float | None, arrived_ns: int) -> float:
        if pts_s is None:
            self._last_s = max(0.0, self._last_s + 1 / DEFAULT_FPS)
            return self._last_s
        if self._offset_s is None:
            self._offset_s = max(0.0, self._last_s) - pts_s
        elif not -_BACKWARD_JUMP_S < (step_s := pts_s + self._offset_s - self._last_s) < _FORWARD_JUMP_S:
            self._offset_s = self._last_s + 1 / DEFAULT_FPS - pts_s
            if step_s > 0:
                self._on_gap(step_s)
        self._last_s = max(pts_s + self._offset_s, self._last_s + 1e-3)
        return self._last_s

    @override
    def early_by(self, time_s: float, now_ns: int) -> float:
        if self._first_ns is None:
            self._first_ns = now_ns
        early_s = super().early_by(time_s + self._pauses_s, now_ns)
        if early_s > _AHEAD_S:  # nobody waits for hours
            self._pauses_s -= early_s
            early_s = 0.0
        return early_s

    def wait_for_network(self, time_s: float, now_ns: int) -> None:
        """The frame of ``time_s`` seconds had to be waited for: if it came too late, all that follow are due later."""
        self._pauses_s += max(0.0, -self.early_by(time_s, now_ns))


class RateMeter:
    """Measures the rate of what arrives, over windows of ``window_s`` seconds. The first frames do not count: they come in
    a burst, or late while the exposure settles."""

    def __init__(self, window_s: float = 1.0, skip: int = 3) -> None:
        self._window_s = window_s
        self._left = skip
        self._count = 0
        self._start_s = 0.0

    def count(self, time_s: float, frames: int = 1) -> float | None:
        """Count ``frames`` that ended at ``time_s`` seconds. Returns frames a second whenever a window is over."""
        if self._left > 0:
            self._left -= frames
            self._count, self._start_s = 0, time_s
            return None
        self._count += frames
        elapsed_s = time_s - self._start_s
        if elapsed_s < self._window_s:
            return None
        rate = self._count / elapsed_s
        self._count, self._start_s = 0, time_s
        return rate
