"""How many people a live source's rate leaves time for."""

from __future__ import annotations

from typing import Final

from realtime.measure import Meter
from realtime.options import MAX_PERSONS
from realtime.records import Result
from realtime.stages.tracking.tracker import Tracker

_EVERY: Final = 15  # results between two decisions
_FILLED: Final = 0.9  # of the time between two frames may be used
_TOO_FULL: Final = 1.25  # of it, twice in a row: one person less is followed
_STAGES: Final = (
    "keypoints",
    "regressor",
)  # the two that take longer with each person; frames pass through both at once


class PersonLimit:
    """Lets ``tracker`` follow as many people as are processed at the rate of the source, ``fps`` frames/s; for live sources.

    The time that a stage takes is measured and taken to be proportional to the number of people. Two measurements in
    a row over the limit are needed before one person less is followed.
    """

    def __init__(self, tracker: Tracker, meter: Meter, fps: float) -> None:
        self._tracker, self._meter = tracker, meter
        self._budget_ms = 1e3 / max(fps, 1.0)
        self._seen = self._overfull = 0

    def see(self, result: Result) -> None:
        """Take one result; after every few the limit is set anew."""
        self._seen += 1
        if self._seen % _EVERY or not result.people:
            return
        took = self._meter.recent_stages()
        self.adapt(len(result.people), max((took.get(name, 0.0) for name in _STAGES), default=0.0))

    def adapt(self, people: int, took_ms: float) -> None:
        """Set the limit: the slowest stage took ``took_ms`` for ``people``."""
        if took_ms <= 0:
            return
        fits = int(_FILLED * self._budget_ms * people / took_ms)
        fits = min(max(fits, 1), MAX_PERSONS)
        self._overfull = self._overfull + 1 if took_ms > _TOO_FULL * self._budget_ms else 0
        if fits > self._tracker.max_persons or self._overfull >= 2:
            self._tracker.max_persons, self._overfull = fits, 0
