"""Clothes, walls and the box of a room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from body.model import BodyArrays
from training.synth.appearance import GARMENTS, PATTERN_SIDE, sample_appearance, sample_vertex_colours, tiling_noise
from training.synth.backgrounds import sample_background, sample_wall_texture
from training.synth.occluders import box_mesh
from training.synth.room import intersect_box, with_mipmaps
from training.synth.shading import shade_vertices, vertex_normals


def test_people_are_dressed_in_colours_that_differ(arrays: BodyArrays) -> None:
    looks = [sample_appearance(arrays, np.random.default_rng(seed)) for seed in range(6)]
    again = sample_appearance(arrays, np.random.default_rng(0))
    np.testing.assert_array_equal(looks[0].patterns, again.patterns)
    np.testing.assert_array_equal(looks[0].colour, again.colour)
    for look in looks:
        assert look.colour.shape == (6890, 3)
        assert look.colour.min() >= 0
        assert look.colour.max() <= 1
        assert look.patterns.shape == (GARMENTS, PATTERN_SIDE, PATTERN_SIDE, 3)
        assert look.garment.max() < GARMENTS
        assert look.offset.min() >= -0.001
        assert look.offset.max() < 0.06
    assert np.std([look.colour.mean() for look in looks]) > 0.01
    assert sample_vertex_colours(arrays, np.random.default_rng(1)).shape == (6890, 3)


@pytest.mark.parametrize("roughness", [0.2, 1.0, 1.8])
def test_noise_repeats_without_a_seam(roughness: float) -> None:
    noise = tiling_noise(np.random.default_rng(0), roughness, 64)
    assert abs(noise.std() - 1) < 1e-6
    inside = np.abs(np.diff(noise, axis=1)).mean()
    assert np.abs(noise[:, 0] - noise[:, -1]).mean() < 1.6 * inside


@pytest.mark.parametrize(
    "make",
    [lambda rng: sample_wall_texture(rng, 128), lambda rng: sample_background(90, 120, rng)],
    ids=["wall", "background"],
)
def test_walls_and_backgrounds_follow_from_the_generator(
    make: Callable[[np.random.Generator], NDArray[np.uint8]],
) -> None:
    first, again, other = (make(np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_levels_are_halvings() -> None:
    texture = sample_wall_texture(np.random.default_rng(2), 64)
    atlas = with_mipmaps(texture)
    np.testing.assert_array_equal(atlas[:, :64], texture)
    half = texture.reshape(32, 2, 32, 2, 3).mean((1, 3))
    assert np.abs(atlas[:32, 64:96] - half).max() <= 1


def test_a_ray_leaves_the_room_where_it_must() -> None:
    point = np.empty(3, np.float32)
    low, high = np.array([-1, -2, -3], np.float32), np.array([4, 5, 6], np.float32)
    side, reach = intersect_box(np.array([1, 0.5, 0.1], np.float32), np.zeros(3, np.float32), low, high, point)
    assert (side, reach) == (1, 4)
    np.testing.assert_allclose(point, [4, 2, 0.4], atol=1e-6)
    side, _ = intersect_box(np.array([0.1, -1, 0.1], np.float32), np.zeros(3, np.float32), low, high, point)
    assert side == 2
    assert point[1] == -2


def test_boxes_are_closed_and_face_outwards() -> None:
    half = np.array([0.5, 1.0, 0.2])
    vertices, faces = box_mesh(half)
    corner = vertices[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert ((normal * corner.mean(1)).sum(-1) > 0).all()
    np.testing.assert_allclose(
        np.linalg.norm(normal, axis=-1).sum() / 2, 8 * (0.5 * 1 + 0.5 * 0.2 + 1 * 0.2), rtol=1e-6
    )
    volume = (corner[:, 0] * normal).sum() / 6
    np.testing.assert_allclose(volume, 8 * half.prod(), rtol=1e-6)


def test_light_from_above_brightens_what_faces_up() -> None:
    vertices, faces = box_mesh(np.ones(3))
    normals, lit = np.empty_like(vertices), np.empty_like(vertices)
    vertex_normals(vertices, faces, normals)
    np.testing.assert_allclose(np.abs(normals).max(1), 1, atol=1e-6)
    harmonics = np.zeros((3, 9), np.float32)
    harmonics[:, 0], harmonics[:, 1] = 0.5, 0.3
    shade_vertices(normals, np.full_like(vertices, 0.5), harmonics, lit)
    np.testing.assert_allclose(lit[normals[:, 1] > 0.9], 0.8 * 0.5 * 255, rtol=1e-5)
    np.testing.assert_allclose(lit[normals[:, 1] < -0.9], 0.2 * 0.5 * 255, rtol=1e-5)
