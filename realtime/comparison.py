"""The differences of two motion files as tables for a terminal, and as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.table import Table

from body.suit.parts import colour_of
from common.arrays import DoubleArray
from formats.compare import FLEXIONS, PersonDifference
from realtime.draw.error_plot import Curve, draw_curves, save_plot

_MIN_MM: Final = 1.0  # of the plot's axis: two equal files differ by rounding, which is not worth looking at
_WHO: Final = "person\nof A, of B"


def tables(found: Sequence[PersonDifference]) -> list[Table]:
    """Two tables, a row for each person: errors, means over all common frames, and differences of joint angles."""
    errors = Table(title="errors, mean over common frames")
    for name in (_WHO, "frames", "distance\nmm", "MPJPE\nmm", "PA-MPJPE\nmm", "acceleration\nm/s²", "rotations\n°"):
        errors.add_column(name, justify="left" if name == _WHO else "right")
    angles = Table(title="flexion and extension, mean difference, °")
    for name in (_WHO, *FLEXIONS):
        angles.add_column(name, justify="left" if name == _WHO else "right")
    for one in found:
        values = (one.distance_mm, one.mpjpe_mm, one.pa_mpjpe_mm, one.acceleration, one.rotation_deg)
        errors.add_row(_people(one), str(len(one.frame)), *map(_mean, values))
        angles.add_row(_people(one), *(f"{one.angles_deg[name]:.1f}" for name in FLEXIONS))
    return [errors, angles]


def plot_differences(path: Path, found: Sequence[PersonDifference]) -> None:
    """Draw MPJPE (thick) and PA-MPJPE (thin) of each person over time, as PNG, the axis at least to `_MIN_MM`. Raises
    `common.errors.UserError`."""
    curves = []
    for one in found:
        colour = colour_of(one.people[0])
        curves.append(Curve(f"person {_people(one)}", one.time_s, one.mpjpe_mm, colour))
        curves.append(Curve("", one.time_s, one.pa_mpjpe_mm, colour, thin=True))
    save_plot(path, draw_curves(curves, "mm, mean over 24 joints: MPJPE thick, PA-MPJPE thin", _MIN_MM))


def _people(one: PersonDifference) -> str:
    a, b = one.people
    return f"{a} = {b}"


def _mean(values: DoubleArray) -> str:
    known = values[np.isfinite(values)]
    return f"{known.mean():.1f}" if len(known) else "-"
