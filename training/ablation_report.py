"""The ablation's table and plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from training.ablation import Outcome

_TITLES: Final = {
    "rgb": "RGB",
    "flow": "flow",
    "keypoints": "keypoints, each frame alone",
    "keypoint_motion": "keypoint motion",
    "keypoint_motion_flow": "keypoint motion + flow",
    "keypoint_motion_flow_raw": "the same, camera motion left in",
}
_COLUMNS: Final = {
    "synthetic_pa": ("synthetic PA-MPJPE, mm", 1.0),
    "synthetic_mpjpe": ("synthetic MPJPE, mm", 1.0),
    "synthetic_acceleration": ("synthetic accel error, m/s²", 1.0),
    "synthetic_hidden": ("synthetic hidden limbs, mm", 1.0),
    "synthetic_fast": ("synthetic fast limbs, mm", 1.0),
    "real_pa": ("real PA-MPJPE, mm", 1.0),
    "real_rooted": ("real shoulder-rooted, mm", 1.0),
    "real_reprojection": ("real reprojection, % of height", 100.0),
    "real_acceleration": ("real acceleration, m/s²", 1.0),
}


def grouped(outcomes: Sequence[Outcome]) -> dict[str, dict[str, list[float]]]:
    """Every variant's numbers over its seeds, in the table's order and units."""
    known = {field.name for field in fields(outcomes[0])} if outcomes else set()
    rows: dict[str, dict[str, list[float]]] = {}
    for name in _TITLES:
        mine = [outcome for outcome in outcomes if outcome.variant == name]
        if mine:
            rows[name] = {
                column: [getattr(outcome, column) * scale for outcome in mine]
                for column, (_, scale) in _COLUMNS.items()
                if column in known
            }
    return rows


def markdown(outcomes: Sequence[Outcome]) -> str:
    """A Markdown table: mean over seeds, and half the range behind it."""
    head = ["input", "seeds", *(title for title, _ in _COLUMNS.values())]
    lines = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for name, columns in grouped(outcomes).items():
        seeds = len(next(iter(columns.values())))
        cells = [f"{np.mean(values):.1f} ± {np.ptp(values) / 2:.1f}" for values in columns.values()]
        lines.append(f"| {_TITLES[name]} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(outcomes: Sequence[Outcome], path: Path) -> None:
    """Synthetic against real PA-MPJPE of every variant, as bars. The difference of each pair is its sim2real gap."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = grouped(outcomes)
    names, place = list(rows), np.arange(len(rows))
    figure, axes = pyplot.subplots(figsize=(8, 0.62 * len(rows) + 1.4), layout="constrained")
    for offset, column, colour in ((-0.2, "synthetic_pa", "#7fb2d9"), (0.2, "real_pa", "#d9773f")):
        means = [float(np.mean(rows[name][column])) for name in names]
        spread = [float(np.ptp(rows[name][column]) / 2) for name in names]
        label = "unseen synthetic people" if column.startswith("synthetic") else "real people, four-camera reference"
        axes.barh(place + offset, means, 0.38, xerr=spread, color=colour, label=label)
    axes.set_yticks(place, [_TITLES[name] for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("PA-MPJPE, mm (different joints and poses: compare the variants, not the two colours)")
    axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
