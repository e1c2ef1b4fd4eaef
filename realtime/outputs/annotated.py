"""Turning results into annotated images, for recordings and snapshots."""

from __future__ import annotations

import numpy as np

from common.arrays import ImageArray
from realtime.draw.annotated_frame import AnnotatedFramePainter
from realtime.draw.mannequin import Mannequin
from realtime.draw.painter import Figures
from realtime.measure import Meter
from realtime.options import PaneLayout
from realtime.records import Result


class Annotator:
    """Draws a result on its image, with the rates of the moment in its corner. Used by one thread at a time."""

    def __init__(
        self, mannequin: Mannequin, meter: Meter, layout: PaneLayout = "overlay", side_view: bool = False
    ) -> None:
        """``mannequin``: how bodies look; ``layout`` and ``side_view``: as of `AnnotatedFramePainter`."""
        self._painter, self._meter = AnnotatedFramePainter(mannequin, layout, side_view=side_view), meter

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height, pixels, of the image of a frame of ``width`` x ``height``."""
        high, wide = self._painter.size(height, width)
        return wide, high

    def __call__(self, result: Result) -> ImageArray:
        """The annotated image, uint8 (H, W, 3) BGR; the next call overwrites it."""
        rate, latency = self._meter.recent()
        figures = Figures(rate, latency, len(result.people)) if np.isfinite(rate) else None
        return self._painter.paint(result, figures)
