"""Following people from frame to frame: the next region comes from the last keypoints, the detector finds who is new."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from common.arrays import FloatArray, ImageArray
from realtime.records import Box, Frame, Keypoints
from realtime.stages.keypoints import MoveNet, PersonDetector, search_regions
from realtime.stages.region_limits import (
    FACE,
    HEAD_ROOM,
    LEAST_PX,
    MARGIN,
    MOST,
    SHOULDER_ROOM,
    SHOULDERS,
    SHRINK,
    TORSO,
    TORSO_ROOM,
    VISIBLE,
)

_UPPER = [0, 1, 2, 3, 4, 5, 6]  # face and shoulders
_KEEP, _ACCEPT = 0.38, 0.42
"""Least mean confidence of the six surest keypoints to stay on a person, and to believe a new one. Lightning reaches 0.29
(99th percentile) in empty rooms, at most 0.40 on people who have gone behind something, and 0.44 and more on the hardest
person of the clips that were looked at."""
_KEEP_HEAD, _ACCEPT_HEAD = 0.22, 0.30  # the same of the three surest of face and shoulders
_SEARCH_EVERY_S = 0.1  # while somebody is followed: looking for others costs nearly as much as following one more
_REMEMBER_S = 1.5  # somebody found near where a person was seen so long ago is the same person
_STRAY = (0.2, 0.4)  # near: region sizes that people may be off at once, and how many more a second


@dataclass(slots=True)
class _Track:
    person: int
    box: Box  # to look at next
    seen: Box  # where the person was seen last
    last_seen_s: float
    misses: int = 0

    def found(self, box: Box, time_s: float) -> None:
        """The person was seen and belongs into ``box``."""
        self.box, self.seen, self.last_seen_s, self.misses = box, box, time_s, 0

    def may_be_in(self, box: Box, time_s: float) -> bool:
        """Whether somebody found in ``box`` can be this person, who was out of sight meanwhile."""
        return _same_place(box, self.seen, _STRAY[0] + _STRAY[1] * (time_s - self.last_seen_s))


def mean_confidence(confidence: FloatArray) -> float:
    """Mean confidence of the six surest keypoints: a half-visible person counts, a coat on a chair does not."""
    return float(np.sort(confidence)[-6:].mean())


def has_head(confidence: FloatArray, least: float) -> bool:
    """Whether face or shoulders are there: table legs look like shins to the network, but nothing looks like a head."""
    return float(np.sort(confidence[_UPPER])[-3:].mean()) >= least


def region_of(
    points: FloatArray, confidence: FloatArray, width: int, height: int, last: Box | None = None
) -> Box | None:
    """The square region to look at next, from keypoints (17, 2) px and the ``last`` region; None where too few are seen."""
    seen = confidence > VISIBLE
    if seen.sum() < 3:
        return None
    low, high = points[seen].min(0), points[seen].max(0)
    # The detector names points of cut-off limbs just beyond the picture; a region out there shows nothing.
    low, high = np.maximum(low, 0), np.minimum(high, [width - 1, height - 1])
    centre = (low + high) / 2
    size = float((high - low).max()) * MARGIN
    torso = points[TORSO][seen[TORSO]]
    if len(torso) >= 3:  # limbs that are not seen yet may reach this far
        size = max(size, TORSO_ROOM * float(np.ptp(torso, axis=0).max()))
    if seen[SHOULDERS].all():
        size = max(size, SHOULDER_ROOM * float(np.linalg.norm(points[5] - points[6])))
    face = points[FACE][seen[FACE]]
    if len(face) >= 3:  # whatever hides the rest: a body of this head's size goes with it
        head = float(np.ptp(face, axis=0).max())
        size = max(size, HEAD_ROOM * head)
        if len(torso) < 2:
            centre = centre + np.array([0.0, 1.5 * head])
    if last is not None:
        size = max(size, SHRINK * last.size)
    size = max(size, LEAST_PX)
    return Box(float(centre[0]), float(centre[1]), min(size, MOST * max(width, height)))


class Tracker:
    """Finds and follows up to ``most`` people. Used by the keypoint thread.

    Args:
        movenet, detector: the networks.
        most: people followed at the same time.
        thorough: search all tiles in every frame while nobody is followed (files: no frame is left without an answer);
            otherwise one tile a frame, in turn.
    """

    def __init__(self, movenet: MoveNet, detector: PersonDetector, most: int = 1, thorough: bool = True) -> None:
        self._movenet, self._detector = movenet, detector
        self._most, self._thorough = most, thorough
        self._tracks: list[_Track] = []
        self._lost: list[_Track] = []
        self._next_person = 0
        self._tile = 0
        self._searched_s = -math.inf

    @property
    def boxes(self) -> list[tuple[int, Box]]:
        """Person and region of everybody who is followed: where the next frame will be looked at."""
        return [(track.person, track.box) for track in self._tracks]

    def update(self, frame: Frame) -> list[Keypoints]:
        """Keypoints of everybody in ``frame``; empty where nobody is seen."""
        image = frame.image
        height, width = image.shape[:2]
        found: list[Keypoints] = []
        for track in list(self._tracks):
            points, confidence = self._movenet(image, track.box)
            box = region_of(points, confidence, width, height, track.box)
            sure = mean_confidence(confidence) >= _KEEP and has_head(confidence, _KEEP_HEAD)
            # A region that was widened for one who is out of sight may hold somebody else.
            mine = box is not None and (not track.misses or track.may_be_in(box, frame.time_s))
            if box is None or not sure or not mine or self._taken(box, track):
                track.misses += 1
                if track.misses > 4:
                    self._lose(track)
                else:  # look a little wider at the same place
                    track.box = Box(track.box.x, track.box.y, min(track.box.size * 1.15, MOST * max(width, height)))
                continue
            track.found(box, frame.time_s)
            found.append(Keypoints(frame.sequence, track.person, points, confidence))
        idle = not self._tracks or not 0 <= frame.time_s - self._searched_s < _SEARCH_EVERY_S
        if len(self._tracks) < self._most and idle:
            self._searched_s = frame.time_s
            self._search(frame, image, found)
        return found

    def _lose(self, track: _Track) -> None:
        self._tracks.remove(track)
        self._lost.append(track)

    def _taken(self, box: Box, mine: _Track) -> bool:
        """Two tracks on one person: the older one keeps it."""
        older = self._tracks[: self._tracks.index(mine)]
        return any(_same_place(box, other.box, 0.25) for other in older)

    def _search(self, frame: Frame, image: ImageArray, found: list[Keypoints]) -> None:
        height, width = image.shape[:2]
        regions = list(search_regions(width, height))
        if not self._thorough or self._tracks:
            regions = [regions[self._tile % len(regions)]]
            self._tile += 1
        for region in regions:
            for box, _ in self._detector(image, region):
                if len(self._tracks) >= self._most:
                    return
                if any(_same_place(box, track.box, 0.35) for track in self._tracks):
                    continue
                keypoints = self._acquire(frame, box, width, height)
                if keypoints is not None:
                    found.append(keypoints)

    def _acquire(self, frame: Frame, box: Box, width: int, height: int) -> Keypoints | None:
        """Look twice at a detection: the second region comes from the first look's keypoints."""
        for _ in range(2):
            points, confidence = self._movenet(frame.image, box)
            closer = region_of(points, confidence, width, height)
            if closer is None:
                return None
            box = closer
        believed = mean_confidence(confidence) >= _ACCEPT and has_head(confidence, _ACCEPT_HEAD)
        if not believed or any(_same_place(box, track.box, 0.25) for track in self._tracks):
            return None
        track = self._recall(box, frame.time_s)
        self._tracks.append(track)
        return Keypoints(frame.sequence, track.person, points, confidence)

    def _recall(self, box: Box, time_s: float) -> _Track:
        self._lost = [track for track in self._lost if time_s - track.last_seen_s < _REMEMBER_S]
        for track in self._lost:
            if track.may_be_in(box, time_s):
                self._lost.remove(track)
                track.found(box, time_s)
                return track
        person, self._next_person = self._next_person, self._next_person + 1
        return _Track(person, box, box, time_s)


def _same_place(a: Box, b: Box, share: float) -> bool:
    size = max(a.size, b.size)
    return abs(a.x - b.x) < share * size and abs(a.y - b.y) < share * size and min(a.size, b.size) > 0.4 * size
