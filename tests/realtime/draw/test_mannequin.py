"""What is drawn of a body: smooth where it must be, close to the estimate, turned with it, and never the estimate itself."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from body.lbs import NumpyBody
from body.model import load_body
from common.arrays import FloatArray
from realtime.draw.mannequin import Mannequin, mannequin_for, quad_edges
from realtime.draw.painter import MeshPainter
from realtime.draw.smooth_forms import smooth_forms
from realtime.draw.suit import SuitPart, suit_shares
from tests.realtime.shapes import CAMERA, HEIGHT, WIDTH, person, sphere

ARRAYS = load_body()
FORMS = smooth_forms(ARRAYS)


def roughness(vertices: FloatArray) -> FloatArray:
    """(V,) metres between each vertex and the mean of its neighbours."""
    ends = np.concatenate([ARRAYS.faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    ends = np.concatenate([ends, ends[:, ::-1]])
    sums = np.zeros_like(vertices)
    np.add.at(sums, ends[:, 0], vertices[ends[:, 1]])
    return np.asarray(np.linalg.norm(sums / np.bincount(ends[:, 0])[:, None] - vertices, axis=1), np.float32)


def posed(orient: FloatArray, pose: FloatArray, betas: FloatArray) -> tuple[FloatArray, FloatArray]:
    body = NumpyBody(ARRAYS)
    body.set_shape(betas)
    vertices, _ = body.pose(orient, pose, np.array([0.1, -0.2, 3], np.float32))
    estimate = replace(person(vertices), global_orient=orient, body_pose=pose, betas=betas)
    return vertices, FORMS(estimate)


def test_cloth_is_smooth_and_stays_near_the_body() -> None:
    for betas in (np.zeros(10, np.float32), np.eye(10, dtype=np.float32)[2] * 2):
        rest = ARRAYS.v_template + ARRAYS.shapedirs @ betas
        drawn = rest.copy()
        drawn[FORMS.rows] += FORMS.offsets(betas)
        moved = np.linalg.norm(drawn - rest, axis=1)
        shares = suit_shares(ARRAYS)
        assert moved.max() < 0.08
        assert np.median(moved) < 0.004
        assert moved[shares[:, SuitPart.SKIN] > 0.99].max() < 0.02
        chest = (shares[:, SuitPart.SHIRT] > 0.99) & (rest[:, 2] > 0.06)
        assert roughness(drawn)[chest].mean() < 0.6 * roughness(rest)[chest].mean()


def test_toes_become_the_tip_of_a_shoe() -> None:
    drawn = ARRAYS.v_template.copy()
    drawn[FORMS.rows] += FORMS.mean
    toes = [ARRAYS.landmarks[name] for name in ("LBigToe", "LSmallToe", "RBigToe", "RSmallToe")]
    near = np.linalg.norm(ARRAYS.v_template[:, None] - ARRAYS.v_template[toes], axis=-1).min(1) < 0.03
    assert roughness(drawn)[near].mean() < 0.6 * roughness(ARRAYS.v_template)[near].mean()


def test_offsets_turn_with_the_body() -> None:
    """Turning the whole body turns what is drawn, and no frame of reference is preferred."""
    rng = np.random.default_rng(0)
    pose, betas = rng.normal(0, 0.3, (23, 3)).astype(np.float32), rng.normal(0, 1, 10).astype(np.float32)
    turn = np.array([0.4, -1.1, 0.7])
    plain, drawn = posed(np.zeros(3, np.float32), pose, betas)
    plain_turned, drawn_turned = posed(turn.astype(np.float32), pose, betas)
    rotation = cv2.Rodrigues(turn)[0]
    np.testing.assert_allclose((drawn - plain) @ rotation.T, drawn_turned - plain_turned, atol=2e-5)


def test_offsets_are_what_skinning_does_to_the_rest_pose() -> None:
    """Bend an elbow alone: nothing but the arm is drawn otherwise than in the rest pose."""
    pose = np.zeros((23, 3), np.float32)
    pose[17, 1] = -1.2
    still, drawn_still = posed(np.zeros(3, np.float32), np.zeros((23, 3), np.float32), np.zeros(10, np.float32))
    bent, drawn = posed(np.zeros(3, np.float32), pose, np.zeros(10, np.float32))
    body = ARRAYS.weights[:, [18, 20, 22]].sum(1) == 0
    np.testing.assert_allclose((drawn - bent)[body], (drawn_still - still)[body], atol=1e-5)


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
    edges = quad_edges(ARRAYS)
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
