"""Notices a camera that is mounted on its side, by people who appear to lie in nearly all frames."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np

from realtime.queues import Closed
from realtime.records import Result

_LOG = logging.getLogger(__name__)

_FRAMES: Final = 150
_MOSTLY: Final = 0.9
_LYING: Final = 0.8  # of a trunk's length along one direction of the image
_HIPS, _SHOULDERS = slice(11, 13), slice(5, 7)  # COCO keypoints


class UprightHint:
    """Says once which ``--rotate`` would turn people upright, when nearly all of 150 frames show them on their side or head.

    ``rotate`` is what the user has chosen so far, degrees.
    """

    def __init__(self, rotate: int) -> None:
        self._rotate = rotate
        self._votes: list[int] = []

    def see(self, result: Result) -> None:
        """Take one result; only its keypoints are used. Raises `Closed` once it has seen enough."""
        for body in result.people:
            points = body.keypoints.points
            up = points[_SHOULDERS].mean(0) - points[_HIPS].mean(0)
            length = float(np.linalg.norm(up))
            if length > 0 and np.isfinite(length):
                self._votes.append(_turn_for(up / length))
        if len(self._votes) >= _FRAMES:
            self._conclude()
            raise Closed

    def _conclude(self) -> None:
        turn, count = max(((turn, self._votes.count(turn)) for turn in (0, 90, 180, 270)), key=lambda pair: pair[1])
        if turn and count >= _MOSTLY * len(self._votes):
            _LOG.warning(
                f"people keep lying on their {'head' if turn == 180 else 'side'}: a camera that is mounted so needs "
                f"--rotate {(self._rotate + turn) % 360}"
            )


def _turn_for(up: np.ndarray[tuple[int], np.dtype[np.float32]]) -> int:
    """The clockwise turn, degrees, that turns ``up`` (2,), a unit vector in image pixels, to the top; -1 where it is near
    none of the four directions."""
    for turn, direction in ((0, (0, -1)), (90, (-1, 0)), (180, (0, 1)), (270, (1, 0))):
        if float(np.dot(up, direction)) > _LYING:
            return turn
    return -1
