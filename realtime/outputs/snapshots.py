"""Saving what is on the screen as an image, when a key is pressed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from common.arrays import ImageArray
from common.errors import UserError
from common.files import write_bytes_atomically
from realtime.records import Result


class Snapshots:
    """Keeps a copy of the last result, so that it can be saved as an annotated image later."""

    def __init__(self, annotate: Callable[[Result], ImageArray]) -> None:
        self._annotate = annotate
        self._lock = threading.Lock()
        self._last: Result | None = None

    def remember(self, result: Result) -> None:
        """Copy the result with its image: the image's slot will be written again."""
        image = result.frame.image
        with self._lock:
            kept = self._last.frame.image if self._last is not None else np.empty_like(image)
            np.copyto(kept, image)
            self._last = replace(result, frame=replace(result.frame, image=kept))

    def with_last(self, use: Callable[[Result], object]) -> None:
        """Call ``use`` with the last result, where there is one; it may not keep it."""
        with self._lock:
            if self._last is not None:
                use(self._last)

    def save(self) -> Path:
        """Write the last result as a PNG into the working folder and return its path.

        Raises `UserError` before the first result, and when the file cannot be written.
        """
        path = Path(time.strftime("motionmesh-%Y%m%d-%H%M%S.png"))
        with self._lock:
            if self._last is None:
                raise UserError("there is nothing to save yet: try again once a frame is on the screen")
            _, data = cv2.imencode(".png", self._annotate(self._last))
        try:
            write_bytes_atomically(path, data.tobytes())
        except OSError as error:
            raise UserError(
                f"cannot write {path.absolute()} ({error.strerror}): start the program in another folder"
            ) from None
        return path
