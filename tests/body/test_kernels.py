"""The compiled rotations of one person's joints, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from body.joints import PARENTS
from body.kernels import articulate, blend_shape, to_axis_angles
from body.model import load_body


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-9, 1e-5, 1e-3, 0.5, 3.0, np.pi - 1e-4]))
@settings(max_examples=40, deadline=None)
def test_matrices_become_the_axis_angles_they_come_from(seed: int, angle: float) -> None:
    axes = np.random.default_rng(seed).normal(size=(24, 3))
    vectors = angle * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    out = np.empty((24, 3), np.float32)
    to_axis_angles(Rotation.from_rotvec(vectors).as_matrix().astype(np.float32), out)
    # The entries of a float32 matrix are good to 6e-8, from which near pi the axis follows to the root of that.
    np.testing.assert_allclose(out, vectors, atol=2e-6 if angle < 3 else 2e-3)


@pytest.mark.parametrize("axis", [*np.eye(3).tolist(), [0.6, 0.8, 0], [0, -0.6, 0.8], [0.8, 0, -0.6]])
def test_half_turns_keep_their_axis(axis: list[float]) -> None:
    matrix = Rotation.from_rotvec(np.pi * np.array(axis)).as_matrix().astype(np.float32)[None]
    out = np.empty((1, 3), np.float32)
    to_axis_angles(matrix, out)
    np.testing.assert_allclose(Rotation.from_rotvec(out[0]).as_matrix(), matrix[0], atol=1e-6)


def test_an_articulated_chain_is_the_product_of_its_rotations() -> None:
    arrays = load_body("body_1722")
    rest = np.asarray(arrays.at_rest(arrays.joint_regressor)[..., 0], np.float32)
    parents = np.array(PARENTS, np.int32)
    rng = np.random.default_rng(1)
    pose = rng.normal(0, 0.8, (24, 3)).astype(np.float32)
    pose[5] = 0
    root = np.array([0.3, -0.2, 3.0], np.float32)
    feature, frames = np.empty(207, np.float32), np.empty((24, 3, 4), np.float32)
    articulate(pose, rest, parents, root, feature, frames)
    turns = Rotation.from_rotvec(pose).as_matrix()
    np.testing.assert_allclose(feature, (turns[1:] - np.eye(3)).ravel(), atol=1e-6)
    for joint in (0, 5, 10, 21, 23):
        chain = [joint]
        while parents[chain[0]] >= 0:
            chain.insert(0, int(parents[chain[0]]))
        turned, place = np.eye(3), root.astype(float)
        for one in chain:
            if parents[one] >= 0:
                place = place + turned @ (rest[one] - rest[parents[one]])
            turned = turned @ turns[one]
        np.testing.assert_allclose(frames[joint, :, :3], turned, atol=1e-5)
        np.testing.assert_allclose(frames[joint, :, 3], place, atol=1e-5)


def test_shapes_are_blended_as_a_product_of_matrices_does() -> None:
    rng = np.random.default_rng(5)
    template, directions = rng.normal(0, 1, 90).astype(np.float32), rng.normal(0, 0.03, (10, 90)).astype(np.float32)
    betas, out = rng.normal(0, 2, 10).astype(np.float32), np.empty(90, np.float32)
    blend_shape(template, directions, betas, out)
    expected = template.astype(np.float64) + betas.astype(np.float64) @ directions.astype(np.float64)
    assert np.ptp(expected - template) > 0.1
    np.testing.assert_allclose(out, expected, atol=1e-6)
