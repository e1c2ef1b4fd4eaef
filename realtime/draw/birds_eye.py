"""The world from above: where people are and where they came from, as a small map in the corner of a panel."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np

from body.suit.parts import colour_of
from common.arrays import DoubleArray, ImageArray
from realtime.records import BodyEstimate, WorldFrame

_STEPS: Final = 180  # of a person's way that are remembered
_FORGET: Final = 300  # frames after which somebody who has gone is no longer drawn
_MIN_M: Final = 2.5  # side of the map
_MARGIN_M: Final = 0.5
_CALM: Final = 0.1  # of the way to the place and scale that fit best, each frame
_SHIFT: Final = 4  # OpenCV draws at 1/16 of a pixel


class BirdsEye:
    """Draws the map. Keeps the people's ways from frame to frame; one thread at a time may use it."""

    def __init__(self, *, camera: bool = True) -> None:
        """``camera``: whether there is one, which is drawn as a triangle."""
        self._camera = camera
        self._ways: dict[int, deque[tuple[float, float]]] = {}
        self._away: dict[int, int] = {}
        self._view: DoubleArray | None = None
        self._shot = -1

    def paint(self, image: ImageArray, people: Sequence[BodyEstimate], world: WorldFrame) -> None:
        """Draw over the square ``image`` (S, S, 3) uint8 BGR. ``people`` are in the camera frame; the camera looks up the map
        as it did when the world began."""
        if world.shot != self._shot:
            self._shot, self._view = world.shot, None
            self._ways.clear()
        matrix = world.world_from_camera.astype(np.float64)
        for body in people:
            place = matrix[:3, :3] @ body.transl + matrix[:3, 3]
            if np.isfinite(place).all():
                self._ways.setdefault(body.person, deque(maxlen=_STEPS)).append((float(place[0]), float(place[2])))
                self._away[body.person] = 0
        for person in list(self._ways):
            self._away[person] += 1
            if self._away[person] > _FORGET:
                del self._ways[person], self._away[person]
        image //= 2
        side = image.shape[0]
        cv2.rectangle(image, (0, 0), (side - 1, side - 1), (90, 84, 80), 1)
        if not self._ways:
            return
        camera, ahead = matrix[[0, 2], 3], matrix[[0, 2], 2]
        ways = [np.array(way) for way in self._ways.values()]
        self._look(np.concatenate([camera[None], *ways] if self._camera else ways))
        if self._camera:
            cone = camera + 0.45 * np.array([[0, 0], ahead + 0.5 * _across(ahead), ahead - 0.5 * _across(ahead)])
            cv2.polylines(image, [self._pixels(cone, side)], True, (150, 150, 150), 1, cv2.LINE_AA, _SHIFT)
        for person, way in self._ways.items():
            line, colour = self._pixels(np.array(way), side), colour_of(person)
            cv2.polylines(image, [line], False, [0.6 * part for part in colour], 1, cv2.LINE_AA, _SHIFT)
            cv2.circle(image, line[-1].tolist(), max(side // 36, 2) << _SHIFT, colour, -1, cv2.LINE_AA, _SHIFT)

    def _look(self, points: DoubleArray) -> None:
        """Move place and scale of the map smoothly to where everything fits."""
        low, high = points.min(0), points.max(0)
        wanted = np.array([*(low + high) / 2, max(float((high - low).max()) + 2 * _MARGIN_M, _MIN_M)])
        self._view = wanted if self._view is None else self._view + _CALM * (wanted - self._view)

    def _pixels(self, places: DoubleArray, side: int) -> np.ndarray[tuple[int, ...], np.dtype[np.int32]]:
        """World x and z (N, 2) in 1/16 pixels: x to the right, -z up."""
        assert self._view is not None
        flat = (places - self._view[:2]) * (side / self._view[2]) + side / 2
        return np.asarray(np.clip(np.round(flat * (1 << _SHIFT)), -(1 << 20), 1 << 20), np.int32)


def _across(direction: DoubleArray) -> DoubleArray:
    return np.array([-direction[1], direction[0]])
