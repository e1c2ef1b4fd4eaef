"""Who is who: what was found in a frame is shared out among the people who were known before it.

Everybody gets at most one of the people found and nobody is given to two, so that the sum of all likenesses is greatest: the
assignment problem (Kuhn 1955; scipy solves it). Several looks at one body count as one person found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from common.arrays import ImageArray
from realtime.stages.similarity import Appearance, appearance_of, oks
from realtime.stages.track import Sighting, Track

_ONE_PERSON = 0.5
"""Object keypoint similarity from which on two sightings are of one body."""
_TOLERANCE = 1.5
_UNSEEN = 0.5
"""What a look counts that the detector, asked, does not confirm: where people overlap it may be a bit of each."""
_MUCH = 1.5
_LEAST = 0.1  # likeness of a sighting that can be a person's


@dataclass(slots=True, eq=False)
class _Found:
    """One body in the frame, and all that was seen of it: by the looks of tracks, and by the detector."""

    own: dict[Track, Sighting] = field(default_factory=dict)
    detected: Sighting | None = None
    wears: Appearance | None = None

    @property
    def any(self) -> Sighting:
        return self.detected or next(iter(self.own.values()))

    def as_seen_by(self, track: Track, time_s: float) -> tuple[Sighting, float]:
        """The sighting that a track would take, and how likely it is the track's person: its own look, unless the detector's
        answer goes so much better with what was expected that the look must be a bit of two people."""
        own = self.own.get(track)
        look = own or self.any
        likeness = track.likeness(look, time_s, self.wears)
        if self.detected is None or self.detected is look:
            return look, likeness
        coarse = track.likeness(self.detected, time_s, self.wears)
        return (self.detected, coarse) if coarse > _MUCH * likeness else (look, likeness)


@dataclass(frozen=True, slots=True)
class Association:
    """Who was seen as what, and which of the detector's answers are nobody's."""

    seen: dict[Track, Sighting]
    unclaimed: list[Sighting]


def same_body(a: Sighting, b: Sighting) -> bool:
    """Whether two sightings in one frame are of one body."""
    return _alike(a, b) > _ONE_PERSON


def _alike(a: Sighting, b: Sighting) -> float:
    # By the smaller size: who stands far away is not one with the large person before him because his joints are near.
    return oks(a.points, a.confidence, b.points, b.confidence, min(a.scale, b.scale), _TOLERANCE)


def associate(
    tracks: Sequence[Track],
    own: Mapping[Track, Sighting],
    detected: Sequence[Sighting],
    image: ImageArray,
    time_s: float,
) -> Association:
    """Share out what was found in the BGR ``image``: ``own``, each track's look at where it expected the person, and what
    the detector ``detected``, where it was asked."""
    bodies = _group(own, detected)
    if len(tracks) == 1 and len(bodies) == 1 and own:  # the usual case, without any arithmetic
        return Association({tracks[0]: own[tracks[0]]}, [])
    for body in bodies if tracks else []:
        body.wears = appearance_of(image, body.any.points, body.any.confidence)
    options = [[body.as_seen_by(track, time_s) for body in bodies] for track in tracks]
    confirmed = [1.0 if body.detected or not detected else _UNSEEN for body in bodies]
    table = (
        np.array([[likeness for _, likeness in row] for row in options]).reshape(len(tracks), len(bodies)) * confirmed
    )
    seen: dict[Track, Sighting] = {}
    taken: set[int] = set()
    for row, column in _assign(table):
        if table[row, column] >= _LEAST:
            seen[tracks[row]] = options[row][column][0]
            taken.add(column)
    # Who moves so fast that nothing expected fits is where the own look found somebody, if that is nobody else.
    for column, body in enumerate(bodies):
        free = [track for track in body.own if track not in seen]
        if column not in taken and free:
            seen[free[0]] = body.own[free[0]]
            taken.add(column)
    nobodys = [body.detected for place, body in enumerate(bodies) if place not in taken and not body.own]
    return Association(seen, [sighting for sighting in nobodys if sighting is not None])


def _group(own: Mapping[Track, Sighting], detected: Sequence[Sighting]) -> list[_Found]:
    """The detector names everybody once; a look goes with the answer that it is most like, or with another look."""
    bodies = [_Found(detected=sighting) for sighting in detected]
    for track, sighting in own.items():
        alike = [_alike(sighting, body.any) for body in bodies]
        best = int(np.argmax(alike)) if alike else 0
        if not alike or alike[best] < _ONE_PERSON:
            bodies.append(_Found())
            best = -1
        bodies[best].own[track] = sighting
    return bodies


def _assign(table: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> list[tuple[int, int]]:
    """Rows and columns of the greatest sum, each at most once."""
    if not table.size:
        return []
    if 1 in table.shape:
        row, column = np.unravel_index(int(table.argmax()), table.shape)
        return [(int(row), int(column))]
    from scipy.optimize import linear_sum_assignment  # takes long to load, and one person alone never needs it

    rows, columns = linear_sum_assignment(table, maximize=True)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))
