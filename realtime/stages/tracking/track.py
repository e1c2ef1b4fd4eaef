"""The state of one tracked person: the last sighting, and where the person is expected next."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from common.arrays import FloatArray, ImageArray
from realtime.records import Box
from realtime.stages.keypoints.masking import Outline
from realtime.stages.keypoints.similarity import COMPARABLE, Appearance, oks, pixels_per_metre, size_fit
from realtime.stages.tracking.regions import same_place

BYSTANDER = -1
"""The ``person`` number of somebody who is noted, so that nobody is mistaken for them, but not followed."""
MISSES = 4
"""Frames in a row without a sighting until a person is lost, or hidden."""
_STRAY = 0.2, 0.4
"""How far from the last region a person may reappear, in region sizes: at once, and more for each second."""
_BODY = [0, 5, 6, 11, 12]  # the head and the trunk move as the person does; limbs do not
_GLIDE_S = 0.15  # time constant with which an expected movement slows down
_LONGEST_S = 0.5
_WALK_ON_S = 1.0  # the same time constant for who is behind somebody: people mostly walk on
_PACE_S = 0.1  # least time between two sightings that tell how fast a person walks
_STILL = 0.06
"""Share of the region's size: a smaller expected movement leaves the region in place, where keypoints were found well."""
ONE_PERSON = 0.5
"""Object keypoint similarity from which on two sightings are of one body."""
_TOLERANCE = 1.5
_PAST = 12  # sightings that are remembered: for longer than the detector may take
_TURNED = 1.05  # radians: where the trunk is turned by more, the crop is turned


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """Keypoints found in a frame that may belong to a track."""

    points: FloatArray
    """float32 (17, 2), COCO order, image pixels."""
    confidence: FloatArray
    """float32 (17,), 0..1."""
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

    def moved(self, way: FloatArray) -> Sighting:
        """The same sighting, moved by ``way`` (2,) px."""
        x, y = way.tolist()
        return replace(self, points=self.points + way, box=Box(self.box.x + x, self.box.y + y, self.box.size))


class _Moment(NamedTuple):
    """One sighting of a track."""

    time_s: float
    """When, seconds of the source."""
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
    """When that was, seconds of the source."""
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
    looked_s: float = -np.inf
    """When the appearance was taken last."""
    since_s: float = 0.0
    """When the person was seen first."""
    doubted: bool = False
    """Whether the last frame's sighting was doubtful."""
    hidden_s: float = -np.inf
    """When the person was last believed to be behind somebody."""
    pace: FloatArray | None = None
    """Velocity (2,) px/s of one who went behind somebody, None while seen."""
    past: deque[_Moment] = field(default_factory=lambda: deque(maxlen=_PAST))
    """The last sightings, for late answers of the detector."""

    @classmethod
    def begin(cls, person: int, sighting: Sighting, time_s: float) -> Track:
        """A new track of ``person``, from its first sighting."""
        at = sighting
        new = cls(person, at.points, at.confidence, at.box, at.box, time_s, at.scale, turn=at.turn, since_s=time_s)
        new._remember()
        return new

    @property
    def followed(self) -> bool:
        """Whether this person's body is estimated, as opposed to a bystander's."""
        return self.person != BYSTANDER

    @property
    def is_hidden(self) -> bool:
        """Whether the person has not been seen for several frames and is believed to be behind somebody."""
        return self.pace is not None and self.misses > MISSES

    def found(self, sighting: Sighting, time_s: float) -> None:
        """Update the track with the person's sighting at ``time_s``."""
        dt = time_s - self.last_seen_s
        common = (self.confidence[_BODY] > COMPARABLE) & (sighting.confidence[_BODY] > COMPARABLE)
        if 0 < dt < _LONGEST_S and common.any():
            moved = (sighting.points[_BODY] - self.points[_BODY])[common].mean(0) / np.float32(dt)
            self.velocity = np.asarray(0.5 * self.velocity + 0.5 * moved, np.float32)
        else:
            self.velocity = np.zeros(2, np.float32)
        # A bone that points at the camera looks short, so the size changes slowly, and slower downwards than upwards.
        self.scale *= float(np.clip(sighting.scale / self.scale, 0.97, 1.06)) if sighting.fine else 1.0
        self.points, self.confidence = sighting.points, sighting.confidence
        self.box = self.seen = sighting.box
        self.last_seen_s, self.misses, self.pace = time_s, 0, None
        self.turn = _upright_turn(sighting) if sighting.turn or self.turn else 0
        self._remember()

    def _remember(self) -> None:
        self.past.append(_Moment(self.last_seen_s, Outline(self.points, self.confidence), self.velocity))

    def then(self, time_s: float, now_s: float) -> tuple[Outline, FloatArray]:
        """Keypoints at an earlier ``time_s``, and the movement (2,) px until ``now_s`` expected at that time."""
        moment = next((one for one in reversed(self.past) if one.time_s <= time_s), self.past[0])
        before = _glide(moment.velocity, time_s - moment.time_s)
        outline = Outline(moment.outline.points + before, moment.outline.confidence)
        return outline, _glide(moment.velocity, now_s - moment.time_s) - before

    def renew(self, sighting: Sighting, time_s: float) -> None:
        """Go on with a person who was lost: speed and size start anew with ``sighting``."""
        self.velocity = np.zeros(2, np.float32)
        self.scale, self.last_seen_s = sighting.scale, time_s
        self.found(sighting, time_s)

    def learn(self, image: ImageArray, time_s: float) -> None:
        """Update the appearance from the BGR ``image`` at the last sighting."""
        self.looked_s = time_s
        self.appearance.add(image, self.points, self.confidence)

    def hide(self, time_s: float) -> None:
        """Note that the person is not seen because somebody stands in front: most likely they walk on behind."""
        self.hidden_s = time_s
        if self.pace is None:
            self.pace = _pace(self.past)

    def shift(self, time_s: float) -> FloatArray:
        """Expected movement (2,) px since the last sighting; the velocity is taken to decay while nothing is seen."""
        if self.pace is not None:
            gone = max(time_s - self.last_seen_s, 0.0)
            return np.asarray(self.pace * np.float32(_WALK_ON_S * (1 - np.exp(-gone / _WALK_ON_S))), np.float32)
        return _glide(self.velocity, time_s - self.last_seen_s)

    def expected(self, time_s: float) -> Outline:
        """Expected keypoints at ``time_s``."""
        return Outline(self.points + self.shift(time_s), self.confidence)

    def region(self, time_s: float) -> Box:
        """Region to search at ``time_s``: ``box``, moved along if the person moves fast."""
        x, y = self.shift(time_s).tolist()
        if max(abs(x), abs(y)) < _STILL * self.box.size:
            return self.box
        return Box(self.box.x + x, self.box.y + y, self.box.size)

    def fit(self, sighting: Sighting, time_s: float) -> float:
        """How well a sighting's keypoints lie on the expected ones, 0..1; the tolerance grows with the time since
        the last sighting."""
        expected = self.expected(time_s)
        tolerance = 2.0 + 4.0 * min(max(time_s - self.last_seen_s - 0.05, 0), 1.0)
        scale = max(self.scale, sighting.scale)
        return oks(*expected, sighting.points, sighting.confidence, scale, tolerance)

    def overlap(self, sighting: Sighting, time_s: float) -> float:
        """How likely a sighting is this person seen twice, 0..1, by place and size. By the smaller size of the two: somebody
        far away beside a person who is near does not lie on that person."""
        scale = min(self.scale, sighting.scale)
        place = oks(*self.expected(time_s), sighting.points, sighting.confidence, scale, _TOLERANCE)
        size: float = size_fit(self.scale, sighting.scale) ** 0.7
        return place * size

    def likeness(self, sighting: Sighting, time_s: float, appearance: Appearance | None) -> float:
        """How likely a sighting is this person, 0..1, by place, size and clothes. The place tells people apart who stand apart,
        size and clothes those who occlude one another."""
        clothes = self.appearance.likeness(appearance) if appearance is not None else None
        size: float = size_fit(self.scale, sighting.scale) ** 0.7
        # Different clothes share about a third of their colours by chance, which is little once squared.
        return self.fit(sighting, time_s) * size * (max(clothes, 0.1) ** 2 if clothes is not None else 0.7)

    def may_be_in(self, box: Box, time_s: float) -> bool:
        """Whether somebody found in ``box`` can be this person, given how long nothing was seen."""
        x, y = self.shift(time_s).tolist() if self.pace is not None else (0.0, 0.0)
        seen = Box(self.seen.x + x, self.seen.y + y, self.seen.size)
        return same_place(box, seen, _STRAY[0] + _STRAY[1] * (time_s - self.last_seen_s))


