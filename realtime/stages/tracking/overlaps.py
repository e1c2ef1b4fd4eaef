"""Which people overlap in the image, by the boxes around their expected keypoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from realtime.stages.keypoints.masking import Outline
from realtime.stages.keypoints.similarity import COMPARABLE, pixels_per_metre, plain
from realtime.stages.tracking.kernels import find_boxes
from realtime.stages.tracking.track import Track

_HIDDEN, _BEHIND = 0.4, 0.9  # an occluder covers this share of the box, and has at least this relative size
_COVERED = 0.05  # two people overlap if their boxes share this part of the smaller one
_EVERY = np.ones((1, 17), np.bool_)


class Extent(NamedTuple):
    """A box around a person, image pixels."""

    left: float
    """Left edge."""
    top: float
    """Upper edge."""
    right: float
    """Right edge."""
    bottom: float
    """Lower edge."""

    @property
    def area(self) -> float:
        """Its area, square pixels."""
        return (self.right - self.left) * (self.bottom - self.top)

    def common_area(self, other: Extent) -> float:
        """The area that both boxes cover, square pixels."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across * down if across > 0 and down > 0 else 0.0


def overlapping_people(track: Track, known: Iterable[Track], time_s: float) -> list[Outline]:
    """Expected keypoints of the people who overlap ``track``, to whom it might jump. Without those who are occluded: where
    they are expected, somebody else is visible."""
    others = (other.expected(time_s) for other in known if other is not track and other.occluded_velocity is None)
    return overlapping(track.expected(time_s), others)


def may_occlude(other: Outline, track: Track, time_s: float) -> bool:
    """Whether ``other`` may occlude the person of ``track``: covers much of the box, and is not much smaller and thus not
    farther away."""
    own = track.expected(time_s)
    if pixels_per_metre(*other) < _BEHIND * track.scale:
        return False
    box = outline_box(own, 0.0)
    return box.common_area(outline_box(other)) > _HIDDEN * box.area


def overlapping(own: Outline, others: Iterable[Outline]) -> list[Outline]:
    """Those of ``others`` whose boxes overlap that of ``own``."""
    box = outline_box(own)
    near = []
    for other in others:
        theirs = outline_box(other)
        common = box.common_area(theirs)
        if common > 0 and common > _COVERED * min(box.area, theirs.area):
            near.append(other)
    return near


def outline_box(outline: Outline, margin: float = 0.15) -> Extent:
    """The box around the visible keypoints, enlarged by ``margin`` of its longer side; zeros where none is visible."""
    boxes = np.empty((1, 6), np.float32)
    find_boxes(plain(outline.points), plain(outline.confidence), COMPARABLE, _EVERY, boxes)
    _, left, top, right, bottom, side = boxes[0].tolist()
    more = margin * side
    return Extent(left - more, top - more, right + more, bottom + more)
