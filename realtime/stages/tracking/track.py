"""The state of one tracked person: the last sighting, and where the person is expected next."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import is_
from typing import NamedTuple

import numpy as np

from common.arrays import FloatArray, ImageArray
from realtime.records import Box
from realtime.stages.keypoints.masking import Outline
from realtime.stages.keypoints.similarity import COMPARABLE, Appearance, oks, pixels_per_metre, plain, size_fit
from realtime.stages.tracking.kernels import mean_move
from realtime.stages.tracking.legs import Legs
from realtime.stages.tracking.regions import same_place

BYSTANDER = -1
"""The ``person`` number of people who are not followed. They are tracked, so that nobody is mistaken for them."""
MAX_MISSES = 4
"""Consecutive frames without a sighting after which a person counts as lost or occluded."""
_SEARCH_RADIUS = 0.2, 0.4
"""Distance from the last region at which a person may reappear, in region sizes: at once, and added for each second."""
_GRAVITY, _LONGEST_FALL_S = 9.81, 1.0
"""m/s² and seconds: whoever was not seen while they jumped or fell is as far away as a fall takes them."""
_BODY = np.array([0, 5, 6, 11, 12], np.intp)  # the head and the trunk move as the person does; limbs do not
_DECAY_S = 0.15  # time constant with which the expected velocity decays
_MAX_GAP_S = 0.5
_OCCLUDED_DECAY_S = 1.0  # the same for occluded people, who mostly walk on
_VELOCITY_SPAN_S = 0.1  # least time between two sightings from which a velocity is taken
_DEAD_ZONE = 0.06
"""Share of the region's size: a smaller expected displacement does not move the region."""
MIN_SIMILARITY = 0.5
"""Object keypoint similarity from which on two sightings are of one body."""
_TOLERANCE = 1.5
_HISTORY = 12  # sightings kept: longer than the detector takes to answer
_MAX_TILT = 1.05  # radians between trunk and vertical beyond which the crop is turned


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """Keypoints found in a frame that may belong to a track."""

    points: FloatArray
    """float32 (17, 2), COCO order, image pixels."""
    confidence: FloatArray
    """float32 (17,), confidences, 0..1."""
    box: Box
    """The region around them, image pixels: where to search in the next frame."""
    scale: float
    """Size of the person in the image, pixels per metre."""
    turn: int = 0
    """Quarter turns of the crop that they were found in."""
    fine: bool = True
    """False for the person detector's coarse keypoints."""

    @property
    def outline(self) -> Outline:
        """Keypoints and confidences alone."""
        return Outline(self.points, self.confidence)

    def shifted(self, offset: FloatArray) -> Sighting:
        """The same sighting, moved by ``offset`` (2,) px."""
        x, y = offset.tolist()
        return replace(self, points=self.points + offset, box=Box(self.box.x + x, self.box.y + y, self.box.size))


class _PastSighting(NamedTuple):
    """One sighting of a track."""

    time_s: float
    """Time of the sighting, seconds of the source."""
    outline: Outline
    """The keypoints."""
    velocity: FloatArray
    """float32 (2,) of the person at that time, px/s."""


