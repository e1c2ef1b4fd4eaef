"""The z-buffer against closed forms: silhouettes, depths, borders, the near plane."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.arrays import DoubleArray, FloatArray, Int32Array
from common.camera import NEAREST_M, Camera
from realtime.draw.raster import Rasteriser
from tests.realtime.shapes import CAMERA, HEIGHT, WIDTH, plane, sphere

COLOUR = (200.0, 100.0, 50.0)


def drawn(
    mesh: tuple[FloatArray, Int32Array],
    camera: Camera = CAMERA,
    cull: bool = True,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> Rasteriser:
    raster = Rasteriser(mesh[1], cull=cull)
    raster.begin(*size)
    raster.add(mesh[0], camera, COLOUR)
    return raster


def rays(camera: Camera = CAMERA) -> DoubleArray:
    """(H, W, 3): the ray through each pixel's centre, z = 1."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x)], -1)


def sphere_depth(centre: DoubleArray, radius: float) -> DoubleArray:
    """(H, W) z of the near surface along each pixel's ray, nan where it misses."""
    ray = rays()
    a, b, c = (ray**2).sum(-1), ray @ centre, centre @ centre - radius**2
    with np.errstate(invalid="ignore"):
        return np.asarray((b - np.sqrt(b**2 - a * c)) / a)


@pytest.mark.parametrize("centre", [(0, 0, 2), (0.3, -0.2, 2), (0.75, 0.1, 2), (-0.7, -0.55, 1.8)])
def test_silhouette_and_depth_of_a_sphere(centre: tuple[float, float, float]) -> None:
    raster = drawn(sphere(centre, 0.35))
    truth = sphere_depth(np.array(centre, float), 0.35)
    inside, seen = np.isfinite(truth), raster.inverse_depth > 0
    outer = np.isfinite(sphere_depth(np.array(centre, float), 0.355))
    inner = np.isfinite(sphere_depth(np.array(centre, float), 0.345))
    assert inner.sum() > 500
    assert not (seen & ~outer).any()
    assert not (inner & ~seen).any()
    sure = inner & inside
    np.testing.assert_allclose(1 / raster.inverse_depth[sure], truth[sure], atol=6e-3)
    left, top, right, bottom = raster.region
    outside = seen.copy()
    outside[top:bottom, left:right] = False
    assert not outside.any()


def test_plane_at_known_depth_fills_the_image() -> None:
    raster = drawn(plane(3.0))
    np.testing.assert_allclose(raster.inverse_depth, 1 / 3, rtol=1e-5)
    assert raster.region == (0, 0, WIDTH, HEIGHT)


def test_pixel_centres_are_whole_numbers() -> None:
    corners = np.array([[2, 1, 1], [5, 1, 1], [5, 4, 1], [2, 4, 1]], np.float32)
    raster = drawn((corners, np.array([[0, 2, 1], [0, 3, 2]], np.int32)), Camera(1, 1, 0, 0), size=(8, 8))
    seen = np.zeros((8, 8), bool)
    seen[1:5, 2:6] = True
    np.testing.assert_array_equal(raster.inverse_depth > 0, seen)


def test_no_pixel_falls_between_triangles() -> None:
    rng = np.random.default_rng(0)
    side = 40
    grid = np.stack(np.meshgrid(np.linspace(-3, 3, side), np.linspace(-3, 3, side)), -1)
    grid += rng.uniform(-0.05, 0.05, grid.shape)
    corners = np.concatenate([grid, np.full((side, side, 1), 2.0)], -1).reshape(-1, 3).astype(np.float32)
    at = np.arange(side * side).reshape(side, side)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, 1:].ravel(), at[1:, :-1].ravel()
    faces = np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)]).astype(np.int32)
    assert (drawn((corners, faces)).inverse_depth > 0).all()


def test_plane_through_the_camera_is_cut_at_the_near_plane() -> None:
    """A floor one metre below, from far behind the camera to far in front of it: z = fy / (y - cy)."""
    floor = np.array([[-90, 1, -90], [90, 1, -90], [90, 1, 90], [-90, 1, 90]], np.float32)
    raster = drawn((floor, np.array([[0, 1, 2], [0, 2, 3]], np.int32)), cull=False)
    rows = np.arange(HEIGHT)
    below = rows > 65
    truth = (rows - CAMERA.cy) / CAMERA.fy
    np.testing.assert_allclose(
        raster.inverse_depth[below], np.broadcast_to(truth[below, None], (below.sum(), WIDTH)), rtol=2e-3
    )
    assert not (raster.inverse_depth[rows < 59] > 0).any()


def test_sphere_round_the_camera_shows_nothing_but_its_inside() -> None:
    around = sphere((0, 0, 0), 1.0)
    assert not (drawn(around).inverse_depth > 0).any()
    assert (drawn(around, cull=False).inverse_depth > 0).all()
    assert drawn(around, cull=False).inverse_depth.max() <= 1 / NEAREST_M


