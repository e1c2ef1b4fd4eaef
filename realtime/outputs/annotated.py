"""Turning results into annotated pictures, for recordings and snapshots."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from common.arrays import ImageArray
from common.errors import UserError
from realtime.draw.annotated_frame import PicturePainter
from realtime.draw.painter import Figures
from realtime.measure import Meter
from realtime.records import Result


class Annotator:
    """Makes a result's finished picture, with the figures of the moment in its corner. Used by one thread at a time."""

    def __init__(self, faces: NDArray[np.int32], meter: Meter, side_view: bool = False) -> None:
        self._painter, self._meter = PicturePainter(faces, side_view=side_view), meter

    def __call__(self, result: Result) -> ImageArray:
        """The annotated picture, uint8 (H, W, 3) BGR; the next call paints it over."""
        rate, latency = self._meter.recent()
        figures = Figures(rate, latency, len(result.people)) if np.isfinite(rate) else None
        return self._painter.paint(result, figures)


class Snapshots:
    """Keeps a copy of the last result, so that a key press can save its picture."""

    def __init__(self, annotate: Annotator) -> None:
        self._annotate = annotate
        self._lock = threading.Lock()
        self._last: Result | None = None

    def remember(self, result: Result) -> None:
        """Copy the result with its picture: the picture's slot will be written again."""
        image = result.frame.image
        with self._lock:
            kept = self._last.frame.image if self._last is not None else np.empty_like(image)
            np.copyto(kept, image)
            self._last = replace(result, frame=replace(result.frame, image=kept))

    def save(self) -> Path:
        """Write the last picture as a PNG into the working folder. Raises `UserError`."""
        path = Path(time.strftime("motionmesh-%Y%m%d-%H%M%S.png"))
        with self._lock:
            if self._last is None:
                raise UserError("there is no picture yet: try again once there is one")
            _, data = cv2.imencode(".png", self._annotate(self._last))
        try:
            path.write_bytes(data.tobytes())
        except OSError as error:
            raise UserError(
                f"cannot write {path.absolute()} ({error.strerror}): start the program in another folder"
            ) from None
        return path
