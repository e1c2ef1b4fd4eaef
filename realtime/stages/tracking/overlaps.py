"""Who stands in whose way: overlaps of people by the boxes around their expected keypoints."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from common.arrays import FloatArray
from realtime.stages.keypoints.masking import Outline
from realtime.stages.keypoints.similarity import COMPARABLE, pixels_per_metre
from realtime.stages.tracking.track import Track

_HIDDEN, _BEHIND = 0.4, 0.9  # who hides a person covers this share of the box, and is at least of this relative size
_COVERED = 0.05  # two people overlap if their boxes share this part of the smaller one


def in_the_way(track: Track, known: Iterable[Track], time_s: float) -> list[Outline]:
    """Expected keypoints of other people who overlap ``track``, so that it might jump to them. Not of those who are hidden:
    where they are expected, somebody else is seen."""
    others = (other.expected(time_s) for other in known if other is not track and other.pace is None)
    return others_near(track.expected(time_s), others)


def may_hide(other: Outline, track: Track, time_s: float) -> bool:
    """Whether ``other`` may hide the person of ``track``: covers much of the box and is not much smaller, thus not farther
    away."""
    own = track.expected(time_s)
    if pixels_per_metre(*other) < _BEHIND * track.scale:
        return False
    low, high = outline_box(own, 0.0)
    low2, high2 = outline_box(other)
    common = np.minimum(high, high2) - np.maximum(low, low2)
    return bool((common > 0).all()) and float(np.prod(common)) > _HIDDEN * float(np.prod(high - low))


def others_near(own: Outline, others: Iterable[Outline]) -> list[Outline]:
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
    """The lower and upper corner of the box around the seen keypoints, a little wider."""
    seen = outline.points[outline.confidence > COMPARABLE]
    if not len(seen):
        return np.zeros(2, np.float32), np.zeros(2, np.float32)
    low, high = seen.min(0), seen.max(0)
    more = margin * float((high - low).max())
    return low - more, high + more
