"""Finding hard cuts in a video, as opposed to motion, a turning camera or a flash.

A frame is compared with the one before it in two ways that fail in different cases. Structure, by phase correlation of
thumbnails, tolerates a moving camera, which shifts them, and a flash, which brightens them, but not a fast pan. Chromaticity
tolerates the pan. It is a cut only where both differ.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from common.arrays import FloatArray, ImageArray
from realtime.stages.thinning import thin
from realtime.stages.tracking.kernels import count_chromaticities

_SIDE: Final = 64  # the longer one of a thumbnail, px
_STRUCTURE, _COLOURS = 0.5, 0.97
"""Below both it is a cut. In twelve real clips no frame fell below 0.79 and 0.99; between clips of different places the
structure is at most 0.43, with colours of 0.92 and less."""


class SceneCut:
    """Compares each frame with the last one. Used by one thread."""

    def __init__(self) -> None:
        self.thumbnail: ImageArray | None = None
        """The last frame, 64 px along its longer side; None before the first one."""
        self._colours: FloatArray | None = None
        self.structure, self.colours = 1.0, 1.0
        """Similarity of the last two frames, 0..1; the structure counts as 1 where the colours decide."""

    def __call__(self, image: ImageArray) -> bool:
        """Whether a new scene begins with this BGR ``image``."""
        height, width = image.shape[:2]
        scale = _SIDE / max(height, width)
        size = max(round(width * scale), 16), max(round(height * scale), 16)
        # Every few pixels are enough, and the whole of a large frame would take milliseconds.
        step = max(min(height, width) // (2 * min(size)), 1)
        thumbnail = thin(image, size, step)
        colours = _chromaticity(thumbnail)
        last, last_colours = self.thumbnail, self._colours
        self.thumbnail, self._colours = thumbnail, colours
        self.structure = self.colours = 1.0
        if last is None or last_colours is None or last.shape != thumbnail.shape:
            return False
        self.colours = float(np.sqrt(colours * last_colours).sum())
        if self.colours >= _COLOURS:
            return False
        self.structure = _overlap(_edges(last), _edges(thumbnail))
        return self.structure < _STRUCTURE


def _edges(thumbnail: ImageArray) -> FloatArray:
    """The size of the gradient, of zero mean and unit deviation."""
    grey = cv2.GaussianBlur(cv2.cvtColor(thumbnail, cv2.COLOR_BGR2GRAY), (3, 3), 0).astype(np.float32)
    edges = np.sqrt(cv2.Sobel(grey, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(grey, cv2.CV_32F, 0, 1) ** 2)
    # Neither a few hard edges nor the noise of a flat wall may decide alone.
    edges = np.sqrt(edges + 16)
    return np.asarray((edges - edges.mean()) / max(float(edges.std()), 1e-3), np.float32)


def _chromaticity(thumbnail: ImageArray) -> FloatArray:
    """Histogram (256,) of the shares of blue and green in each pixel, which do not change with the light's strength."""
    counts = np.empty((16, 16), np.float32)
    count_chromaticities(thumbnail, counts)
    histogram = np.asarray(cv2.GaussianBlur(counts, (3, 3), 0), np.float32).ravel()
    return histogram / max(float(histogram.sum()), 1e-6)


def _overlap(last: FloatArray, now: FloatArray) -> float:
    """Correlation of two thumbnails where they overlap, at the shift that fits them best or at none."""
    best = float((last * now).mean())
    height, width = last.shape
    # OpenCV multiplies the window into what it is given.
    (x, y), _ = cv2.phaseCorrelate(last.copy(), now.copy(), cv2.createHanningWindow((width, height), cv2.CV_32F))
    across, down = round(x), round(y)
    if (across or down) and abs(across) < width // 2 and abs(down) < height // 2:
        first = last[max(-down, 0) : height - max(down, 0), max(-across, 0) : width - max(across, 0)]
        second = now[max(down, 0) : height - max(-down, 0), max(across, 0) : width - max(-across, 0)]
        spread = float(first.std() * second.std())
        if spread > 1e-6:
            best = max(best, float(((first - first.mean()) * (second - second.mean())).mean()) / spread)
    return best