@dataclass(slots=True, eq=False)
class Track:
    """One person who is followed from frame to frame."""

    person: int
    """The person's number, or `BYSTANDER`."""
    points: FloatArray
    """float32 (17, 2) last sighting's keypoints, COCO order, image pixels."""
    confidence: FloatArray
    """float32 (17,) theirs, 0..1."""
    box: Box
    """The region to search next, image pixels."""
    seen: Box
    """The region of the last sighting, image pixels."""
    last_seen_s: float
    """Time of the last sighting, seconds of the source."""
    scale: float
    """Size of the person in the image, pixels per metre, smoothed over sightings."""
    misses: int = 0
    """Frames since the last sighting."""
    turn: int = 0
    """Quarter turns of the crop in which the person stands upright."""
    velocity: FloatArray = field(default_factory=lambda: np.zeros(2, np.float32))
    """float32 (2,) smoothed, px/s."""
    appearance: Appearance = field(default_factory=Appearance)
    """Colours of the person's clothes."""
    appearance_s: float = -np.inf
    """When the appearance was updated last, seconds of the source."""
    since_s: float = 0.0
    """When the person was seen first, seconds of the source."""
    is_doubtful: bool = False
    """Whether the last frame's sighting was doubtful."""
    occluded_s: float = -np.inf
    """When somebody last stood in front of the person, seconds of the source."""
    occluded_velocity: FloatArray | None = None
    """Velocity (2,) px/s that an occluded person is expected to keep; None while seen."""
    legs: Legs = field(default_factory=Legs)
    """Tells the left leg from the right one."""
    shown: Outline = field(default_factory=lambda: Outline(np.zeros((17, 2), np.float32), np.zeros(17, np.float32)))
    """``points`` and ``confidence`` with the legs told apart: what is passed on. People are told apart by the former, because
    somebody else's legs, mistaken for this person's for a frame, are no reason to exchange any."""
    _foreseen: tuple[tuple[object, ...], Outline] | None = None
    """What `expected` answered last, and from what."""
    history: deque[_PastSighting] = field(default_factory=lambda: deque(maxlen=_HISTORY))
    """The last sightings, for late answers of the detector."""

    @classmethod
    def begin(cls, person: int, sighting: Sighting, time_s: float) -> Track:
        """A new track of ``person``, from its first sighting."""
        at = sighting
        new = cls(person, at.points, at.confidence, at.box, at.box, time_s, at.scale, turn=at.turn, since_s=time_s)
        new.shown = Outline(*new.legs.sort(at.points, at.confidence, at.scale, time_s))
        new._remember()
        return new

    @property
    def followed(self) -> bool:
        """Whether this person's body is estimated, as opposed to a bystander's."""
        return self.person != BYSTANDER

    @property
    def is_occluded(self) -> bool:
        """Whether the person has not been seen for several frames because somebody stands in front."""
        return self.occluded_velocity is not None and self.misses > MAX_MISSES

    def update(self, sighting: Sighting, time_s: float) -> None:
        """Update the track with the person's sighting at ``time_s``."""
        dt = time_s - self.last_seen_s
        before, now = (plain(self.points), plain(self.confidence)), (plain(sighting.points), plain(sighting.confidence))
        moved = np.empty(2, np.float32)
        if mean_move(*before, *now, _BODY, COMPARABLE, moved) and 0 < dt < _MAX_GAP_S:
            self.velocity = np.asarray(0.5 * self.velocity + 0.5 * (moved / np.float32(dt)), np.float32)
        else:
            self.velocity = np.zeros(2, np.float32)
        # A bone that points at the camera looks short, so the size changes slowly, and slower downwards than upwards.
        self.scale *= min(max(sighting.scale / self.scale, 0.97), 1.06) if sighting.fine else 1.0
        if sighting.turn != self.turn:  # somebody who turns over has legs where they are not expected
            self.legs = Legs()
        self.points, self.confidence = sighting.points, sighting.confidence
        self.shown = Outline(*self.legs.sort(self.points, self.confidence, self.scale, time_s))
        self.box = self.seen = sighting.box
        self.last_seen_s, self.misses, self.occluded_velocity = time_s, 0, None
        self.turn = _upright_turn(sighting) if sighting.turn or self.turn else 0
        self._remember()

    def _remember(self) -> None:
        self.history.append(_PastSighting(self.last_seen_s, Outline(self.points, self.confidence), self.velocity))

    def displacement_since(self, time_s: float, now_s: float) -> tuple[Outline, FloatArray]:
        """Keypoints at an earlier ``time_s``, and the displacement (2,) px expected from then until ``now_s``."""
        moment = next((one for one in reversed(self.history) if one.time_s <= time_s), self.history[0])
        before = _decayed_displacement(moment.velocity, time_s - moment.time_s)
        outline = Outline(moment.outline.points + before, moment.outline.confidence)
        return outline, _decayed_displacement(moment.velocity, now_s - moment.time_s) - before

    def reactivate(self, sighting: Sighting, time_s: float) -> None:
        """Continue the track of a lost person: velocity and size are reset by ``sighting``."""
        self.velocity = np.zeros(2, np.float32)
        self.scale, self.last_seen_s = sighting.scale, time_s
        self.update(sighting, time_s)

    def update_appearance(self, image: ImageArray, time_s: float) -> None:
        """Update the appearance from the BGR ``image`` at the last sighting."""
        self.appearance_s = time_s
        self.appearance.add(image, self.points, self.confidence)

    def mark_occluded(self, time_s: float) -> None:
        """Expect a person who is not seen, because somebody stands in front, to walk on."""
        self.occluded_s = time_s
        if self.occluded_velocity is None:
            self.occluded_velocity = _trunk_velocity(self.history)

    def displacement(self, time_s: float) -> FloatArray:
        """Expected displacement (2,) px since the last sighting; the velocity decays."""
        if self.occluded_velocity is not None:
            gone = max(time_s - self.last_seen_s, 0.0)
            return np.asarray(
                self.occluded_velocity * np.float32(_OCCLUDED_DECAY_S * (1 - np.exp(-gone / _OCCLUDED_DECAY_S))),
                np.float32,
            )
        return _decayed_displacement(self.velocity, time_s - self.last_seen_s)

    def expected(self, time_s: float) -> Outline:
        """Expected keypoints at ``time_s``."""
        state = time_s, self.last_seen_s, self.points, self.confidence, self.velocity, self.occluded_velocity
        # It is asked for several times a frame. Arrays are compared by identity: each sighting brings new ones.
        if self._foreseen is None or not all(map(is_, state, self._foreseen[0])):
            self._foreseen = state, Outline(self.points + self.displacement(time_s), self.confidence)
        return self._foreseen[1]

    def region(self, time_s: float) -> Box:
        """Region to search at ``time_s``: ``box``, moved along if the person moves fast."""
        x, y = self.displacement(time_s).tolist()
        if max(abs(x), abs(y)) < _DEAD_ZONE * self.box.size:
            return self.box
        return Box(self.box.x + x, self.box.y + y, self.box.size)

    def fit(self, sighting: Sighting, time_s: float) -> float:
        """How well a sighting's keypoints lie on the expected ones, 0..1; the tolerance grows with the time since
        the last sighting."""
        expected = self.expected(time_s)
        tolerance = 2.0 + 4.0 * min(max(time_s - self.last_seen_s - 0.05, 0), 1.0)
        scale = max(self.scale, sighting.scale)
        return oks(*expected, sighting.points, sighting.confidence, scale, tolerance)

    def metres_from(self, sighting: Sighting, time_s: float) -> float:
        """Distance of a sighting's head and trunk from the expected ones, metres at the person's depth; infinite where no
        keypoint of these is seen in both."""
        before, now = self.expected(time_s), sighting.outline
        moved = np.empty(2, np.float32)
        seen = mean_move(
            plain(before.points),
            plain(before.confidence),
            plain(now.points),
            plain(now.confidence),
            _BODY,
            COMPARABLE,
            moved,
        )
        return float(np.linalg.norm(moved)) / self.scale if seen else math.inf

    def overlap(self, sighting: Sighting, time_s: float) -> float:
        """Similarity of a sighting to this person by place and size, 0..1. Distances are relative to the smaller of the two,
        so that a small person far away is not taken for the large one nearby."""
        scale = min(self.scale, sighting.scale)
        place = oks(*self.expected(time_s), sighting.points, sighting.confidence, scale, _TOLERANCE)
        size: float = size_fit(self.scale, sighting.scale) ** 0.7
        return place * size

    def likeness(self, sighting: Sighting, time_s: float, appearance: Appearance | None) -> float:
        """Similarity of a sighting to this person by place, size and clothes, 0..1. Place separates people who stand apart;
        size and clothes separate those who overlap."""
        clothes = self.appearance.likeness(appearance) if appearance is not None else None
        size: float = size_fit(self.scale, sighting.scale) ** 0.7
        # Different clothes share about a third of their colours by chance, which is little once squared.
        return self.fit(sighting, time_s) * size * (max(clothes, 0.1) ** 2 if clothes is not None else 0.7)

    def may_be_in(self, box: Box, time_s: float) -> bool:
        """Whether somebody found in ``box`` can be this person, given how long nothing was seen."""
        x, y = self.displacement(time_s).tolist() if self.occluded_velocity is not None else (0.0, 0.0)
        seen = Box(self.seen.x + x, self.seen.y + y, self.seen.size)
        gone_s = time_s - self.last_seen_s
        fallen_px = 0.5 * _GRAVITY * min(gone_s, _LONGEST_FALL_S) ** 2 * self.scale
        return same_place(box, seen, _SEARCH_RADIUS[0] + _SEARCH_RADIUS[1] * gone_s + fallen_px / seen.size)


