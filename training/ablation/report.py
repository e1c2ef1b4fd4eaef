"""Tables and plot of the ablation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from training.ablation.errors import NetworkErrors

_TITLES: Final = {
    "nothing": "nothing: one body for all",
    "rgb": "RGB",
    "flow": "flow",
    "flow_raw": "flow, camera motion left in",
    "keypoints": "keypoints, each frame alone",
    "keypoint_motion": "keypoint motion",
    "keypoint_motion_rgb": "keypoint motion + RGB",
    "keypoint_motion_flow": "keypoint motion + flow",
    "keypoint_motion_flow_raw": "keypoint motion + flow, camera motion left in",
}
_GAPS: Final = {
    "pa_arms": "PA-MPJPE, mm",
    "rooted_arms": "shoulder-rooted, mm",
    "facing": "facing, °",
}
_ALL: Final = {
    "synthetic_pa": ("synthetic PA-MPJPE, mm", 1.0),
    "synthetic_mpjpe": ("synthetic MPJPE, mm", 1.0),
    "synthetic_acceleration": ("synthetic accel error, m/s²", 1.0),
    "real_reprojection": ("real reprojection, % of height", 100.0),
    "real_acceleration": ("real acceleration, m/s²", 1.0),
    "moving_pa": ("moving man PA-MPJPE, mm", 1.0),
    "moving_mpjpe": ("moving man MPJPE, mm", 1.0),
    "moving_knee": ("moving man's knees, °", 1.0),
}
_SUBSETS: Final = {
    "synthetic_depth": ("depth, mm", 1.0),
    "synthetic_twist": ("twist, °", 1.0),
    "synthetic_hidden": ("hidden limbs, mm", 1.0),
    "synthetic_fast": ("fast limbs, mm", 1.0),
    "synthetic_misled": ("limbs of wrong keypoints, mm", 1.0),
}


def by_variant(results: Sequence[NetworkErrors]) -> dict[str, list[NetworkErrors]]:
    """Results of every variant over its seeds, in the order of the tables."""
    found = {name: [errors for errors in results if errors.variant == name] for name in _TITLES}
    return {name: mine for name, mine in found.items() if mine}


def markdown_tables(results: Sequence[NetworkErrors]) -> str:
    """Three Markdown tables, each cell the mean over seeds, ± half the range of several.

    The gap between synthetic and real people on common joints, whole bodies, and the cases where flow should help. Columns
    that nobody was scored for are left out.
    """
    rows = by_variant(results)
    gaps = ["input", "seeds"]
    for title in _GAPS.values():
        gaps += [f"{title}: synthetic", "real", "gap"]
    lines = _head(gaps)
    for name, mine in rows.items():
        cells = []
        for measure in _GAPS:
            made, real = (
                np.array([getattr(one, f"{world}_{measure}") for one in mine]) for world in ("synthetic", "real")
            )
            cells += [_cell(made), _cell(real), f"{np.mean(real - made):+.1f}"]
        lines.append(_row(name, mine, cells))
    return "\n\n".join(["\n".join(lines), *(_table(rows, columns) for columns in (_ALL, _SUBSETS))])


def _table(rows: Mapping[str, list[NetworkErrors]], columns: Mapping[str, tuple[str, float]]) -> str:
    scored = {
        column: shown
        for column, shown in columns.items()
        if any(np.isfinite(getattr(one, column)) for mine in rows.values() for one in mine)
    }
    lines = _head(["input", "seeds", *(title for title, _ in scored.values())])
    for name, mine in rows.items():
        cells = [
            _cell(np.array([getattr(one, column) for one in mine]) * scale) for column, (_, scale) in scored.items()
        ]
        lines.append(_row(name, mine, cells))
    return "\n".join(lines)


def _head(titles: list[str]) -> list[str]:
    return ["| " + " | ".join(titles) + " |", "| --- " * len(titles) + "|"]


def _row(name: str, results: list[NetworkErrors], cells: list[str]) -> str:
    return f"| {_TITLES[name]} | {len(results)} | " + " | ".join(cells) + " |"


def _cell(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    spread = f" ± {np.ptp(values) / 2:.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{spread}"


_SYNTHETIC: Final = ("unseen synthetic people", -0.2, "#7fb2d9")
_SEATED: Final = ("a real man who sits, four-camera reference", 0.2, "#d9773f")
_MOVING: Final = ("a real man who sits down and stands up, motion capture", 0.2, "#a14d1f")


def draw_plot(results: Sequence[NetworkErrors], path: Path) -> None:
    """Bar chart of every variant's errors on synthetic and on real people; a whisker is half the range over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = by_variant(results)
    names, place = list(rows), np.arange(len(rows))
    charts = [
        ("pose: PA-MPJPE of arms and shoulders, mm", ((_SYNTHETIC, "synthetic_pa_arms"), (_SEATED, "real_pa_arms"))),
        ("facing: error of the shoulders' line, °", ((_SYNTHETIC, "synthetic_facing"), (_SEATED, "real_facing"))),
    ]
    if any(np.isfinite(errors.moving_mpjpe) for errors in results):
        charts.append(("whole body: MPJPE, mm", ((_SYNTHETIC, "synthetic_mpjpe"), (_MOVING, "moving_mpjpe"))))
    size = (1.5 + 4.2 * len(charts), 0.62 * len(rows) + 1.4)
    figure, panels = pyplot.subplots(1, len(charts), figsize=size, layout="constrained", sharey=True)
    for axes, (title, bars) in zip(panels, charts, strict=True):
        for (label, offset, colour), measure in bars:
            values = [[getattr(errors, measure) for errors in rows[name]] for name in names]
            means, spread = [float(np.mean(part)) for part in values], [float(np.ptp(part) / 2) for part in values]
            whiskers = spread if any(spread) else None
            axes.barh(place + offset, means, 0.38, xerr=whiskers, color=colour, label=label)
        axes.set_xlabel(title)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(place, [_TITLES[name] for name in names])
    panels[0].invert_yaxis()
    legend = {label: bar for axes in panels for bar, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(legend.values(), legend.keys(), frameon=False, loc="outside upper center", ncols=3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
