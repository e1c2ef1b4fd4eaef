"""What part of the side view's image plane its panel shows: everybody whole, and nobody behind the map in the corner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from common.arrays import DoubleArray, FloatArray

CENTRE: Final = 0.47
"""Height in the panel of the point that the virtual camera looks at, as a share of the panel's, if nobody needs another one."""

_MARGIN: Final = 0.05  # of the panel's height is left free around people
_LEAST_MARGIN: Final = 0.02  # the same while they move
_CLEAR: Final = 0.06  # of the panel's height: people who turned to the map's side so far away may use its corner again
_WORTH: Final = 1.15  # another area must show people so many times larger
_WIDEN: Final = 0.3  # share of the way in each image: zoom out
_NARROW: Final = 0.04  # the same of the zoom in: arms that swing do not make the panel pump
_SHIFT: Final = 0.12  # the same of a move
_ARRIVE: Final = 0.75  # of the way to people who came suddenly is left after each image

_Area = tuple[float, float, float, float]
"""Left, top, right and bottom, pixels."""


class ImagePart(NamedTuple):
    """A part of the image plane."""

    scale: float
    """Pixels a metre."""
    x: float
    """The middle between the panel's sides, metres to the right of the point that the virtual camera looks at."""
    y: float
    """The panel's row at `CENTRE`, metres below that point."""


class Framing:
    """Chooses the part, and moves it smoothly from image to image. One thread at a time may use it."""

    def __init__(self, height: int, width: int, span: float) -> None:
        """``height`` and ``width`` of the panel, pixels; ``span``: metres that its height shows of few people at least."""
        self._height, self._width = float(height), float(width)
        self._usual = ImagePart(height / span, 0.0, 0.0)
        self.view: ImagePart = self._usual
        """What is shown."""
        self._people: frozenset[int] = frozenset()
        self._area = 0  # which one people are in: the panel, what is below the map, what is on its left
        self._late = 0.0  # share of the way to people who came suddenly that is left

    def follow(self, people: dict[int, FloatArray], corner: float, jump: bool = False) -> None:
        """Move the view to where everybody is whole: at once if ``jump``, else smoothly, but so that who moves stays whole.

        ``people``: points (N, 2) of each person's body by number, metres to the right of and below the point that the virtual
        camera looks at, as they look at its distance. ``corner``: side of the map in the upper right corner, pixels; 0: none.
        """
        points = [one for one in people.values() if np.isfinite(one).all()]
        if not points:
            return
        box = np.concatenate([np.min([one.min(0) for one in points], 0), np.max([one.max(0) for one in points], 0)])
        number, wanted = self._choose(box, points, corner)
        if jump:
            self._late = 0.0
        elif number != self._area or not self._people.issuperset(people):
            self._late = 1.0
        self._area, self._people = number, frozenset(people)
        if jump:
            self.view = wanted
            return
        zoom = _WIDEN if wanted.scale < self.view.scale else _NARROW
        shares = (zoom, max(_SHIFT, zoom), max(_SHIFT, zoom))
        calm = ImagePart(
            *(old + share * (new - old) for old, new, share in zip(self.view, wanted, shares, strict=True))
        )
        whole = self._fitted(calm, box, self._areas(corner)[number], _LEAST_MARGIN)
        self._late *= _ARRIVE
        self.view = ImagePart(*(new + self._late * (old - new) for old, new in zip(calm, whole, strict=True)))

    def pixels(self, points: FloatArray) -> FloatArray:
        """``points`` (N, 2) as `follow` takes them, in pixels of the panel."""
        scale, x, y = self.view
        return np.asarray((points - (x, y)) * scale + (self._width / 2, self._height * CENTRE), np.float32)

    def _areas(self, corner: float) -> tuple[_Area, _Area, _Area]:
        return (
            (0.0, 0.0, self._width, self._height),
            (0.0, corner, self._width, self._height),
            (0.0, 0.0, self._width - corner, self._height),
        )

    def _choose(self, box: DoubleArray, points: Sequence[FloatArray], corner: float) -> tuple[int, ImagePart]:
        """The area that shows people largest, but the one they are in if it is nearly as good, and the view of it."""
        views = [self._fitted(self._usual, box, area, _MARGIN) for area in self._areas(corner)]
        if corner <= 0:
            return 0, views[0]
        margin = _CLEAR if self._area else _LEAST_MARGIN
        if not self._touches(views[0], points, corner + margin * self._height):
            return 0, views[0]
        best = 1 if views[1].scale > views[2].scale else 2
        if self._area and views[best].scale < _WORTH * views[self._area].scale:
            best = self._area
        return best, views[best]

    def _touches(self, view: ImagePart, points: Sequence[FloatArray], corner: float) -> bool:
        """Whether anybody would be in the upper right corner of so many pixels."""
        right = view.x + (self._width / 2 - corner) / view.scale
        above = view.y + (corner - self._height * CENTRE) / view.scale
        return any(bool(((one[:, 0] > right) & (one[:, 1] < above)).any()) for one in points)

    def _fitted(self, view: ImagePart, box: DoubleArray, area: _Area, margin: float) -> ImagePart:
        """The view nearest to ``view`` that shows ``box``, its least x and y and greatest x and y, within the area."""
        edge = margin * self._height
        left, top, right, bottom = area[0] + edge, area[1] + edge, area[2] - edge, area[3] - edge
        across, down = max(right - left, 1.0), max(bottom - top, 1.0)
        size = np.maximum(box[2:] - box[:2], 1e-6)
        scale = float(min(view.scale, across / size[0], down / size[1]))
        middle_x, middle_y = self._width / 2, self._height * CENTRE
        x = _within(view.x, box[2] - (right - middle_x) / scale, box[0] + (middle_x - left) / scale)
        y = _within(view.y, box[3] - (bottom - middle_y) / scale, box[1] + (middle_y - top) / scale)
        return ImagePart(scale, x, y)


def _within(value: float, least: float, most: float) -> float:
    return float(min(max(value, least), max(least, most)))
