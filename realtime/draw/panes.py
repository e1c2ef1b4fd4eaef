"""Panes of an annotated image: where they lie, and a result at their size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from common.arrays import ImageArray
from common.camera import Camera
from realtime.options import PaneLayout
from realtime.records import BodyEstimate, Box, Flow, Result

LARGEST_PANES: Final = (1920, 1080)
"""Width and height, pixels, that panes side by side take at most: larger ones would be scaled down on the screen, and cost
the encoder's time."""

_COLUMNS_ROWS: Final[dict[PaneLayout, tuple[int, int]]] = {"overlay": (1, 1), "side": (2, 1), "grid": (2, 2)}


@dataclass(frozen=True, slots=True)
class PaneGrid:
    """Panes of one size, row by row, without gaps."""

    columns: int
    """Panes side by side."""
    rows: int
    """Panes one above the other."""
    width: int
    """Width of one pane, pixels."""
    height: int
    """Height of one pane, pixels."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of all panes together, pixels."""
        return self.rows * self.height, self.columns * self.width

    def cut(self, canvas: ImageArray) -> list[ImageArray]:
        """The panes as views of ``canvas``, whose top left part they are."""
        starts = [
            (row * self.height, column * self.width) for row in range(self.rows) for column in range(self.columns)
        ]
        return [canvas[top : top + self.height, left : left + self.width] for top, left in starts]


def pane_grid(layout: PaneLayout, height: int, width: int) -> PaneGrid:
    """The panes of ``layout`` for frames of ``height`` x ``width`` pixels: one keeps their size, several are scaled down until
    all fit into `LARGEST_PANES`."""
    columns, rows = _COLUMNS_ROWS[layout]
    if columns == rows == 1:
        return PaneGrid(1, 1, width, height)
    scale = min(1.0, LARGEST_PANES[0] / (columns * width), LARGEST_PANES[1] / (rows * height))
    return PaneGrid(columns, rows, max(round(width * scale), 1), max(round(height * scale), 1))


def at_size(result: Result, height: int, width: int) -> Result:
    """``result`` with all that is in pixels as in an image of ``height`` x ``width``; its frame's image stays as it is."""
    own_height, own_width = result.frame.image.shape[:2]
    if (own_height, own_width) == (height, width):
        return result
    x, y = width / own_width, height / own_height
    camera = result.camera
    return replace(
        result,
        camera=Camera(camera.fx * x, camera.fy * y, (camera.cx + 0.5) * x - 0.5, (camera.cy + 0.5) * y - 0.5),
        people=tuple(_person_at(body, x, y) for body in result.people),
        flows=tuple(_flow_at(flow, x, y) for flow in result.flows),
    )


def _person_at(body: BodyEstimate, x: float, y: float) -> BodyEstimate:
    points = (body.keypoints.points + np.float32(0.5)) * np.array([x, y], np.float32) - np.float32(0.5)
    return replace(body, keypoints=replace(body.keypoints, points=points))


def _flow_at(flow: Flow, x: float, y: float) -> Flow:
    box = flow.box
    return replace(flow, box=Box((box.x + 0.5) * x - 0.5, (box.y + 0.5) * y - 0.5, box.size * x))
