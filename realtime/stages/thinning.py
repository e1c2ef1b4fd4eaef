"""Small copies of an image from every n-th of its pixels, for what needs no more.

Compiled where the small image is exactly half of those pixels, as for the usual sizes: NumPy copies pixels with a stride, and
OpenCV halves them, in two to three times the time. The results are the same.
"""

from __future__ import annotations

import cv2
import numpy as np
from numba import types

from common.arrays import ImageArray
from common.compiled import njit

_FLAT = types.Array(types.uint8, 1, "C", readonly=True)


@njit(types.void(_FLAT, types.uintp, types.uintp, types.Array(types.uint8, 3, "C")), cache=True, nogil=True)
def _halve(pixels: ImageArray, width: int, step: int, out: ImageArray) -> None:
    """Writes the means of 2x2 of every ``step``-th pixel of an image (H, ``width``, 3), given as one line, to ``out``
    (h, w, 3)."""
    beside, below = np.uintp(3) * step, np.uintp(3) * step * width
    for row in range(out.shape[0]):
        at = np.uintp(2) * np.uintp(row) * below
        for column in range(out.shape[1]):
            for channel in range(3):
                total = np.uint32(pixels[at]) + np.uint32(pixels[at + beside])
                total += np.uint32(pixels[at + below]) + np.uint32(pixels[at + below + beside])
                out[row, column, channel] = (total + np.uint32(2)) >> np.uint32(2)
                at += np.uintp(1)
            at += np.uintp(2) * beside - np.uintp(3)


@njit(types.void(_FLAT, types.intp, types.Array(types.uint8, 2, "C")), cache=True, nogil=True)
def _halve_green(pixels: ImageArray, width: int, out: ImageArray) -> None:
    """Writes the means of 2x2 of the green channel of an image (H, ``width``, 3), given as one line, to ``out`` (h, w)."""
    for row in range(out.shape[0]):
        upper, lower = pixels[6 * row * width + 1 :], pixels[(6 * row + 3) * width + 1 :]
        for column in range(out.shape[1]):
            total = np.uint32(upper[6 * column]) + np.uint32(upper[6 * column + 3])
            total += np.uint32(lower[6 * column]) + np.uint32(lower[6 * column + 3])
            out[row, column] = (total + np.uint32(2)) >> np.uint32(2)


def thin(image: ImageArray, size: tuple[int, int], step: int) -> ImageArray:
    """``image[::step, ::step]`` of a (H, W, 3) image, scaled to ``size`` (width, height) by areas."""
    if _is_double(image, size, step):
        out: ImageArray = np.empty((size[1], size[0], 3), np.uint8)
        _halve(image.reshape(-1), image.shape[1], step, out)
        return out
    return np.asarray(cv2.resize(image[::step, ::step], size, interpolation=cv2.INTER_AREA), np.uint8)


def thin_green(image: ImageArray, size: tuple[int, int], step: int) -> ImageArray:
    """The green channel (H, W) of ``image[::step, ::step]`` of a BGR image, scaled to ``size`` (width, height) bilinearly."""
    if step == 1 and _is_double(image, size, step):
        out: ImageArray = np.empty((size[1], size[0]), np.uint8)
        _halve_green(image.reshape(-1), image.shape[1], out)
        return out
    green = np.ascontiguousarray(image[::step, ::step, 1])
    return np.asarray(cv2.resize(green, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def _is_double(image: ImageArray, size: tuple[int, int], step: int) -> bool:
    """Whether ``size`` is exactly half of every ``step``-th pixel of ``image``."""
    height, width = image.shape[:2]
    return (-(-width // step), -(-height // step)) == (2 * size[0], 2 * size[1]) and image.flags.c_contiguous
