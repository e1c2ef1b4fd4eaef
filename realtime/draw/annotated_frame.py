"""The annotated frame of a result, as recordings, snapshots and the virtual camera show it: one pane or several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import cv2
import numpy as np

from common.arrays import ImageArray
from realtime.draw.flow_field import paint_flow
from realtime.draw.mannequin import Mannequin
from realtime.draw.painter import Figures, MeshPainter, skeleton, text_line
from realtime.draw.panes import PaneGrid, at_size, pane_grid
from realtime.draw.side_view import SideView
from realtime.options import PaneLayout
from realtime.records import Result

_DIM: Final = 0.45  # of the light of the video is left under a flow field
_LINE_EVERY: Final = 300  # rows: the lines of a keypoint pane get a pixel thicker
_LARGEST_PANEL: Final = 1620 * 2160  # pixels: of an image of 1x4000 it would be three thousand times the frame


class AnnotatedFramePainter:
    """Turns a result into one image.

    ``overlay``: the video with bodies, keypoints and figures on it, and the side view beside it if wanted. ``side``: the video
    as it came, and beside it the one with the bodies. ``grid``: the video, its optical flow, the keypoints, the bodies.

    One thread at a time may use a painter: a viewer and a recorder each take their own.
    """

    def __init__(
        self,
        mannequin: Mannequin,
        layout: PaneLayout = "overlay",
        *,
        side_view: bool = False,
        min_confidence: float = 0.3,
    ) -> None:
        """``mannequin``: how bodies look; ``side_view`` adds a panel on the right of an ``overlay``; keypoints are drawn where
        they were detected above ``min_confidence``. Raises ``ValueError`` for faces of another shape."""
        self._mannequin, self._layout = mannequin, layout
        self._painter = MeshPainter(mannequin)
        self._with_side = side_view and layout == "overlay"
        self._min_confidence = min_confidence
        drawers: dict[PaneLayout, tuple[Callable[[ImageArray, Result, str], None], ...]] = {
            "overlay": (self._draw_overlay,),
            "side": (self._draw_input, self._draw_mesh),
            "grid": (self._draw_input, self._draw_flow, self._draw_keypoints, self._draw_mesh),
        }
        self._drawers = drawers[layout]
        self._side: SideView | None = None
        self._frame_size = (0, 0)
        self._image: ImageArray = np.empty((0, 0, 3), np.uint8)
        self._panes: list[ImageArray] = []

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels of the image of a frame of ``height`` x ``width``.

        With the side view the panel is three quarters as wide as high, but no larger than beside a 4K frame, and the whole is
        even in width.
        """
        rows, columns = self._grid(height, width).size
        panel = round(min(height * 0.75, _LARGEST_PANEL / height)) if self._with_side else 0
        return rows, columns + panel + ((columns + panel) % 2 if panel else 0)

    def paint(self, result: Result, figures: Figures | None = None) -> ImageArray:
        """The image (H, W', 3) uint8 BGR of the size that ``size`` tells; the frame itself is not touched.

        The array belongs to the painter and is overwritten by the next call: new memory for each frame would cost more
        time than drawing the bodies.
        """
        frame = result.frame.image
        if self._frame_size != frame.shape[:2]:
            self._begin(*frame.shape[:2])
        first = self._panes[0]
        if first.shape == frame.shape:
            np.copyto(first, frame)
        else:
            cv2.resize(frame, first.shape[1::-1], dst=first, interpolation=cv2.INTER_AREA)
        for pane in self._panes[1:]:
            np.copyto(pane, first)
        result = at_size(result, *first.shape[:2])
        text = "" if figures is None else str(figures)
        dressed = replace(result, people=tuple(self._mannequin.dress(result.people)))
        for draw, pane in zip(self._drawers, self._panes, strict=True):
            draw(pane, dressed, text)
        if self._side is not None:
            panel = self._image[:, first.shape[1] :]
            self._side.paint(panel, dressed.people, result.world)
            text_line(panel, "from the side")
        return self._image

    def _grid(self, height: int, width: int) -> PaneGrid:
        return pane_grid(self._layout, height, width)

    def _begin(self, height: int, width: int) -> None:
        """Get ready for frames of this size."""
        self._frame_size = height, width
        grid = self._grid(height, width)
        self._image = np.empty((*self.size(height, width), 3), np.uint8)
        self._panes = grid.cut(self._image)
        if self._with_side:
            self._side = SideView(self._mannequin, height, self._image.shape[1] - width)

    def _draw_overlay(self, pane: ImageArray, result: Result, figures: str) -> None:
        self._painter.paint_people(pane, result.people, result.camera)
        for body in result.people:
            skeleton(pane, body.keypoints, self._min_confidence)
        if figures:
            text_line(pane, figures)

    def _draw_input(self, pane: ImageArray, result: Result, figures: str) -> None:
        text_line(pane, "input")

    def _draw_flow(self, pane: ImageArray, result: Result, figures: str) -> None:
        grey = cv2.convertScaleAbs(cv2.cvtColor(pane, cv2.COLOR_BGR2GRAY), alpha=_DIM)
        cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR, dst=pane)  # all colour is flow
        paint_flow(pane, result.flows)
        text_line(pane, "optical flow")

    def _draw_keypoints(self, pane: ImageArray, result: Result, figures: str) -> None:
        for body in result.people:
            skeleton(pane, body.keypoints, self._min_confidence, thick=1 + round(pane.shape[0] / _LINE_EVERY))
        text_line(pane, "keypoints")

    def _draw_mesh(self, pane: ImageArray, result: Result, figures: str) -> None:
        self._painter.paint_people(pane, result.people, result.camera)
        text_line(pane, f"mesh    {figures}" if figures else "mesh")