@pytest.mark.parametrize("centre", [(0, 0, -2), (5, 0, 2), (0, -5, 2), (0, 0, np.nan), (np.nan, 0, 2)])
def test_behind_beside_or_nowhere(centre: tuple[float, float, float]) -> None:
    raster = drawn(sphere(centre, 0.35))
    assert not (raster.inverse_depth > 0).any()


def test_one_vertex_that_is_not_finite_spoils_only_its_triangles() -> None:
    vertices, faces = sphere((0, 0, 2), 0.35)
    vertices[2000] = np.nan
    seen = drawn((vertices, faces)).inverse_depth > 0
    whole = drawn(sphere((0, 0, 2), 0.35)).inverse_depth > 0
    assert 0 <= (whole & ~seen).sum() < 60
    assert not (seen & ~whole).any()


def test_begin_forgets_the_last_image() -> None:
    vertices, faces = sphere((-0.4, 0, 2), 0.3)
    raster = drawn((vertices, faces))
    raster.begin(HEIGHT, WIDTH)
    assert not raster.inverse_depth.any()
    raster.add(vertices + np.array([0.8, 0, 0], np.float32), CAMERA, COLOUR)
    assert not raster.inverse_depth[:, : WIDTH // 2 - 5].any()
    assert raster.inverse_depth.any()


def test_meshes_far_apart_and_overlapping_ones_are_blended_once() -> None:
    left, faces = sphere((-0.55, -0.3, 2), 0.15)
    moves = np.array(
        [[0, 0, 0], [1.0, 0.5, 0], [0.1, 0.05, 0.1]], np.float32
    )  # far away, and over the first one's corner
    raster, together = Rasteriser(faces), np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    raster.begin(HEIGHT, WIDTH)
    for move in moves:
        raster.add(left + move, CAMERA, COLOUR)
    raster.blend(together, 0.5)
    covered = raster.inverse_depth > 0
    left_, top, right, bottom = raster.region
    assert covered[top:bottom, left_:right].sum() == covered.sum()
    opaque = np.zeros_like(together)
    raster.blend(opaque, 1.0)
    blended = np.where(covered[..., None], 0.5 * 90 + 0.5 * opaque.astype(float), 90)
    inner = np.asarray(cv2.erode(covered.astype(np.uint8), np.ones((3, 3), np.uint8)), bool)  # contours are let through
    assert np.abs(together - blended)[inner | ~covered].max() <= 1
    raster.begin(HEIGHT, WIDTH)
    assert not raster.inverse_depth.any()


@given(
    shift_x=st.integers(-60, 60),
    shift_y=st.integers(-45, 45),
    x=st.floats(-0.4, 0.4),
    y=st.floats(-0.3, 0.3),
    z=st.floats(0.5, 4),
)
@example(shift_x=0, shift_y=-36, x=0.0, y=0.0, z=0.5)  # the pole's empty triangles run through pixel centres
@settings(max_examples=40, deadline=None)
def test_moving_the_principal_point_moves_the_image(shift_x: int, shift_y: int, x: float, y: float, z: float) -> None:
    mesh = sphere((x, y, z), 0.3, rings=16)
    here = drawn(mesh).inverse_depth
    moved = Camera(CAMERA.fx, CAMERA.fy, CAMERA.cx + shift_x, CAMERA.cy + shift_y)
    there = drawn(mesh, moved).inverse_depth
    old = here[max(0, -shift_y) : HEIGHT - max(0, shift_y), max(0, -shift_x) : WIDTH - max(0, shift_x)]
    new = there[max(0, shift_y) : HEIGHT + min(0, shift_y), max(0, shift_x) : WIDTH + min(0, shift_x)]
    # Pixels whose centre lies on an edge may fall on either side: float32 rounds differently at another place.
    assert ((old > 0) != (new > 0)).sum() <= 8
    both = (old > 0) & (new > 0)
    assert (np.abs(old - new)[both] > 5e-3 * old[both]).sum() <= 8


def test_frozen_and_strided_arrays_are_accepted() -> None:
    vertices, faces = sphere((0, 0, 2), 0.3)
    whole = drawn((vertices, faces)).inverse_depth.copy()
    wide = np.repeat(vertices, 2, axis=0)[::2]
    wide.setflags(write=False)
    np.testing.assert_array_equal(drawn((wide, faces.astype(np.int64))).inverse_depth, whole)


def test_arrays_that_do_not_fit_are_refused() -> None:
    vertices, faces = sphere((0, 0, 2), 0.3)
    raster = drawn((vertices, faces))
    with pytest.raises(ValueError, match="vertices must be"):
        raster.add(vertices[:10], CAMERA, COLOUR)
    with pytest.raises(ValueError, match="colours must be"):
        raster.add(vertices, CAMERA, (1, 2))
    with pytest.raises(ValueError, match="image must be"):
        raster.blend(np.zeros((3, 3, 3), np.uint8))
    with pytest.raises(ValueError, match="faces must be"):
        Rasteriser(np.zeros((3, 4), np.int32))
