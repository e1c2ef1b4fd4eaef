"""Placing the body in the picture."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.records import Camera, Keypoints
from realtime.regressor import place_in_view

CAMERA = Camera(550.0, 560.0, 319.5, 239.5)
PERSON = np.random.default_rng(3).normal(0, [0.25, 0.5, 0.15], (17, 3)).astype(np.float32)


def see(pelvis: np.ndarray, confidence: np.ndarray | None = None) -> Keypoints:  # type: ignore[type-arg]
    placed = PERSON + pelvis
    points = placed[:, :2] / placed[:, 2:] * [CAMERA.fx, CAMERA.fy] + [CAMERA.cx, CAMERA.cy]
    seen = np.ones(17, np.float32) if confidence is None else confidence
    return Keypoints(0, 0, points.astype(np.float32), seen)


@given(st.floats(-1, 1), st.floats(-0.7, 0.7), st.floats(1.8, 8), st.floats(0.8, 1.25))
@settings(max_examples=60, deadline=None)
def test_exact_keypoints_put_the_body_where_it_is(x: float, y: float, z: float, wrong: float) -> None:
    """Whatever the network guesses, a body that is seen whole is placed by what is seen."""
    truth = np.array([x, y, z], np.float32)
    found = place_in_view(PERSON, see(truth), CAMERA, truth * np.float32(wrong), trust=1e-6)
    assert np.abs(found - truth).max() < 0.02 * z


def test_one_wild_keypoint_moves_the_body_little() -> None:
    truth = np.array([0.2, 0.1, 3.0], np.float32)
    keypoints = see(truth)
    keypoints.points[9] += [260, -180]
    found = place_in_view(PERSON, keypoints, CAMERA, truth * np.float32(1.1))
    assert np.abs(found[:2] - truth[:2]).max() < 0.04
    assert abs(found[2] - 3.0) < 0.35


def test_nothing_seen_keeps_the_networks_answer() -> None:
    guess = np.array([0.3, -0.2, 4.0], np.float32)
    found = place_in_view(PERSON, see(guess, np.zeros(17, np.float32)), CAMERA, guess)
    np.testing.assert_allclose(found, guess, atol=1e-4)