def _trunk_velocity(past: Sequence[_PastSighting]) -> FloatArray:
    """Velocity of the trunk (2,) px/s: the median over pairs of sightings, because the last ones, before an occlusion, may
    lie on the person in front."""
    places = np.array([one.outline.points[_BODY].mean(0) for one in past])
    times = np.array([one.time_s for one in past])
    earlier, later = np.triu_indices(len(past), 1)
    apart = times[later] - times[earlier]
    far = apart >= _VELOCITY_SPAN_S
    if not far.any():
        return np.zeros(2, np.float32)
    steps = (places[later] - places[earlier])[far] / apart[far, None]
    return np.asarray(np.median(steps, axis=0), np.float32)


def _decayed_displacement(velocity: FloatArray, seconds: float) -> FloatArray:
    """Displacement (2,) px after ``seconds`` at a decaying ``velocity`` (2,) px/s."""
    gone = min(max(seconds, 0.0), _MAX_GAP_S)
    return np.asarray(velocity * np.float32(_DECAY_S * -math.expm1(-gone / _DECAY_S)), np.float32)


def sighting_similarity(a: Sighting, b: Sighting) -> float:
    """Similarity of two sightings in one frame, 0..1."""
    # By the smaller size: otherwise a far person's joints would match the large person in front.
    return oks(a.points, a.confidence, b.points, b.confidence, min(a.scale, b.scale), _TOLERANCE)


