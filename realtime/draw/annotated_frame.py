"""The annotated frame of a result, as recordings and snapshots show it."""

from __future__ import annotations

import numpy as np

from common.arrays import ImageArray
from realtime.draw.mannequin import Mannequin
from realtime.draw.painter import Figures, MeshPainter, skeleton, text_line
from realtime.draw.side_view import SideView
from realtime.records import Result


class AnnotatedFramePainter:
    """Turns a result into one image: video, bodies, keypoints, figures, and the side view beside it if wanted.

    One thread at a time may use a painter: a viewer and a recorder each take their own.
    """

    def __init__(
        self,
        mannequin: Mannequin,
        *,
        side_view: bool = False,
        keypoints: bool = True,
        min_confidence: float = 0.3,
    ) -> None:
        """``mannequin``: how bodies look; ``side_view`` adds a panel on the right; ``keypoints`` draws those detected
        above ``min_confidence``. Raises ``ValueError`` for faces of another shape."""
        self._mannequin = mannequin
        self._painter = MeshPainter(mannequin)
        self._with_side = side_view
        self._keypoints = keypoints
        self._min_confidence = min_confidence
        self._side: SideView | None = None
        self._image: ImageArray = np.empty((0, 0, 3), np.uint8)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels of the image of a frame of ``height`` x ``width``.

        With the side view the panel is three quarters as wide as high, and the whole is even in width.
        """
        if not self._with_side:
            return height, width
        panel = round(height * 0.75)
        return height, width + panel + (width + panel) % 2

    def paint(self, result: Result, figures: Figures | None = None) -> ImageArray:
        """The image (H, W', 3) uint8 BGR of the size that ``size`` tells; the frame itself is not touched.

        The array belongs to the painter and is overwritten by the next call: new memory for each frame would cost more
        time than drawing the bodies.
        """
        frame = result.frame.image
        height, width = frame.shape[:2]
        if self._image.shape[:2] != self.size(height, width):
            self._image, self._side = np.empty((*self.size(height, width), 3), np.uint8), None
        image = self._image
        video = image[:, :width]
        video[...] = frame
        people = self._mannequin.dress(result.people)
        self._painter.paint_people(video, people, result.camera)
        if self._keypoints:
            for body in people:
                skeleton(video, body.keypoints, self._min_confidence)
        if figures is not None:
            text_line(video, str(figures))
        if self._with_side:
            panel = image[:, width:]
            if self._side is None:
                self._side = SideView(self._mannequin, *panel.shape[:2])
            self._side.paint(panel, people, result.world)
            text_line(panel, "from the side")
        return image
