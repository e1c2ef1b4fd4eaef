"""Cutting a square region out of an image, at any size, without needless copies."""

from __future__ import annotations

import cv2
import numpy as np

from common.arrays import DoubleArray, ImageArray
from realtime.records import Box


def crop_matrix(box: Box, size: int) -> DoubleArray:
    """The (2, 3) affine map from image pixels to the pixels of a ``size``² crop of ``box`` (pixel centres at integers)."""
    scale = size / box.size
    shift = (size - 1) / 2
    return np.array([[scale, 0, shift - scale * box.x], [0, scale, shift - scale * box.y]])


class Cropper:
    """Cuts crops of one size into an array of its own. Parts outside of the image are black. Used by one thread."""

    def __init__(self, size: int, border: int = cv2.BORDER_CONSTANT) -> None:
        self.size, self._border = size, border
        self._crop: ImageArray = np.empty((size, size, 3), np.uint8)

    def __call__(self, image: ImageArray, box: Box) -> ImageArray:
        """The (size, size, 3) uint8 crop of ``box``; valid until the next call."""
        matrix = crop_matrix(box, self.size)
        shrink = int(box.size / (2 * self.size))
        if shrink >= 1:
            # Sampling every third pixel would tear thin limbs apart: average whole blocks first.
            block = shrink + 1
            height, width = image.shape[:2]
            half = box.size / 2
            left, top = max(int(box.x - half), 0), max(int(box.y - half), 0)
            right, bottom = min(int(box.x + half) + 1, width), min(int(box.y + half) + 1, height)
            across, down = (right - left) // block, (bottom - top) // block
            if across > 0 and down > 0:
                part = image[top : top + down * block, left : left + across * block]
                image = np.asarray(cv2.resize(part, (across, down), interpolation=cv2.INTER_AREA), np.uint8)
                # Block (i, j) has its centre at left + (i + 0.5) * block - 0.5.
                matrix[:, 2] += matrix[:, :2] @ [left + (block - 1) / 2, top + (block - 1) / 2]
                matrix[:, :2] *= block
        cv2.warpAffine(image, matrix, (self.size, self.size), self._crop, cv2.INTER_LINEAR, self._border)
        return self._crop
