"""A plot of errors over time, drawn with OpenCV: the program needs no plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from body.suit.parts import Colour
from common.arrays import DoubleArray, ImageArray
from common.errors import UserError
from common.files import write_atomically

PLOT_SIZE: Final = (1280, 640)
"""Width and height of the plot, pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 30, 60, 60  # margins, px
_INK: Final[Colour] = (60, 60, 60)
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_LONGEST_STEP_S: Final = 0.25  # a line does not cross a longer gap


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """One line of the plot."""

    name: str
    """Name in the legend, ASCII; empty: not in it."""
    time_s: DoubleArray
    """(N,) ascending, seconds."""
    values: DoubleArray
    """(N,) values in the plot's unit; those that are not finite are left out."""
    colour: Colour
    """BGR, 0..255."""
    thin: bool = False
    """Whether the line is one pixel wide instead of two."""


def draw_curves(curves: Sequence[Curve], title: str, least: float = 0.0) -> ImageArray:
    """The plot, uint8 (H, W, 3) BGR of `PLOT_SIZE`: ``title`` in ASCII, seconds to the right, values upwards from 0 to at
    least ``least``.

    Values that are not finite are left out. Raises ``ValueError`` without any that is.
    """
    finite = [np.isfinite(curve.values) & np.isfinite(curve.time_s) for curve in curves]
    if not any(mask.any() for mask in finite):
        raise ValueError("there is nothing to plot")
    times = np.concatenate([curve.time_s[mask] for curve, mask in zip(curves, finite, strict=True)])
    high = max(float(curve.values[mask].max()) for curve, mask in zip(curves, finite, strict=True) if mask.any())
    high = max(high, least)
    x_step, y_step = _round_step(float(np.ptp(times)) / 8), _round_step(high / 6)
    start = np.floor(times.min() / x_step) * x_step
    end = max(np.ceil(times.max() / x_step) * x_step, start + x_step)
    top = max(np.ceil(high / y_step), 1) * y_step
    width, height = PLOT_SIZE
    image = np.full((height, width, 3), 255, np.uint8)

    def place(time_s: DoubleArray, values: DoubleArray) -> DoubleArray:
        x = _LEFT + (time_s - start) / (end - start) * (width - _LEFT - _RIGHT)
        y = height - _BOTTOM - values / top * (height - _TOP - _BOTTOM)
        return np.stack([x, y], -1)

    for value in np.arange(0, top + y_step / 2, y_step):
        (x0, y), (x1, _) = place(np.array([start, end]), np.array([value, value])).round().astype(int).tolist()
        cv2.line(image, (x0, y), (x1, y), (225, 225, 225), 1)
        _write(image, f"{value:g}", x0 - 10, y + 5, right=True)
    for value in np.arange(start, end + x_step / 2, x_step):
        x, y = place(np.array(value), np.array(0.0)).round().astype(int).tolist()
        cv2.line(image, (x, y), (x, y + 5), _INK, 1)
        _write(image, f"{value:g} s", x - 12, y + 24)
    _write(image, title, _LEFT, 26)
    at = _LEFT
    for curve, mask in zip(curves, finite, strict=True):
        rows = np.flatnonzero(mask)
        cuts = np.flatnonzero(np.diff(curve.time_s[rows]) > _LONGEST_STEP_S) + 1
        for part in np.split(rows, cuts):
            line = np.round(place(curve.time_s[part], curve.values[part]) * 16).astype(np.int32)
            cv2.polylines(image, [line], False, curve.colour, 1 if curve.thin else 2, cv2.LINE_AA, 4)
        if not curve.name:
            continue
        cv2.line(image, (at, 44), (at + 24, 44), curve.colour, 1 if curve.thin else 2, cv2.LINE_AA)
        at += 44 + _write(image, curve.name, at + 30, 49)
    return image


def save_plot(path: Path, image: ImageArray) -> None:
    """Write ``image`` as PNG, whole or not at all. Raises `UserError` for another ending and where that fails."""
    if path.suffix.lower() != ".png":
        raise UserError(f"--plot {path} is no .png: give a name that ends in .png")
    data = cv2.imencode(".png", image)[1]
    try:
        with write_atomically(path) as file:
            file.write(data.tobytes())
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None


def _round_step(about: float) -> float:
    """1, 2 or 5 times a power of ten, not less than ``about``."""
    power = 10.0 ** np.floor(np.log10(max(about, 1e-6)))
    return float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= about * (1 - 1e-9)))


def _write(image: ImageArray, text: str, x: int, y: int, right: bool = False) -> int:
    """Write ``text`` from ``x`` on, or up to it; returns its width, px."""
    width = cv2.getTextSize(text, _FONT, 0.5, 1)[0][0]
    cv2.putText(image, text, (x - width if right else x, y), _FONT, 0.5, _INK, 1, cv2.LINE_AA)
    return int(width)
