"""Turning results into annotated pictures, for recordings and snapshots."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from realtime.draw.painter import MeshPainter
from realtime.errors import UserError
from realtime.measure import Meter
from realtime.records import ImageArray, Result


class Annotator:
    """Paints a result's people over its picture, into one reused buffer."""

    def __init__(self, painter: MeshPainter, meter: Meter) -> None:
        self._painter, self._meter = painter, meter
        self._picture: ImageArray = np.empty((0, 0, 3), np.uint8)

    def __call__(self, result: Result) -> ImageArray:
        """The annotated picture, uint8 (H, W, 3) BGR; valid until the next call."""
        if self._picture.shape != result.frame.image.shape:
            self._picture = np.empty_like(result.frame.image)
        np.copyto(self._picture, result.frame.image)
        self._painter.annotate(self._picture, result)
        rate, latency = self._meter.recent()
        if np.isfinite(rate):
            count = len(result.people)
            people = "nobody" if not count else "1 person" if count == 1 else f"{count} people"
            self._painter.text(self._picture, f"{rate:.0f} meshes/s   {latency:.0f} ms   {people}")
        return self._picture


class Snapshots:
    """Keeps a copy of the last result, so that a key press can save its picture."""

    def __init__(self, painter: MeshPainter, meter: Meter) -> None:
        self._annotate = Annotator(painter, meter)
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
                raise UserError("there is no picture yet")
            _, data = cv2.imencode(".png", self._annotate(self._last))
        try:
            path.write_bytes(data.tobytes())
        except OSError as error:
            raise UserError(f"cannot write {path.absolute()}: {error.strerror}") from None
        return path
