"""Recognising people who come back: by where they were expected, size and clothes."""

from __future__ import annotations

from collections.abc import Iterable

from realtime.stages.keypoints.similarity import Appearance, size_fit
from realtime.stages.tracking.track import Sighting, Track

_SAME_PLACE_S = 1.5  # time in which somebody found near a lost person's last place is taken for that person
_SAME_CLOTHES, _OTHER_CLOTHES = 0.9, 0.6
_SAME_SIZE = 0.25
_REACH_M, _REACH_M_S = 0.3, 0.5
"""Metres from where an occluded person is expected at which they may come out, and what each second adds."""
_ALIKE_SIZE, _HALF_SEEN_CLOTHES = 0.6, 0.4
"""Who is as large and comes out right there is that person, though part of the clothes is still hidden."""


def who_returns(
    gone: Iterable[Track], sighting: Sighting, appearance: Appearance, time_s: float, since_s: float
) -> Track | None:
    """The one of the people ``gone``, lost or occluded, whom a newcomer matches by place or clothes; None if nobody.

    Somebody last seen after ``since_s``, when the newcomer was seen first, is another person.
    """
    best, most = None, 0.0
    for track in gone:
        if since_s < track.last_seen_s:
            continue
        clothes = track.appearance.likeness(appearance)
        if _is_near(track, sighting, time_s) and (clothes is None or clothes > _least_clothes(track, sighting, time_s)):
            likeness = 1 + (clothes or 0)
        else:
            likeness = clothes if clothes is not None and clothes > _SAME_CLOTHES else 0
        if likeness > most:
            best, most = track, likeness
    return best


def _is_near(track: Track, sighting: Sighting, time_s: float) -> bool:
    """Whether a sighting is where the person may be by now."""
    gone_s = time_s - track.last_seen_s
    if track.is_occluded and track.metres_from(sighting, time_s) > _REACH_M + _REACH_M_S * gone_s:
        return False
    near = gone_s < _SAME_PLACE_S and track.may_be_in(sighting.box, time_s)
    return near and size_fit(track.scale, sighting.scale) > _SAME_SIZE


def _least_clothes(track: Track, sighting: Sighting, time_s: float) -> float:
    """Likeness of clothes from which on somebody near is the same person."""
    alike = size_fit(track.scale, sighting.scale) > _ALIKE_SIZE
    right_there = track.is_occluded and track.metres_from(sighting, time_s) < _REACH_M
    return _HALF_SEEN_CLOTHES if alike and right_there else _OTHER_CLOTHES