def _pace(past: Sequence[_Moment]) -> FloatArray:
    """How fast the trunk moved (2,) px/s: the median over pairs of sightings, because the last ones, of somebody half hidden,
    may lie on the person in front."""
    places = np.array([one.outline.points[_BODY].mean(0) for one in past])
    times = np.array([one.time_s for one in past])
    earlier, later = np.triu_indices(len(past), 1)
    apart = times[later] - times[earlier]
    far = apart >= _PACE_S
    if not far.any():
        return np.zeros(2, np.float32)
    steps = (places[later] - places[earlier])[far] / apart[far, None]
    return np.asarray(np.median(steps, axis=0), np.float32)


def _glide(velocity: FloatArray, seconds: float) -> FloatArray:
    """Movement (2,) px in so many seconds of a person with ``velocity`` (2,) px/s, which decays."""
    gone = float(np.clip(seconds, 0, _LONGEST_S))
    return np.asarray(velocity * np.float32(_GLIDE_S * (1 - np.exp(-gone / _GLIDE_S))), np.float32)


def alike(a: Sighting, b: Sighting) -> float:
    """Similarity of two sightings in one frame, 0..1."""
    # By the smaller size: otherwise a far person's joints would match the large person in front.
    return oks(a.points, a.confidence, b.points, b.confidence, min(a.scale, b.scale), _TOLERANCE)


def same_body(a: Sighting, b: Sighting) -> bool:
    """Whether two sightings in one frame are of one body."""
    return alike(a, b) > ONE_PERSON


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
    return sighting.turn if off[sighting.turn] < _TURNED else int(np.argmin(off))


def turn_of(points: FloatArray, confidence: FloatArray) -> int:
    """Quarter turns of the crop to try when the present turn shows nobody: those that bring the trunk upright, or half a turn
    if it is upright already or not seen."""
    if (confidence[[5, 6, 11, 12]] < COMPARABLE).any():
        return 2
    best = _upright_turn(Sighting(points, confidence, Box(0, 0, 1), 1.0, 0))
    return best or 2
