"""Layouts: where panes lie, and that each shows its own thing in the right place and at its size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.arrays import ImageArray
from common.camera import Camera
from realtime.draw.annotated_frame import AnnotatedFramePainter
from realtime.draw.flow_field import paint_flow
from realtime.draw.mannequin import Mannequin
from realtime.draw.painter import Figures, text_line
from realtime.draw.panes import LARGEST_PANES, at_size, pane_grid
from realtime.options import PaneLayout
from realtime.records import Box, Flow, Result
from tests.realtime.shapes import CAMERA, HEIGHT, WIDTH, person, result, sphere

BALL, FACES = sphere((0, 0, 2), 0.35, rings=24)
PLAIN = Mannequin(FACES)


def seen() -> Result:
    """A grey frame with a ball in its middle, keypoints, and flow to the right around it."""
    frame = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    field = np.zeros((16, 16, 2), np.float32)
    field[..., 0] = 4
    return replace(result(frame, person(BALL)), flows=(Flow(1, 0, 1 / 30, Box(79.5, 59.5, 60), field),))


def changed(image: ImageArray) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """What is not grey of the frame, below the line of text."""
    away = np.abs(image.astype(int) - 128).max(-1) > 12
    away[:40] = False
    return away


def test_side_shows_the_input_beside_the_mesh() -> None:
    painter = AnnotatedFramePainter(PLAIN, "side", side_view=True)
    image = painter.paint(seen(), Figures(30, 50, 1))
    assert image.shape == (*painter.size(HEIGHT, WIDTH), 3) == (HEIGHT, 2 * WIDTH, 3)
    assert not changed(image[:, :WIDTH]).any()
    assert changed(image[:, WIDTH:])[HEIGHT // 2, WIDTH // 2]
    assert painter.paint(seen()) is image, "no fresh memory for each frame"


def test_grid_shows_input_flow_keypoints_and_mesh() -> None:
    image = AnnotatedFramePainter(PLAIN, "grid").paint(seen())
    assert image.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    panes = [image[top : top + HEIGHT, left : left + WIDTH] for top in (0, HEIGHT) for left in (0, WIDTH)]
    for pane in panes:
        assert (pane[:14, :30] > 200).any(), "each has its name"
    assert not changed(panes[0]).any()
    blue, green, red = panes[1][60, 80].astype(int)
    assert red > max(blue, green) + 60, "flow to the right is red"
    assert np.ptp(panes[1][100, 20].astype(int)) == 0, "and all else is grey"
    points = seen().people[0].keypoints.points.astype(int)
    assert all(changed(panes[2])[y, x] for x, y in points)
    assert changed(panes[2]).mean() < 0.1, "no body there"
    assert changed(panes[3])[60, 80]


@pytest.mark.parametrize("layout", ["side", "grid"])
def test_large_frames_are_scaled_with_all_that_is_drawn_on_them(layout: PaneLayout) -> None:
    small, factor = seen(), 12
    camera = Camera(CAMERA.fx * factor, CAMERA.fy * factor, 12 * 80 - 0.5, 12 * 60 - 0.5)
    body = small.people[0]
    points = (body.keypoints.points + 0.5) * factor - 0.5
    box = Box(12 * 80 - 0.5, 12 * 60 - 0.5, 60 * factor)
    large = replace(
        small,
        frame=replace(small.frame, image=np.full((HEIGHT * factor, WIDTH * factor, 3), 128, np.uint8)),
        camera=camera,
        people=(replace(body, keypoints=replace(body.keypoints, points=points.astype(np.float32))),),
        flows=(replace(small.flows[0], box=box),),
    )
    painter = AnnotatedFramePainter(PLAIN, layout)
    image = painter.paint(large)
    assert image.shape[1] == LARGEST_PANES[0] or image.shape[0] == LARGEST_PANES[1]
    grid = pane_grid(layout, *large.frame.image.shape[:2])
    middle = grid.height // 2, grid.width // 2
    mesh = grid.cut(image)[-1]
    body_there = changed(mesh)
    assert body_there[middle]
    expected = 2 * camera.fx * 0.35 / np.sqrt(4 - 0.35**2) * grid.height / (HEIGHT * factor)
    assert np.flatnonzero(body_there[middle[0]]).size == pytest.approx(expected, abs=4)


@given(layout=st.sampled_from(["overlay", "side", "grid"]), height=st.integers(16, 3000), width=st.integers(16, 3000))
def test_panes_fit_the_screen_and_keep_the_frames_shape(layout: PaneLayout, height: int, width: int) -> None:
    grid = pane_grid(layout, height, width)
    if layout == "overlay":
        assert (grid.height, grid.width) == (height, width)
        return
    rows, columns = grid.size
    assert columns <= LARGEST_PANES[0] + grid.columns
    assert rows <= LARGEST_PANES[1] + grid.rows
    assert grid.width <= width
    assert abs(grid.width / width - grid.height / height) <= 1 / min(width, height) + 1e-9


def test_pixels_keep_their_centres_when_they_are_scaled() -> None:
    half = at_size(seen(), HEIGHT // 2, WIDTH // 2)
    pixel = half.camera.project(np.array([[0.3, -0.2, 2.0]], np.float32))
    own = CAMERA.project(np.array([[0.3, -0.2, 2.0]], np.float32))
    np.testing.assert_allclose(pixel, (own + 0.5) / 2 - 0.5, atol=1e-4)
    assert half.flows[0].box == Box(39.5, 29.5, 30)


@pytest.mark.parametrize(("width", "parts"), [(400, 3), (160, 2), (120, 1), (60, 0)])
def test_of_a_line_that_does_not_fit_whole_parts_are_left_out(width: int, parts: int) -> None:
    whole = str(Figures(31.2, 54, 2)).split("    ")
    image, shorter = np.full((2, 120, width, 3), 200, np.uint8)
    text_line(image, "    ".join(whole))
    if parts:
        text_line(shorter, "    ".join(whole[:parts]))
    assert (image == shorter).all()
    assert ((image != 200).any() and (image[:, -1] == 200).all()) == bool(parts)


def test_a_line_that_would_hide_a_small_image_is_left_out() -> None:
    image = np.full((48, 640, 3), 200, np.uint8)
    text_line(image, "input")
    assert (image == 200).all()


def test_the_wheel_of_the_flow_stands_off_the_corner() -> None:
    image = np.zeros((200, 300, 3), np.uint8)
    paint_flow(image, [])
    assert image.any()
    assert not image[-3:].any()
    assert not image[:, -3:].any()


def test_a_line_that_is_too_long_gets_smaller() -> None:
    image = np.zeros((1080, 300, 3), np.uint8)
    text_line(image, str(Figures(29.71, 68.4, 1)))
    ink = (image > 200).any(-1)
    assert ink[:, 200:].any()
    assert not ink[:, 296:].any(), "its last letter is whole"
    assert np.flatnonzero(ink.any(1)).max() < 40
