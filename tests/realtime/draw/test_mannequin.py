"""What is drawn of a body: smooth where it must be, close to the estimate, turned with it, and never the estimate itself."""

from __future__ import annotations

import numpy as np
import pytest

from body.model import load_body
from realtime.draw.mannequin import Mannequin, mannequin_for, quad_edges
from realtime.draw.painter import MeshPainter
from tests.realtime.shapes import CAMERA, HEIGHT, WIDTH, person, sphere

ARRAYS = load_body()


def test_dressing_leaves_the_estimate_alone() -> None:
    estimate = person(ARRAYS.v_template + np.array([0, 0, 3], np.float32))
    before = estimate.vertices.copy()
    suited, bare = mannequin_for(ARRAYS), mannequin_for(ARRAYS, "clay")
    assert np.abs(suited.dress([estimate])[0].vertices[: len(before)] - before).max() > 0.002
    assert bare.dress([estimate])[0] is estimate
    np.testing.assert_array_equal(estimate.vertices, before)


def test_a_wire_frame_shows_lines_and_what_is_behind() -> None:
    ball, faces = sphere((0, 0, 2), 0.5, rings=10)
    painted = {}
    for name, edges in (
        ("solid", None),
        ("wire", np.ones(faces.shape, np.uint8)),
        ("none", np.zeros(faces.shape, np.uint8)),
    ):
        image = np.full((HEIGHT, WIDTH, 3), 100, np.uint8)
        MeshPainter(Mannequin(faces, edges=edges)).paint(image, ball, CAMERA, (255, 0, 255))
        painted[name] = image[..., 1].astype(int)
    inside = painted["none"] < 100
    np.testing.assert_array_equal(inside, painted["solid"] < 100)
    assert (painted["none"][inside] == 62).all()  # seen through, a little darker
    share = (painted["wire"][inside] < 55).mean()
    assert 0.15 < share < 0.8  # lines, with gaps between them


def test_diagonals_of_quads_are_left_out() -> None:
    edges = quad_edges(ARRAYS.v_template, ARRAYS.faces)
    share = 1 - edges.mean()
    assert 0.2 < share <= 1 / 3  # one of the three edges of nearly each triangle
    assert (edges.sum(1) >= 2).all()


@pytest.mark.parametrize("look", ["suit", "clay", "wire"])
def test_each_look_can_be_painted(look: str) -> None:
    mannequin = mannequin_for(load_body("body_1722"), look)  # type: ignore[arg-type]
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    body = load_body("body_1722").v_template * np.array([1, -1, -1], np.float32) + np.array([0, 0, 3], np.float32)
    MeshPainter(mannequin).paint_people(image, mannequin.dress([person(body)]), CAMERA)
    assert image.any()
