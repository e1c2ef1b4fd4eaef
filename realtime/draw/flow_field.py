"""Optical flow as colours: the hue is the direction of the motion, as on the wheel in the corner, the strength its speed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final

import cv2
import numpy as np

from common.arrays import FloatArray, ImageArray
from realtime.records import Flow

_FULL: Final = 1.2  # of the box's side a second: the speed of a full colour
_ALPHA: Final = 0.75
_WHEEL: Final = 0.14  # of the image's height
_WHEEL_EDGE: Final = 0.1  # of the wheel's side lie between it and the image's corner


def flow_colours(field: FloatArray, full: float) -> tuple[ImageArray, FloatArray]:
    """Colours (h, w, 3) uint8 BGR of ``field`` (h, w, 2), and their strength (h, w) 0..1: 1 from a length of ``full`` on."""
    x, y = field[..., 0], field[..., 1]
    hsv = np.full((*x.shape, 3), 255, np.uint8)
    hsv[..., 0] = np.mod(np.degrees(np.arctan2(y, x)), 360) / 2
    strength = np.clip(np.hypot(x, y) / np.float32(max(full, 1e-6)), 0, 1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8), np.asarray(strength, np.float32)


def paint_flow(image: ImageArray, flows: Iterable[Flow]) -> None:
    """Paint ``flows`` over ``image`` (H, W, 3) uint8 BGR, in place, each on the box that it was computed in, and the wheel."""
    height, width = image.shape[:2]
    for flow in flows:
        left, top = round(flow.box.x - flow.box.size / 2), round(flow.box.y - flow.box.size / 2)
        side = round(flow.box.size)
        x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
        if side < 2 or x0 >= x1 or y0 >= y1:
            continue
        colours, strength = flow_colours(flow.field, _FULL * flow.field.shape[1] * max(flow.dt_s, 1e-3))
        part = slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)
        large = np.asarray(cv2.resize(colours, (side, side)), np.uint8)
        _blend(image[y0:y1, x0:x1], large[part], np.asarray(cv2.resize(strength, (side, side)), np.float32)[part])
    side = max(round(_WHEEL * height), 8)
    if min(height, width) > 2 * side:
        edge = round(_WHEEL_EDGE * side)
        corner = slice(height - edge - side, height - edge), slice(width - edge - side, width - edge)
        _blend(image[corner], *_wheel(side))


@cache
def _wheel(side: int) -> tuple[ImageArray, FloatArray]:
    y, x = np.mgrid[-1 : 1 : complex(0, side), -1 : 1 : complex(0, side)].astype(np.float32)
    colours, strength = flow_colours(np.stack([x, y], -1), 1.0)
    return colours, np.where(np.hypot(x, y) <= 1, strength, 0).astype(np.float32)


def _blend(image: ImageArray, colours: ImageArray, strength: FloatArray) -> None:
    part = (np.float32(_ALPHA) * strength)[..., None]
    image[...] = (image + (colours.astype(np.float32) - image) * part).astype(np.uint8)
