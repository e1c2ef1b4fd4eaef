"""The view in a terminal: one table, drawn anew a few times a second, for a machine that is reached over SSH."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Final

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from common.errors import UserError
from formats.joint_angles import COLUMNS, angles_of
from formats.tracks import MotionTrack
from realtime.measure import Meter
from realtime.records import BodyEstimate, Result
from realtime.sources import Source

_EVERY_S: Final = 0.25
_ANGLES: Final = (
    ("knees", "knee_angle"),
    ("hips", "hip_flexion"),
    ("elbows", "elbow_flex"),
    ("arms", "arm_flex"),
)
"""What is told of a person, degrees of flexion with OpenSim's signs: heading, and the angle's name without its side."""
_ALL_ROWS: Final = 16  # a lower terminal leaves out the times of the stages, so that people have room
_STATE_STYLES: Final = {"live": "green", "connecting": "yellow", "stalled": "yellow", "lost": "red"}


def check_terminal(console: Console | None) -> Console:
    """``console``, where a table can be drawn on it. Raises `UserError` where it is none or no terminal."""
    if console is None or not console.is_terminal:
        raise UserError("--view terminal draws a table: run it in a terminal (ssh -t), or use --view none")
    return console


class TerminalView:
    """Shows the source's state, rates, stage times and people with a few joint angles. Use it as a context manager.

    `show` belongs to the sink's thread, `draw` to the main thread.
    """

    def __init__(self, console: Console, meter: Meter, source: Source) -> None:
        self._console, self._meter, self._source = console, meter, source
        self._last: Result | None = None
        self._due_s = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=False, vertical_overflow="ellipsis")

    def show(self, result: Result) -> None:
        """Take the newest result; its image is not used."""
        self._last = result

    def draw(self) -> None:
        """Draw the table anew, where it is time for it."""
        now = time.monotonic()
        if now >= self._due_s:
            self._due_s = now + _EVERY_S
            self._live.update(self._render(), refresh=True)

    def _render(self) -> Group:
        people = () if self._last is None else self._last.people
        parts: list[RenderableType] = [self._headline(len(people)), people_table(people, self._console.width)]
        if self._console.height >= _ALL_ROWS:
            parts.insert(1, self._stages())
        return Group(*parts)

    def _headline(self, people: int) -> Text:
        meter, state = self._meter, self._source.state
        rate, latency = meter.recent()
        total = self._source.frame_count
        of = f" of {total}" if total else ""
        who = "1 person" if people == 1 else f"{people or 'no'} people"
        line = Text.assemble(("● ", _STATE_STYLES.get(state, "yellow")), (state, "bold"), f"  {self._source.name}\n")
        told = [f"{_number(rate, 1)} meshes/s", f"{_number(latency)} ms capture to mesh", who]
        told.append(f"frame {meter.frames_in}{of}, {meter.frames_dropped} dropped")
        line.append(("   " if len("   ".join(told)) <= self._console.width else "\n").join(told))
        return line

    def _stages(self) -> Text:
        times = sorted(self._meter.recent_stages().items(), key=lambda item: -item[1])
        return Text("   ".join(f"{name} {ms:.1f} ms" for name, ms in times if ms >= 0.05), "dim", overflow="fold")

    def __enter__(self) -> TerminalView:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.update(self._render())
        self._live.stop()


def people_table(people: tuple[BodyEstimate, ...], width: int) -> Table:
    """One row a person: its number, how far away its pelvis is, `_ANGLES` of the right and the left side, how surely its
    keypoints were seen, and where the pelvis is across and down. Columns that do not fit into ``width`` letters are left out,
    the last first."""
    columns: dict[str, list[str]] = {}
    for body in people:
        x, y, z = (float(value) for value in body.transl)
        angles = _angles(body)
        row = {"person": str(body.person), "away m": f"{z:.2f}"}
        row |= {f"{title} R/L °": f"{angles[f'{name}_r']:.0f}/{angles[f'{name}_l']:.0f}" for title, name in _ANGLES}
        row |= {"seen": f"{100 * float(body.keypoints.confidence.mean()):.0f} %"}
        row |= {"across m": f"{x:+.2f}", "down m": f"{y:+.2f}"}
        for title, cell in row.items():
            columns.setdefault(title, []).append(cell)
    table = Table(expand=False, pad_edge=False, box=None, header_style="bold")
    used = 0
    shown: list[list[str]] = []
    for title, cells in columns.items():
        used += max(len(title), *map(len, cells)) + (2 if shown else 0)
        if used > width:
            break
        table.add_column(title, justify="right", no_wrap=True)
        shown.append(cells)
    for row_of_cells in zip(*shown, strict=True):
        table.add_row(*row_of_cells)
    return table


def _angles(body: BodyEstimate) -> dict[str, float]:
    """Every joint angle of `formats.joint_angles` by its name, degrees in -180..180."""
    rotations = np.concatenate([body.global_orient[None], body.body_pose])[None].astype(np.float64)
    place = body.transl[None].astype(np.float64)
    row = angles_of(MotionTrack(body.person, np.zeros(1), rotations, place, body.betas, np.ones(1, np.bool_)))[0]
    return {name: (value + 180) % 360 - 180 for name, value in zip(COLUMNS[2:], row.tolist(), strict=True)}


def _number(value: float, digits: int = 0) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"
