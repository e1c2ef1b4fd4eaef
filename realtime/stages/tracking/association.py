"""Assigning the people found in a frame to the tracks that were known before it.

Each track gets at most one body and each body goes to at most one track, so that the sum of the similarities is greatest: the
assignment problem (Kuhn 1955). Sightings that lie on the same body are grouped first and count once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from common.arrays import DoubleArray, ImageArray
from realtime.stages.keypoints.similarity import Appearance, appearance_of, size_fit
from realtime.stages.tracking.track import MIN_SIMILARITY, Sighting, Track, sighting_similarity

_UNCONFIRMED = 0.5
"""Factor on the similarity of a track's own sighting where the detector ran and found nobody: where people overlap, such
keypoints may combine two of them."""
_BYSTANDER = 0.7
"""Factor on the similarity to a bystander. Bystanders are known by coarse detections alone, and must not take the sighting
of somebody who is followed."""
_CLEARLY_BETTER = 1.5  # ratio of likeness from which on the detection replaces the track's own sighting
_MIN_SIZE_FIT = 0.1  # reached at a third nearer or farther
_MIN_SIMILARITY = 0.1  # least similarity of a sighting that can be a person's
_MIN_OCCLUDED = 0.35
"""The same for somebody who is occluded: what is seen there is mostly one of the others, and whoever is not seen is expected
to walk on."""


@dataclass(slots=True, eq=False)
class _Body:
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

    def best_sighting_for(self, track: Track, time_s: float) -> tuple[Sighting, float]:
        """The sighting that ``track`` would take and its likeness: the track's own, or the detection if that is much more
        like what was expected, because then its own combines two people."""
        own = self.own.get(track)
        nearest = own or self.any
        likeness = track.likeness(nearest, time_s, self.appearance)
        if self.detected is None or self.detected is nearest:
            return nearest, likeness
        coarse = track.likeness(self.detected, time_s, self.appearance)
        return (self.detected, coarse) if coarse > _CLEARLY_BETTER * likeness else (nearest, likeness)


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
    options = [[body.best_sighting_for(track, time_s) for body in bodies] for track in tracks]
    confirmed = [1.0 if body.detected or not detected else _UNCONFIRMED for body in bodies]
    table = (
        np.array([[likeness for _, likeness in row] for row in options]).reshape(len(tracks), len(bodies)) * confirmed
    )
    table *= np.array([1.0 if track.followed else _BYSTANDER for track in tracks])[:, None]
    seen: dict[Track, Sighting] = {}
    taken: set[int] = set()
    for row, column in assign(table):
        least = _MIN_SIMILARITY if tracks[row].occluded_velocity is None else _MIN_OCCLUDED
        if table[row, column] >= least:
            seen[tracks[row]] = options[row][column][0]
            taken.add(column)
    # Where nothing is where it was expected, because the person moves fast, a track keeps its own sighting if no other track
    # took that and its size fits: somebody smaller in the region is another person.
    for column, body in enumerate(bodies):
        free = [
            track
            for track, sighting in body.own.items()
            if track not in seen
            and track.occluded_velocity is None
            and size_fit(track.scale, sighting.scale) > _MIN_SIZE_FIT
        ]
        if column not in taken and free:
            seen[free[0]] = body.own[free[0]]
            taken.add(column)
    # Detections in nobody's region, or only in those of people who are occluded or seen elsewhere, are newcomers.
    unassigned = [
        body.detected
        for place, body in enumerate(bodies)
        if place not in taken and all(track.occluded_velocity is not None or track in seen for track in body.own)
    ]
    return Association(seen, [sighting for sighting in unassigned if sighting is not None])


def _group(own: Mapping[Track, Sighting], detected: Sequence[Sighting]) -> list[_Body]:
    """Group sightings by body: the detector reports everybody once, and a track's own sighting joins the most similar group, or
    begins a new one."""
    bodies = [_Body(detected=sighting) for sighting in detected]
    for track, sighting in own.items():
        likeness = [sighting_similarity(sighting, body.any) for body in bodies]
        best = int(np.argmax(likeness)) if likeness else 0
        if not likeness or likeness[best] < MIN_SIMILARITY:
            bodies.append(_Body())
            best = -1
        bodies[best].own[track] = sighting
    return bodies


def assign(likeness: DoubleArray) -> list[tuple[int, int]]:
    """The rows and columns of the table ``likeness`` (R, C) whose sum is greatest, each row and each column at most once; as
    many pairs as the shorter side.

    By shortest augmenting paths (Jonker & Volgenant 1987). SciPy has the same, but would be loaded in the middle of a
    run, which stops the keypoints meanwhile. Lists of numbers: for the few people of an image arrays would take longer.
    """
    rows, columns = likeness.shape
    if rows > columns:
        return [(row, column) for column, row in assign(likeness.T)]
    costs = (-likeness).tolist()
    row_price, column_price = [0.0] * rows, [0.0] * columns
    row_of = [-1] * columns  # the row that has each column; -1: none
    for new in range(rows):
        # Dijkstra's search for the cheapest chain of changes that gives the new row a column.
        distance, before = [math.inf] * columns, [-1] * columns
        left, reached = set(range(columns)), []
        row, column, nearest = new, -1, 0.0
        while row >= 0:
            for other in left:
                through = nearest + costs[row][other] - row_price[row] - column_price[other]
                if through < distance[other]:
                    distance[other], before[other] = through, column
            column = min(left, key=distance.__getitem__)
            nearest, row = distance[column], row_of[column]
            left.remove(column)
            reached.append(column)
        row_price[new] += nearest
        for other in reached[:-1]:
            row_price[row_of[other]] += nearest - distance[other]
            column_price[other] -= nearest - distance[other]
        while column >= 0:
            row_of[column] = row_of[before[column]] if before[column] >= 0 else new
            column = before[column]
    return [(row, column) for column, row in enumerate(row_of) if row >= 0]
