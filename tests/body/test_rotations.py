"""Rotations against roma, an independent implementation, and against their own inverses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle, nearest_rotation
from common.arrays import DoubleArray, FloatArray

vectors = arrays(np.float64, (4, 3), elements=st.floats(-10, 10, allow_subnormal=False))
directions = arrays(np.float64, 3, elements=st.floats(-1, 1)).filter(lambda v: float(np.linalg.norm(v)) > 0.1)


@given(vectors)
def test_a_matrix_is_a_rotation(vector: DoubleArray) -> None:
    matrix = axis_angle_to_matrix(vector)
    np.testing.assert_allclose(matrix @ np.swapaxes(matrix, -1, -2), np.broadcast_to(np.eye(3), (4, 3, 3)), atol=1e-13)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-13)


@settings(deadline=None)  # the first example imports torch
@given(vectors)
def test_axis_angle_equals_roma(vector: DoubleArray) -> None:
    torch = pytest.importorskip("torch")
    roma = pytest.importorskip("roma")
    reference = roma.rotvec_to_rotmat(torch.from_numpy(vector)).numpy()
    np.testing.assert_allclose(axis_angle_to_matrix(vector), reference, atol=1e-7)


@given(directions, st.floats(0, np.pi))
def test_axis_angle_survives_the_matrix(direction: DoubleArray, angle: float) -> None:
    vector = direction / np.linalg.norm(direction) * angle
    back = matrix_to_axis_angle(axis_angle_to_matrix(vector))
    assert np.linalg.norm(back) <= np.pi + 1e-12
    np.testing.assert_allclose(axis_angle_to_matrix(back), axis_angle_to_matrix(vector), atol=1e-13)
    if angle < np.pi - 1e-6:  # at pi the axis' sign is free
        np.testing.assert_allclose(back, vector, atol=1e-9)


@pytest.mark.parametrize("angle", [0.0, 1e-300, 1e-160, 1e-12, 1e-8, 1e-4, np.pi - 1e-9, np.pi])
def test_the_ends_of_the_range_are_exact(angle: float) -> None:
    for axis in np.eye(3):
        back = matrix_to_axis_angle(axis_angle_to_matrix(axis * angle))
        np.testing.assert_allclose(np.abs(back), axis * angle, rtol=1e-9, atol=1e-14)


def test_float32_stays_float32() -> None:
    vector = np.full((2, 5, 3), 0.3, np.float32)
    matrix = axis_angle_to_matrix(vector)
    assert matrix.shape == (2, 5, 3, 3)
    for result in (matrix, matrix_to_axis_angle(matrix), nearest_rotation(matrix)):
        assert result.dtype == np.float32
    np.testing.assert_allclose(matrix_to_axis_angle(matrix), vector, atol=1e-6)


def test_a_wrong_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="axis-angle must have shape"):
        axis_angle_to_matrix(np.zeros(4))


@given(arrays(np.float64, (5, 3), elements=st.floats(-0.7, 0.7)), arrays(np.float64, 5, elements=st.floats(0.1, 1)))
def test_a_mean_of_rotations_is_the_chordal_one(vectors: DoubleArray, weights: DoubleArray) -> None:
    matrices = axis_angle_to_matrix(vectors)
    found = nearest_rotation(np.tensordot(weights, matrices, 1))
    np.testing.assert_allclose(found, Rotation.from_matrix(matrices).mean(weights).as_matrix(), atol=1e-9)


@given(arrays(np.float32, (3, 3, 3), elements=st.floats(-1, 1, width=32)))
def test_the_nearest_rotation_is_one_and_none_tried_is_nearer(matrix: FloatArray) -> None:
    found = nearest_rotation(matrix)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found @ np.swapaxes(found, -1, -2), np.broadcast_to(np.eye(3), (3, 3, 3)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-5)
    others = Rotation.random(50, random_state=np.random.default_rng(0)).as_matrix()
    distance = np.linalg.norm(others[:, None] - matrix, axis=(-2, -1)).min(0)
    assert (np.linalg.norm(found - matrix, axis=(-2, -1)) <= distance + 1e-5).all()
