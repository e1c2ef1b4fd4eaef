"""The surface that a suit covers: smooth where it must be, close to the estimate, and turned with it."""

from __future__ import annotations

import cv2
import numpy as np

from body.lbs import NumpyBody
from body.model import load_body
from body.suit.parts import SuitPart, suit_shares
from body.suit.smooth_forms import smooth_forms
from common.arrays import FloatArray

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
    return vertices, FORMS(vertices, np.concatenate([orient[None], pose]), betas)


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
