"""Differences as tables and as a plot."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from body.model import load_body
from common.errors import UserError
from formats.compare import differences
from realtime.comparison import plot_differences, tables
from realtime.draw.error_plot import PLOT_SIZE, Curve, draw_curves
from tests.formats.motions import two_people


def test_the_tables_say_each_persons_errors() -> None:
    motion = two_people(load_body(), world=False)
    shifted = two_people(load_body(), world=False)
    shifted.joints_m[...] += np.float32(0.1) * np.array([0.6, 0, 0.8], np.float32)
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as capture:
        for table in tables(differences(motion, shifted)):
            console.print(table)
    lines = capture.get().splitlines()
    errors = [line.replace("│", " ").split() for line in lines if " = " in line][:2]
    assert errors[0][:6] == ["0", "=", "0", "60", "100.0", "0.0"]
    assert errors[1][:6] == ["3", "=", "3", "27", "100.0", "0.0"]


def test_a_curve_lies_where_its_values_are() -> None:
    seconds = np.linspace(0, 8, 241)
    values = np.where(seconds < 4, 20.0, 60.0)
    image = draw_curves([Curve("error", seconds, values, (0, 0, 255))], "mm")
    assert image.shape == (PLOT_SIZE[1], PLOT_SIZE[0], 3)
    red = (image[..., 2] > 200) & (image[..., 0] < 60) & (image[..., 1] < 60)
    red[:60] = False  # the legend
    first, second = (np.nonzero(red[:, x])[0].mean() for x in (PLOT_SIZE[0] // 4, PLOT_SIZE[0] * 3 // 4))
    bottom = PLOT_SIZE[1] - 60
    assert (bottom - second) / (bottom - first) == pytest.approx(3, rel=0.03)


def test_a_curve_has_holes_where_nothing_is_known() -> None:
    seconds = np.linspace(0, 8, 241)
    values = np.where((seconds > 3) & (seconds < 5), np.nan, 20.0)
    image = draw_curves([Curve("error", seconds, values, (0, 0, 255))], "mm")
    red = ((image[..., 2] > 200) & (image[..., 0] < 60))[60:].any(0)
    middle = 80 + round((PLOT_SIZE[0] - 110) / 2)
    assert not red[middle - 100 : middle + 100].any()
    assert red[middle - 300]


def test_nothing_to_plot_and_another_ending_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing"):
        draw_curves([Curve("error", np.zeros(1), np.full(1, np.nan), (0, 0, 0))], "mm")
    motion = two_people(load_body(), world=False)
    found = differences(motion, motion)
    with pytest.raises(UserError, match=r"\.png"):
        plot_differences(tmp_path / "out.jpg", found)
    plot_differences(tmp_path / "out.png", found)
    assert cv2.imread(str(tmp_path / "out.png")).shape == (PLOT_SIZE[1], PLOT_SIZE[0], 3)