def same_body(a: Sighting, b: Sighting) -> bool:
    """Whether two sightings in one frame are of one body."""
    return sighting_similarity(a, b) > MIN_SIMILARITY


def sighting_of(
    points: FloatArray, confidence: FloatArray, box: Box | None, turn: int = 0, fine: bool = True
) -> Sighting | None:
    """A sighting from keypoints, with the person's size; None without a region (``box``)."""
    if box is None:
        return None
    return Sighting(points, confidence, box, pixels_per_metre(points, confidence), turn, fine)


def _upright_turn(sighting: Sighting) -> int:
    """Quarter turns of the crop in which this person's trunk points down, preferring the present turn."""
    trunk = sighting.points[[11, 12]].mean(0) - sighting.points[[5, 6]].mean(0)
    along = ((0.0, 1.0), (-1.0, 0.0), (0.0, -1.0), (1.0, 0.0))  # where the hips are, by quarter turns
    length = max(float(np.linalg.norm(trunk)), 1e-6)
    off = [float(np.arccos(np.clip(trunk @ np.array(way) / length, -1, 1))) for way in along]
    return sighting.turn if off[sighting.turn] < _MAX_TILT else int(np.argmin(off))


def turns_to_try(turn: int, points: FloatArray, confidence: FloatArray) -> list[int]:
    """Quarter turns of the crop to try, in this order, when ``turn`` shows nobody: first the one that brings the trunk upright,
    or half a turn more if it is upright already or not seen."""
    best = turn
    if (confidence[[5, 6, 11, 12]] >= COMPARABLE).all():
        best = _upright_turn(Sighting(points, confidence, Box(0, 0, 1), 1.0, 0))
    order = [best, (turn + 2) % 4, (turn + 1) % 4, (turn + 3) % 4]
    return [one for one in dict.fromkeys(order) if one != turn]
