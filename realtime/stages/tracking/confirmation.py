"""Which newcomers are believed: where people overlap, the detector sometimes combines two of them into a third one."""

from __future__ import annotations

from collections.abc import Iterable

from realtime.records import Box
from realtime.stages.keypoints.masking import Outline
from realtime.stages.tracking.overlaps import overlapping
from realtime.stages.tracking.regions import mean_confidence
from realtime.stages.tracking.track import Sighting, same_body, sighting_similarity

_CONFIRM_S = 0.3  # the longest time between two sightings of a newcomer
_RECHECK_S = 0.12  # time in which the detector searches again where a newcomer was seen once
_SURE_CONFIDENCE, _SURE_SIMILARITY = 0.6, 0.65
"""Least mean confidence of MoveNet's keypoints of a newcomer, and least object keypoint similarity with the detector's, from
which on one sighting is enough."""


class Confirmation:
    """Remembers newcomers who were seen once. Used by one thread."""

    def __init__(self) -> None:
        self._unsure: list[tuple[float, Sighting]] = []

    def clear(self) -> None:
        """Forget everybody, where a new scene begins."""
        self._unsure.clear()

    def regions(self, time_s: float) -> list[Box]:
        """Where the detector searches again at ``time_s``, image pixels."""
        return [one.box for then_s, one in self._unsure if 0 < time_s - then_s <= _RECHECK_S]

    def accept(self, sighting: Sighting, coarse: Sighting, known: Iterable[Outline], time_s: float) -> bool:
        """Whether a newcomer at ``time_s`` is believed, else remembered.

        Believed is who stands apart from the people ``known`` before; whom MoveNet sees with confidence where the detector's
        ``coarse`` sighting was, while the people known are blurred; and who was found twice in the same place, which rarely
        happens to a combination of two people.
        """
        self._unsure = [one for one in self._unsure if 0 <= time_s - one[0] <= _CONFIRM_S]
        if not overlapping(sighting.outline, known) or _agree(sighting, coarse):
            return True
        if any(then_s < time_s and same_body(sighting, one) for then_s, one in self._unsure):
            return True
        self._unsure.append((time_s, sighting))
        return False


def _agree(sighting: Sighting, coarse: Sighting) -> bool:
    """Whether MoveNet is confident of the person that the detector found."""
    sure = sighting.fine and mean_confidence(sighting.confidence) >= _SURE_CONFIDENCE
    return sure and sighting_similarity(sighting, coarse) > _SURE_SIMILARITY
