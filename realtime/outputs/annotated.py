"""Turning results into annotated images, for recordings and snapshots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from common.arrays import ImageArray
from realtime.draw.annotated_frame import AnnotatedFramePainter
from realtime.draw.painter import Figures
from realtime.measure import Meter
from realtime.records import Result


class Annotator:
    """Draws a result on its image, with the rates of the moment in its corner. Used by one thread at a time."""

    def __init__(self, faces: NDArray[np.int32], meter: Meter, side_view: bool = False) -> None:
        """``faces`` (F, 3) vertex indices of the bodies; ``side_view`` adds a panel that shows them from the side."""
        self._painter, self._meter = AnnotatedFramePainter(faces, side_view=side_view), meter

    def __call__(self, result: Result) -> ImageArray:
        """The annotated image, uint8 (H, W, 3) BGR; the next call overwrites it."""
        rate, latency = self._meter.recent()
        figures = Figures(rate, latency, len(result.people)) if np.isfinite(rate) else None
        return self._painter.paint(result, figures)
