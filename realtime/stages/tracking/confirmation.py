"""Which newcomers are believed: where people overlap, the detector sometimes combines two of them into a third one."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from realtime.records import Box
from realtime.stages.keypoints.masking import Outline
from realtime.stages.keypoints.similarity import COMPARABLE
from realtime.stages.tracking.overlaps import overlapping
from realtime.stages.tracking.regions import mean_confidence
from realtime.stages.tracking.track import Sighting, same_body, sighting_similarity

_CONFIRM_S = 0.3  # the longest time between two sightings of a newcomer
_RECHECK_S = 0.12  # time in which the detector searches again where a newcomer was seen once
_FASTEST_M_S = 3.0  # how fast somebody moves between these two sightings at most
_SURE_CONFIDENCE, _SURE_SIMILARITY = 0.6, 0.65
"""Least mean confidence of MoveNet's keypoints of a newcomer, and least object keypoint similarity with the detector's, from
which on one sighting is enough."""


class Confirmation:
    """Remembers newcomers who were seen once. Used by one thread."""

    def __init__(self) -> None:
        self._unsure: list[tuple[float, Sighting, Sighting]] = []

    def clear(self) -> None:
        """Forget everybody, where a new scene begins."""
        self._unsure.clear()

    def regions(self, time_s: float) -> list[Box]:
        """Where the detector searches again at ``time_s``, image pixels."""
        return [coarse.box for then_s, _, coarse in self._unsure if 0 < time_s - then_s <= _RECHECK_S]

    def remember(self, sighting: Sighting, coarse: Sighting, time_s: float) -> None:
        """Keep somebody who was seen at ``time_s``, in case they are seen again."""
        self._unsure = [one for one in self._unsure if 0 <= time_s - one[0] <= _CONFIRM_S]
        self._unsure.append((time_s, sighting, coarse))

    def accept(self, sighting: Sighting, coarse: Sighting, known: Iterable[Outline], time_s: float) -> bool:
        """Whether a newcomer at ``time_s`` is believed, else remembered.

        Believed is who stands apart from the people ``known`` before; whom MoveNet sees with confidence where the detector's
        ``coarse`` sighting was, while the people known are blurred; and who was found twice in one pose, which rarely
        happens to a combination of two people.
        """
        self._unsure = [one for one in self._unsure if 0 <= time_s - one[0] <= _CONFIRM_S]
        if not overlapping(sighting.outline, known) or _agree(sighting, coarse):
            return True
        for then_s, fine_then, coarse_then in self._unsure:
            gone_s = time_s - then_s
            if gone_s > 0 and (_walked_on(fine_then, sighting, gone_s) or _walked_on(coarse_then, coarse, gone_s)):
                return True
        self.remember(sighting, coarse, time_s)
        return False


def _walked_on(earlier: Sighting, now: Sighting, seconds: float) -> bool:
    """Whether two sightings so far apart in time are of one body that kept its pose and moved no faster than people do."""
    common = (earlier.confidence > COMPARABLE) & (now.confidence > COMPARABLE)
    if not common.any():
        return False
    moved = np.asarray(np.median((now.points - earlier.points)[common], axis=0), np.float32)
    farthest = _FASTEST_M_S * seconds * max(now.scale, earlier.scale)
    return float(np.linalg.norm(moved)) <= farthest and same_body(earlier.shifted(moved), now)


def _agree(sighting: Sighting, coarse: Sighting) -> bool:
    """Whether MoveNet is confident of the person that the detector found."""
    sure = sighting.fine and mean_confidence(sighting.confidence) >= _SURE_CONFIDENCE
    return sure and sighting_similarity(sighting, coarse) > _SURE_SIMILARITY
