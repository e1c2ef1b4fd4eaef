from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as arrays_of

from body.lbs import NumpyBody
from body.model import load_body
from body.stature import BodyScale, Stature
from common.arrays import FloatArray

BODY = NumpyBody(load_body("body_1722"))
BETAS = arrays_of(np.float32, 10, elements=st.floats(-2.5, 2.5, width=32))


def at_rest(betas: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Vertices and COCO keypoints of the rest pose, with the pelvis at the origin."""
    BODY.set_shape(betas)
    vertices, _ = BODY.pose(np.zeros(3), np.zeros((23, 3)), np.zeros(3))
    return vertices, BODY.coco(vertices)


def height(betas: FloatArray) -> float:
    vertices, _ = at_rest(betas)
    return float(np.ptp(vertices[:, 1]))


@settings(max_examples=60, deadline=None)
@given(BETAS, st.floats(1.56, 1.84))
def test_bodies_come_out_as_high_as_asked_and_say_by_how_much_they_grew(betas: FloatArray, height_m: float) -> None:
    moved, growth = Stature(BODY.arrays, height_m)(betas)
    assert height(moved) == pytest.approx(height_m, abs=1e-3)
    assert growth == pytest.approx(height_m / height(betas), abs=1e-3)
    assert np.abs(moved).max() <= BODY.arrays.beta_limit


@settings(max_examples=40, deadline=None)
@given(BETAS.map(lambda betas: betas / np.float32(3)), st.floats(-0.08, 0.08))
def test_a_grown_person_who_is_farther_away_looks_the_same(betas: FloatArray, taller_m: float) -> None:
    """A metre at 3 m is 183 pixels in an image 640 pixels wide."""
    before = at_rest(betas)[1]
    moved, growth = Stature(BODY.arrays, height(betas) + taller_m)(betas)
    after = at_rest(moved)[1]
    pixels = [550 * points[:, :2] / (depth + points[:, 2:]) for points, depth in ((before, 3.0), (after, 3.0 * growth))]
    off = np.linalg.norm(pixels[1] - pixels[0], axis=1)
    assert off.mean() < 1.0
    assert off.max() < 2.0


def test_who_has_the_height_already_stays_as_he_is() -> None:
    betas = np.linspace(-1, 1, 10).astype(np.float32)
    moved, growth = Stature(BODY.arrays, height(betas))(betas)
    np.testing.assert_allclose(moved, betas, atol=1e-3)
    assert growth == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("height_m", [0.9, 2.3])
def test_what_no_body_reaches_is_approached_without_becoming_odd(height_m: float) -> None:
    stature = Stature(BODY.arrays, height_m)
    low, high = stature.reach_m
    assert 1.45 < low < 1.6
    assert 1.8 < high < 1.95
    moved, growth = stature(np.zeros(10, np.float32))
    assert height(moved) == pytest.approx(low if height_m < low else high, abs=1e-3)
    assert growth == pytest.approx(height(moved) / height(np.zeros(10, np.float32)), abs=1e-5)
    assert np.abs(moved[1:]).max() < 1.2, "what does not make him taller changes little"


def test_a_body_without_limits_of_its_own_is_made_taller_within_reason() -> None:
    arrays = replace(BODY.arrays, beta_limit=float("inf"))
    low, high = Stature(arrays, 1.7).reach_m
    assert 1.2 < low < 1.3
    assert 2.1 < high < 2.2


@pytest.mark.parametrize("factor", [0.95, 1.04])
def test_a_body_is_made_larger_by_a_factor(factor: float) -> None:
    betas = np.linspace(-0.5, 0.5, 10).astype(np.float32)
    moved, growth = BodyScale(BODY.arrays).by_factor(betas, factor)
    assert growth == pytest.approx(factor, abs=1e-4)
    assert height(moved) == pytest.approx(factor * height(betas), abs=1e-3)
