"""From BGR images to what encoders read: yuv420p, BT.709, limited range, straight into a frame's planes."""

from __future__ import annotations

from typing import Any, Final

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numba import types
from numpy.typing import NDArray

from common.arrays import ImageArray
from common.compiled import njit

_Plane = NDArray[np.uint8]
_ROWS: Final = types.Array(types.uint8, 2, "C", readonly=True)
_OUT: Final = types.uint8[:, :]  # an encoder's rows have padding
_I: Final = np.int32
_STRIPE: Final = 32  # rows, even: few enough for the planes of a stripe to stay in the processor's cache


class YuvFrame:
    """One frame of ``width`` x ``height`` pixels, both even, that is filled again and again: encoders copy it.

    A third of the processor time of FFmpeg's converter, and within one level of it.
    """

    def __init__(self, width: int, height: int) -> None:
        self.frame = av.VideoFrame(width, height, "yuv420p")
        """What is encoded."""
        self.frame.colorspace, self.frame.color_range = Colorspace.ITU709, ColorRange.MPEG
        self._bgr = [np.empty((min(_STRIPE, height), width), np.uint8) for _ in range(3)]
        self._yuv = [
            np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            for plane in self.frame.planes
        ]

    def fill(self, image: ImageArray) -> None:
        """Write ``image``, uint8 (height, width, 3) BGR, into the frame's planes."""
        luma, cb, cr = self._yuv
        for top in range(0, len(luma), _STRIPE):
            stripe = image[top : top + _STRIPE]
            blue, green, red = (plane[: len(stripe)] for plane in self._bgr)
            cv2.split(stripe, [blue, green, red])  # planes, which the compiler can work on with vectors
            half = slice(top // 2, (top + len(stripe)) // 2)
            _convert(blue, green, red, luma[top : top + len(stripe)], cb[half], cr[half])


@njit(types.void(_ROWS, _ROWS, _ROWS, _OUT, _OUT, _OUT), cache=True, nogil=True, error_model="numpy")
def _convert(blue: _Plane, green: _Plane, red: _Plane, luma: _Plane, cb: _Plane, cr: _Plane) -> Any:
    """BT.709's matrix, limited range, in fixed point; colour differences are of the mean of 2x2 pixels."""
    height, width = blue.shape
    for row in range(height):
        b, g, r, y = blue[row], green[row], red[row], luma[row]
        for x in range(width):
            y[x] = np.uint8((_I(b[x]) * _I(1016) + _I(g[x]) * _I(10063) + _I(r[x]) * _I(2992) + _I(270336)) >> _I(14))
    for row in range(height // 2):
        b0, g0, r0 = blue[2 * row], green[2 * row], red[2 * row]
        b1, g1, r1 = blue[2 * row + 1], green[2 * row + 1], red[2 * row + 1]
        u, v = cb[row], cr[row]
        for x in range(width // 2):
            sum_b = _I(b0[2 * x]) + _I(b0[2 * x + 1]) + _I(b1[2 * x]) + _I(b1[2 * x + 1])
            sum_g = _I(g0[2 * x]) + _I(g0[2 * x + 1]) + _I(g1[2 * x]) + _I(g1[2 * x + 1])
            sum_r = _I(r0[2 * x]) + _I(r0[2 * x + 1]) + _I(r1[2 * x]) + _I(r1[2 * x + 1])
            u[x] = np.uint8((sum_b * _I(7196) - sum_g * _I(5547) - sum_r * _I(1649) + _I(8421376)) >> _I(16))
            v[x] = np.uint8((sum_r * _I(7196) - sum_g * _I(6536) - sum_b * _I(660) + _I(8421376)) >> _I(16))
