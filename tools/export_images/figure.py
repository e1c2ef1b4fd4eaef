"""The markers of a .trc file and the joint angles of a .csv as one figure."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from common.arrays import DoubleArray
from common.errors import UserError

_ANGLES: Final = (("hip_flexion", "hip flexion, °"), ("knee_angle", "knee flexion, °"))
_SIDES: Final = (("r", "right", "#c44e1d"), ("l", "left", "#2f6db3"))
_CHAINS: Final = (
    ("Head", "Neck", "Hip"),
    *((f"{side}Ankle", f"{side}Knee", f"{side}Hip", "Hip") for side in "LR"),
    *((f"{side}Wrist", f"{side}Elbow", f"{side}Shoulder", "Neck") for side in "LR"),
)
_PATHS: Final = ("RAnkle", "LAnkle")
_INSTANTS: Final = 6
_FLOOR_M: Final = 0.5  # between the lines of the floor


class Markers(NamedTuple):
    """Markers as a program read them."""

    time_s: DoubleArray
    """(N,) times of the frames, seconds."""
    names: list[str]
    """M names, of HALPE_26."""
    places: DoubleArray
    """(N, M, 3) metres in OpenSim's axes, y up; NaN where nobody was seen."""


def read_angles(path: Path, person: int, seconds: tuple[float, float]) -> dict[str, DoubleArray]:
    """The columns (N,), seconds and degrees, of a .csv of `formats.joint_angles` for one person between two times."""
    with path.open(newline="", encoding="utf-8") as lines:
        rows = [row for row in csv.DictReader(lines) if int(row["person"]) == person]
    rows = [row for row in rows if seconds[0] <= float(row["time_s"]) <= seconds[1]]
    wanted = ["time_s", *(f"{name}_{side}" for name, _ in _ANGLES for side, _, _ in _SIDES)]
    return {name: np.array([float(row[name]) for row in rows]) for name in wanted}


def draw_markers_and_angles(markers: Markers, angles: Mapping[str, DoubleArray], out: Path) -> None:
    """Write the figure of ``markers`` and of ``angles``, as `read_angles` gives them, to ``out``, a PNG. Raises `UserError`
    without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise UserError("matplotlib is not installed: make dev") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context({"font.size": 9}):
        figure = pyplot.figure(figsize=(9.6, 3.6))
        _draw_markers(figure.add_axes((-0.02, -0.2, 0.58, 1.3), projection="3d", computed_zorder=False), markers)
        figure.text(0.02, 0.93, f".trc: markers at {_INSTANTS} moments, paths of the ankles")
        for row, (name, title) in enumerate(_ANGLES):
            axes = figure.add_axes((0.60, 0.56 - 0.43 * row, 0.38, 0.36))
            for side, label, colour in _SIDES:
                axes.plot(angles["time_s"], angles[f"{name}_{side}"], color=colour, label=label, linewidth=1.5)
            axes.set_ylabel(title)
            axes.grid(color="0.9")
            axes.spines[["top", "right"]].set_visible(False)
            if row == 0:
                axes.set_title(".csv: joint angles", loc="left", fontsize=9)
                axes.legend(frameon=False, ncols=2, loc="upper right", bbox_to_anchor=(1, 1.22))
                axes.tick_params(labelbottom=False)
            else:
                axes.set_xlabel("seconds")
        figure.savefig(out, dpi=100)
        pyplot.close(figure)


def _draw_markers(axes: Any, markers: Markers) -> None:
    times, shown = (
        markers.time_s,
        markers.places[:, :, [2, 0, 1]],
    )  # matplotlib's third axis is up; the film's camera looks along -x
    rows = np.abs(times[:, None] - np.linspace(times[0], times[-1], _INSTANTS)).argmin(0)
    low, high = np.nanmin(shown, (0, 1)), np.nanmax(shown, (0, 1))
    first, last = (np.floor(low[:2] / _FLOOR_M) - 1) * _FLOOR_M, (np.ceil(high[:2] / _FLOOR_M) + 1) * _FLOOR_M
    for x in np.arange(first[0], last[0] + 0.01, _FLOOR_M):
        axes.plot([x, x], [first[1], last[1]], [0, 0], color="0.85", linewidth=0.7)
    for y in np.arange(first[1], last[1] + 0.01, _FLOOR_M):
        axes.plot([first[0], last[0]], [y, y], [0, 0], color="0.85", linewidth=0.7)
    for name in _PATHS:
        axes.plot(*shown[:, markers.names.index(name)].T, color="#9a9a9a", linewidth=1)
    for row in rows.tolist():
        for chain in _CHAINS:
            axes.plot(*shown[row, [markers.names.index(name) for name in chain]].T, color="#a6cee3", linewidth=1.5)
        axes.scatter(*shown[row].T, s=7, color="#1f78b4", depthshade=False)
    size = np.array([*(last - first), high[2]])
    axes.set_box_aspect(size, zoom=1.22)
    axes.set(xlim=(first[0], last[0]), ylim=(first[1], last[1]), zlim=(0, high[2]))
    axes.view_init(elev=12, azim=72)
    axes.set_axis_off()
