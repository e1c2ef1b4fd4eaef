"""The view in a terminal: one table, drawn anew a few times a second, for a machine that is reached over SSH."""

from __future__ import annotations

import math
import time
from types import TracebackType
from typing import Final

import numpy as np
from rich.console import Console, Group
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
        self._meter, self._source = meter, source
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
        return Group(self._headline(len(people)), self._stages(), people_table(people))

    def _headline(self, people: int) -> Text:
        meter, state = self._meter, self._source.state
        rate, latency = meter.recent()
        total = self._source.frame_count
        of = f" of {total}" if total else ""
        who = "1 person" if people == 1 else f"{people or 'no'} people"
        line = Text.assemble(("● ", _STATE_STYLES.get(state, "yellow")), (state, "bold"), f"  {self._source.name}\n")
        line.append(f"{_number(rate, 1)} meshes/s   {_number(latency)} ms capture to mesh   {who}   ")
        line.append(f"frame {meter.frames_in}{of}, {meter.frames_dropped} dropped", "dim")
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


def people_table(people: tuple[BodyEstimate, ...]) -> Table:
    """One row a person: where the pelvis is, and `_ANGLES` of the right and the left side."""
    table = Table(expand=False, pad_edge=False, box=None, header_style="bold")
    for name in ("person", "left-right m", "down m", "away m", *(f"{name} R/L °" for name, _ in _ANGLES), "seen"):
        table.add_column(name, justify="right", no_wrap=True)
    for body in people:
        x, y, z = (float(value) for value in body.transl)
        angles = _angles(body)
        pairs = (f"{angles[f'{name}_r']:.0f} / {angles[f'{name}_l']:.0f}" for _, name in _ANGLES)
        seen = f"{100 * float(body.keypoints.confidence.mean()):.0f} %"
        table.add_row(str(body.person), f"{x:+.2f}", f"{y:+.2f}", f"{z:.2f}", *pairs, seen)
    return table


def _angles(body: BodyEstimate) -> dict[str, float]:
    """Every joint angle of `formats.joint_angles` by its name, degrees in -180..180."""
    rotations = np.concatenate([body.global_orient[None], body.body_pose])[None].astype(np.float64)
    place = body.transl[None].astype(np.float64)
    row = angles_of(MotionTrack(body.person, np.zeros(1), rotations, place, body.betas, np.ones(1, np.bool_)))[0]
    return {name: (value + 180) % 360 - 180 for name, value in zip(COLUMNS[2:], row.tolist(), strict=True)}


def _number(value: float, digits: int = 0) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"
