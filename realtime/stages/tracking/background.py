"""Change detection outside of the people who are tracked: only there can somebody new appear."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import numpy as np

from common.arrays import BoolArray, ImageArray
from realtime.stages.tracking.kernels import count_changed
from realtime.stages.tracking.overlaps import Extent

_DIFFERENCE: Final = 24  # grey levels
_PIXELS: Final = 8
"""Pixels of a thumbnail that must change at once. In the demo clip leaves, noise and compression change up to 5; somebody who
walks in changes 30 within half a second, and a person of 80 px in a frame of 640 covers about twenty."""
_AFTER_S: Final = 1.6  # the search goes on for this time after the last change: one round of all tiles
_REFERENCE_S: Final = 0.5  # age at which the reference frame is replaced


class BackgroundWatch:
    """Compares the frame with one of the last half second, except where people are tracked. Used by one thread.

    While nothing changes but the people who are tracked, few searches are needed. Any motion of the camera is a change.
    """

    def __init__(self) -> None:
        self._reference: ImageArray | None = None
        self._covered: BoolArray | None = None
        self._until_s = self._since_s = -math.inf

    def reset(self) -> None:
        """Discard the reference frame, where a new scene begins."""
        self._reference = None

    def mark_searched(self) -> None:
        """Count the scene as still: the whole frame and all tiles have just been searched."""
        self._until_s = -math.inf

    def is_still(self, thumbnail: ImageArray, people: Iterable[Extent], width: int, time_s: float) -> bool:
        """Whether nothing has changed for a while. ``thumbnail`` (h, w, 3) of a frame of ``width`` px, ``people`` the boxes of
        everybody who is tracked."""
        covered = np.zeros(thumbnail.shape[:2], bool)
        scale = thumbnail.shape[1] / width
        for one in people:
            left, top = (max(math.floor(edge * scale), 0) for edge in (one.left, one.top))
            right, bottom = (max(math.ceil(edge * scale), 0) for edge in (one.right, one.bottom))
            covered[top:bottom, left:right] = True
        last, known = self._reference, self._covered
        if last is None or known is None or last.shape != thumbnail.shape:
            changed = True
        else:
            changed = count_changed(thumbnail, last, covered, known, _DIFFERENCE) >= _PIXELS
        if changed:
            self._until_s = time_s + _AFTER_S
        if changed or not 0 <= time_s - self._since_s < _REFERENCE_S:
            self._reference, self._covered, self._since_s = thumbnail, covered, time_s
        return not 0 <= self._until_s - time_s <= _AFTER_S
