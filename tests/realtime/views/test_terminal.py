"""The table in a terminal: what it says, and that it is drawn nowhere else."""

from __future__ import annotations

import io
import math
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from body.model import load_body
from common.errors import UserError
from realtime.measure import Meter
from realtime.options import Options
from realtime.session import Session
from realtime.views.terminal import TerminalView, check_terminal, people_table
from tests.realtime.browser.people import result_of
from tests.realtime.fakes import FakeSource
from tests.realtime.pty_screen import Terminal, screen_of
from tests.realtime.window.screen import soon

CLIP = Path(__file__).parents[3] / "assets" / "synthetic_walk.mp4"


def terminal() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=True, width=140, color_system=None), text


def test_the_table_says_what_is_known() -> None:
    console, text = terminal()
    meter = Meter()
    source = FakeSource([0.0] * 300, live=True)
    result = result_of(load_body("body_1722"), 7, 2)
    now = time.monotonic_ns()
    for number in range(40):
        meter.frames_in += 1
        meter.mesh(now + number * 40_000_000 - 25_000_000, now + number * 40_000_000)
    with meter.stage("keypoints"):
        time.sleep(0.002)
    with TerminalView(console, meter, source) as view:
        view.draw()
        view.show(result)
    said = text.getvalue()
    assert "no people" in said
    last = said[said.rindex("live") :]
    for words in (
        "25.0 meshes/s",
        "25 ms capture to mesh",
        "2 people",
        "frame 40 of 300, 0 dropped",
        "keypoints",
        "fake",
    ):
        assert words in last, words
    for body in result.people:
        assert f"{float(body.transl[2]):.2f}" in last


def test_nothing_is_measured_before_the_first_mesh() -> None:
    console, text = terminal()
    with TerminalView(console, Meter(), FakeSource([], live=False)) as view:
        view.draw()
    assert "– meshes/s" in text.getvalue()
    assert "nan" not in text.getvalue()


def test_a_bent_knee_is_told_in_degrees() -> None:
    body = result_of(load_body("body_1722"), 7, 1).people[0]
    body.body_pose[:] = 0
    body.body_pose[4] = math.radians(40), 0, 0  # the right knee
    console, text = terminal()
    console.print(people_table((body,), 80))
    assert "40/0" in text.getvalue()
    assert np.isfinite(body.body_pose).all()


@pytest.mark.parametrize(("width", "missing"), [(40, "elbows"), (80, "down m"), (120, "")])
def test_what_does_not_fit_is_left_out_whole(width: int, missing: str) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=width, color_system=None)
    console.print(people_table(result_of(load_body("body_1722"), 7, 3).people, width))
    lines = text.getvalue().splitlines()
    assert len(lines) == 4
    assert "…" not in text.getvalue()
    assert lines[0].split()[:4] == ["person", "away", "m", "knees"]
    assert not missing or missing not in lines[0]


def test_it_is_drawn_anew_a_few_times_a_second_only() -> None:
    console, text = terminal()
    with TerminalView(console, Meter(), FakeSource([], live=False)) as view:
        view.draw()
        drawn = len(text.getvalue())
        for _ in range(20):
            view.draw()
        assert len(text.getvalue()) == drawn


def test_without_a_terminal_one_line_says_so() -> None:
    with pytest.raises(UserError, match="--view terminal draws a table"):
        check_terminal(Console(file=io.StringIO()))
    with pytest.raises(UserError, match="--view none"):
        Session(Options(source=str(CLIP), view="terminal")).run()


def test_a_run_ends_with_its_last_table() -> None:
    console, text = terminal()
    report = Session(Options(source=str(CLIP), view="terminal", frames=6), console=console).run()
    assert report.results == 6
    last = text.getvalue()[text.getvalue().rindex("meshes/s") :]
    assert "1 person" in last
    assert "frame 6" in last


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 12)])
def test_ctrl_c_leaves_the_terminal_as_it_was(columns: int, rows: int, tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    options = ["--source", str(CLIP), "--view", "terminal", "--quality", "live", "--persons", "1", "--loop"]
    command = [sys.executable, str(root / "run_camera.py"), *options]
    environment = {**os.environ, "TERM": "xterm"} | {"COLUMNS": "", "LINES": ""}
    with Terminal(command, columns, rows, environment, tmp_path) as terminal:
        assert soon(lambda: "1 person" in terminal.said, 300)
        told, visible = screen_of(terminal.said, columns)
        assert not visible
        assert max(map(len, told)) <= columns
        table = next(line for line in told if line.startswith("person"))
        assert ("elbows" in table) == (columns == 80)
        before = len(terminal.said)
        terminal.resize(columns + 30, rows + 6)
        assert soon(lambda: "elbows" in terminal.said[before:], 60)
        terminal.type("\x03")
        assert terminal.wait(60) == 130
        lines, visible = screen_of(terminal.said[before:], terminal.columns)
    assert visible
    assert max(map(len, lines)) <= terminal.columns
    end = "\n".join(lines).rpartition("● live")[2]  # the last table
    assert end.count("ms capture to mesh\n") + end.count("ms capture to mesh   ") == 1
    assert end.count("person  away m") == 1
    assert "stopped; what was recorded is complete" in end
    assert "Traceback" not in terminal.said
