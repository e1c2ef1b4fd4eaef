"""Assigning the people found in a frame to the tracks that were known before it.

Each track gets at most one body and each body goes to at most one track, so that the sum of the similarities is greatest: the
assignment problem (Kuhn 1955; scipy solves it). Sightings that lie on the same body are grouped first and count once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from common.arrays import ImageArray
from realtime.stages.keypoints.similarity import Appearance, appearance_of, size_fit
from realtime.stages.tracking.track import ONE_PERSON, Sighting, Track, alike

_UNSEEN = 0.5
"""Factor on the similarity of a track's own sighting that the detector, where it ran, does not confirm: where people overlap,
such keypoints may mix two of them."""
_BYSTANDER = 0.7
"""Factor on the likeness of a bystander, who is known by the detector's coarse sightings alone: two bystanders may be one
person, and none may take the body of somebody who is followed and seen as expected."""
_MUCH = 1.5
_AS_LARGE = 0.1  # a third nearer or farther within a few frames
_LEAST = 0.1  # least similarity of a sighting that can be a person's


@dataclass(slots=True, eq=False)
class _Found:
    """One body in the frame with all its sightings: by tracks in their own regions, and by the detector."""

    own: dict[Track, Sighting] = field(default_factory=dict)
    """Sightings by tracks in their own regions."""
    detected: Sighting | None = None
    """The person detector's sighting; None where it reported nobody here."""
    appearance: Appearance | None = None
    """The clothes that are seen; None where they were not compared."""

    @property
    def any(self) -> Sighting:
        return self.detected or next(iter(self.own.values()))

    def as_seen_by(self, track: Track, time_s: float) -> tuple[Sighting, float]:
        """The sighting that a track would take, and how likely it is the track's person: its own, unless the detector's
        fits what was expected so much better that its own must be a mixture of two people."""
        own = self.own.get(track)
        nearest = own or self.any
        likeness = track.likeness(nearest, time_s, self.appearance)
        if self.detected is None or self.detected is nearest:
            return nearest, likeness
        coarse = track.likeness(self.detected, time_s, self.appearance)
        return (self.detected, coarse) if coarse > _MUCH * likeness else (nearest, likeness)


@dataclass(frozen=True, slots=True)
class Association:
    """Whose sightings are whose."""

    seen: dict[Track, Sighting]
    """The sighting of each track that has one."""
    unclaimed: list[Sighting]
    """The detector's sightings that belong to no track."""


def associate(
    tracks: Sequence[Track],
    own: Mapping[Track, Sighting],
    detected: Sequence[Sighting],
    image: ImageArray,
    time_s: float,
) -> Association:
    """Assign the sightings in the BGR ``image`` to ``tracks``: ``own``, what each track found where it expected its person, and
    ``detected``, what the person detector found where it was asked."""
    bodies = _group(own, detected)
    if len(tracks) == 1 and len(bodies) == 1 and own:  # the usual case needs no arithmetic
        return Association({tracks[0]: own[tracks[0]]}, [])
    for body in bodies if tracks else []:
        body.appearance = appearance_of(image, body.any.points, body.any.confidence)
    options = [[body.as_seen_by(track, time_s) for body in bodies] for track in tracks]
    confirmed = [1.0 if body.detected or not detected else _UNSEEN for body in bodies]
    table = (
        np.array([[likeness for _, likeness in row] for row in options]).reshape(len(tracks), len(bodies)) * confirmed
    )
    table *= np.array([1.0 if track.followed else _BYSTANDER for track in tracks])[:, None]
    seen: dict[Track, Sighting] = {}
    taken: set[int] = set()
    for row, column in _assign(table):
        if table[row, column] >= _LEAST:
            seen[tracks[row]] = options[row][column][0]
            taken.add(column)
    # A person who moves so fast that nothing fits the expectation is what the track itself found, if no other track took it and
    # it is as large: a farther person in the region is somebody else.
    for column, body in enumerate(bodies):
        free = [
            track
            for track, sighting in body.own.items()
            if track not in seen and track.pace is None and size_fit(track.scale, sighting.scale) > _AS_LARGE
        ]
        if column not in taken and free:
            seen[free[0]] = body.own[free[0]]
            taken.add(column)
    # What somebody hidden was taken for, and is not, is most likely a newcomer.
    nobodys = [
        body.detected
        for place, body in enumerate(bodies)
        if place not in taken and all(track.pace is not None for track in body.own)
    ]
    return Association(seen, [sighting for sighting in nobodys if sighting is not None])


def _group(own: Mapping[Track, Sighting], detected: Sequence[Sighting]) -> list[_Found]:
    """Group sightings by body: the detector reports everybody once, and a track's own sighting joins the most similar group, or
    begins a new one."""
    bodies = [_Found(detected=sighting) for sighting in detected]
    for track, sighting in own.items():
        likeness = [alike(sighting, body.any) for body in bodies]
        best = int(np.argmax(likeness)) if likeness else 0
        if not likeness or likeness[best] < ONE_PERSON:
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
    from scipy.optimize import linear_sum_assignment  # takes long to load, and a single person never needs it

    rows, columns = linear_sum_assignment(table, maximize=True)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))
