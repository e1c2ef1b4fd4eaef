"""Placing the body in the frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from common.arrays import FloatArray
from common.camera import Camera
from realtime.records import Keypoints
from realtime.stages.regressor.translation_fit import CONFIDENCE, ERROR, fit_translation

NOISE = Path(__file__).resolve().parents[4] / "training" / "simulation" / "detector_noise.json"
CAMERA = Camera(550.0, 560.0, 319.5, 239.5)
PERSON = np.random.default_rng(3).normal(0, [0.25, 0.5, 0.15], (17, 3)).astype(np.float32)


def see(pelvis: FloatArray, confidence: FloatArray | None = None) -> Keypoints:
    placed = PERSON + pelvis
    points = placed[:, :2] / placed[:, 2:] * [CAMERA.fx, CAMERA.fy] + [CAMERA.cx, CAMERA.cy]
    seen = np.ones(17, np.float32) if confidence is None else confidence
    return Keypoints(0, 0, points.astype(np.float32), seen)


@given(st.floats(-1, 1), st.floats(-0.7, 0.7), st.floats(1.8, 8), st.floats(0.8, 1.25))
@settings(max_examples=60, deadline=None)
def test_exact_keypoints_put_the_body_where_it_is(x: float, y: float, z: float, wrong: float) -> None:
    """Whatever the network predicts, a body that is seen whole is placed by what is seen."""
    truth = np.array([x, y, z], np.float32)
    found = fit_translation(PERSON, see(truth), CAMERA, truth * np.float32(wrong), trust=1e-6)
    assert np.abs(found - truth).max() < 0.02 * z


def test_one_wild_keypoint_moves_the_body_little() -> None:
    truth = np.array([0.2, 0.1, 3.0], np.float32)
    keypoints = see(truth)
    keypoints.points[9] += [260, -180]
    found = fit_translation(PERSON, keypoints, CAMERA, truth * np.float32(1.1))
    assert np.abs(found[:2] - truth[:2]).max() < 0.04
    assert abs(found[2] - 3.0) < 0.35


def test_nothing_seen_keeps_the_networks_answer() -> None:
    prediction = np.array([0.3, -0.2, 4.0], np.float32)
    found = fit_translation(PERSON, see(prediction, np.zeros(17, np.float32)), CAMERA, prediction)
    np.testing.assert_allclose(found, prediction, atol=1e-4)


def test_weights_are_those_of_the_measured_detector() -> None:
    table = np.array(json.loads(NOISE.read_text())["detectors"]["movenet-lightning"]["error"])
    visible = table[:, 0]  # kinds of keypoints, bins of confidence, quantiles
    np.testing.assert_allclose(np.median(visible, -1).mean(0), ERROR, atol=0.001)
    assert len(CONFIDENCE) == visible.shape[1]


def test_doubtful_keypoints_yield_to_confident_ones() -> None:
    """A board hides the body: shoulders, arms and hips are predicted too near each other, only the face is sure."""
    truth = np.array([0.1, -0.1, 1.5], np.float32)
    confidence = np.full(17, 0.25, np.float32)
    confidence[[0, 1, 2, 3, 4, 5, 6]] = 0.9
    keypoints = see(truth, confidence)
    keypoints.points[7:] = keypoints.points[:5].mean(0) + 0.3 * (keypoints.points[7:] - keypoints.points[:5].mean(0))
    found = fit_translation(PERSON, keypoints, CAMERA, truth * np.float32(1.1))
    assert np.abs(found - truth).max() < 0.06


def test_a_joint_named_at_the_edge_may_lie_beyond_it() -> None:
    """Somebody at a desk: hips and legs are out of the frame, and reported at its lower edge."""
    truth = np.array([0.0, 0.45, 1.2], np.float32)
    keypoints = see(truth)
    beyond = keypoints.points[:, 1] > 479
    assert 3 <= beyond.sum() <= 13
    keypoints.points[beyond, 1] = 477
    found = fit_translation(PERSON, keypoints, CAMERA, truth * np.float32(1.05))
    assert np.abs(found[:2] - truth[:2]).max() < 0.03
    inward = np.array([0.0, 0.35, 1.2], np.float32)  # a prediction that would end before the edge is pulled to it
    pulled = fit_translation(PERSON, keypoints, CAMERA, inward)
    assert abs(pulled[1] - truth[1]) < abs(inward[1] - truth[1]) / 3
