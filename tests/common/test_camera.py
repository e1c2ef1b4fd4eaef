"""Projection and rays against the pinhole matrix, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.camera import NEAR_M, NEAREST_M, Camera

lengths = st.floats(50.0, 5000.0)
centres = st.floats(-500.0, 5000.0)
cameras = st.builds(Camera, fx=lengths, fy=lengths, cx=centres, cy=centres)
sides = st.floats(-20.0, 20.0)
depths = st.floats(0.05, 100.0)


@given(cameras, sides, sides, depths)
def test_projection_is_that_of_the_matrix(camera: Camera, x: float, y: float, z: float) -> None:
    homogeneous = camera.matrix @ [x, y, z]
    np.testing.assert_allclose(
        camera.project(np.array([x, y, z])), homogeneous[:2] / homogeneous[2], rtol=1e-9, atol=1e-6
    )


@given(cameras, sides, sides, depths)
def test_rays_undo_projection(camera: Camera, x: float, y: float, z: float) -> None:
    point = np.array([x, y, z])
    ray = camera.rays(camera.project(point))
    assert ray[2] == 1
    np.testing.assert_allclose(ray * z, point, rtol=1e-9, atol=1e-6)


@given(cameras)
def test_the_matrix_gives_the_camera_back(camera: Camera) -> None:
    assert Camera.from_matrix(camera.matrix) == camera


@given(cameras, sides, sides, st.floats(-100.0, NEAR_M))
def test_what_is_not_in_front_has_no_pixel(camera: Camera, x: float, y: float, z: float) -> None:
    assert np.isnan(camera.project(np.array([x, y, z]))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_leading_axes_are_kept_and_points_stay_apart(dtype: type[np.floating]) -> None:
    camera = Camera(500.0, 510.0, 320.0, 240.0)
    points = np.random.default_rng(0).uniform([-1, -1, 0.5], [1, 1, 4], (2, 5, 3)).astype(dtype)
    points[1, 2, 2] = -1.0
    pixels = camera.project(points)
    assert pixels.shape == (2, 5, 2)
    assert pixels.dtype == np.float64
    assert np.isnan(pixels).all(-1).sum() == 1
    np.testing.assert_array_equal(pixels[0, 3], camera.project(points[0, 3]))
    assert camera.rays(pixels).shape == (2, 5, 3)


def test_the_principal_point_is_on_the_axis() -> None:
    camera = Camera(500.0, 510.0, 320.0, 240.0)
    np.testing.assert_array_equal(camera.project(np.array([0.0, 0.0, 2.0])), [320, 240])
    np.testing.assert_array_equal(camera.rays(np.array([320.0, 240.0])), [0, 0, 1])
    np.testing.assert_array_equal(camera.rays(np.array([820.0, 240.0])), [1, 0, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clamped_points_keep_their_dtype_and_near_ones_count_as_at_the_least_depth(dtype: type[np.floating]) -> None:
    camera = Camera.from_array(np.array([500.0, 510.0, 320.0, 240.0], dtype))
    points = np.random.default_rng(0).uniform([-1, -1, 2 * NEAREST_M], [1, 1, 4], (2, 5, 3)).astype(dtype)
    pixels = camera.project_clamped(points)
    assert pixels.dtype == dtype
    np.testing.assert_allclose(pixels, camera.project(points), rtol=1e-5, atol=1e-3)
    for depth in (0.0, -3.0, NEAREST_M):
        points[..., 2] = depth
        expected = points[..., :2].astype(float) / NEAREST_M * [500, 510] + [320, 240]
        np.testing.assert_allclose(camera.project_clamped(points), expected, rtol=1e-5, atol=1e-2)
