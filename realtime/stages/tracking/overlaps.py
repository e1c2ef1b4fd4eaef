"""Which people overlap in the image, by the boxes around their expected keypoints."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from common.arrays import FloatArray
from realtime.stages.keypoints.masking import Outline
from realtime.stages.keypoints.similarity import COMPARABLE, pixels_per_metre
from realtime.stages.tracking.track import Track

_HIDDEN, _BEHIND = 0.4, 0.9  # an occluder covers this share of the box, and has at least this relative size
_COVERED = 0.05  # two people overlap if their boxes share this part of the smaller one


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
    low, high = outline_box(own, 0.0)
    low2, high2 = outline_box(other)
    common = np.minimum(high, high2) - np.maximum(low, low2)
    return bool((common > 0).all()) and float(np.prod(common)) > _HIDDEN * float(np.prod(high - low))


def overlapping(own: Outline, others: Iterable[Outline]) -> list[Outline]:
    """Those of ``others`` whose boxes overlap that of ``own``."""
    low, high = outline_box(own)
    near = []
    for other in others:
        low2, high2 = outline_box(other)
        common = np.minimum(high, high2) - np.maximum(low, low2)
        smaller = min(float(np.prod(high - low)), float(np.prod(high2 - low2)))
        if (common > 0).all() and float(np.prod(common)) > _COVERED * smaller:
            near.append(other)
    return near


def outline_box(outline: Outline, margin: float = 0.15) -> tuple[FloatArray, FloatArray]:
    """The lower and upper corner (2,) px of the box around the visible keypoints, enlarged by ``margin`` of its longer side."""
    seen = outline.points[outline.confidence > COMPARABLE]
    if not len(seen):
        return np.zeros(2, np.float32), np.zeros(2, np.float32)
    low, high = seen.min(0), seen.max(0)
    more = margin * float((high - low).max())
    return low - more, high + more
