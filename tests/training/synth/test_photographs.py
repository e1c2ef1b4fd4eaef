"""Photographed places: where they come from, where their pixels end up, how they shine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from training.synth.photographs import (
    MANIFEST,
    PHOTOGRAPHS,
    directions,
    irradiance,
    materials,
    panoramas,
    sample_panorama,
)
from training.synth.render import Renderer, region_viewport
from training.synth.room import SKY_SIDE, TEXTURE_SIDE, sky_box
from training.synth.scene import Scene


def test_every_photograph_has_a_row_of_the_manifest() -> None:
    rows = json.loads(MANIFEST.read_text())
    files = {f"synth/photographs/{path.name}": path for path in PHOTOGRAPHS.iterdir()}
    assert files.keys() == {name for name in rows if name.startswith("synth/photographs/")}
    for name, path in files.items():
        assert rows[name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert rows[name]["licence"] == "CC0-1.0"
        assert "CC0" in rows[name]["origin"]


def test_what_ships_can_be_read() -> None:
    places = panoramas()
    assert len(places) == 18
    for place in places:
        assert place.image.shape == (256, 512, 3)
        assert place.light.shape == (16, 32, 3)
        assert place.light.min() >= 0
        assert place.image.std() > 15
    assert all(material.shape == (256, 256, 3) for material in materials())


def test_pixels_look_where_they_lie() -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 64, 3), np.uint8)
    np.testing.assert_array_equal(sample_panorama(image, 3 * directions(64, 32)), image)
    straight = directions(64, 32)
    np.testing.assert_allclose(np.linalg.norm(straight, axis=-1), 1, atol=1e-6)
    assert straight[0, :, 1].min() > 0.99


def test_even_light_is_even_and_a_lamp_shines_as_a_cosine() -> None:
    even = irradiance(np.full((16, 32, 3), 0.7, np.float32), np.eye(3))
    np.testing.assert_allclose(even[:, 0], 0.7, rtol=0.01)
    assert np.abs(even[:, 1:]).max() < 0.01
    lamp = np.zeros((64, 128, 3), np.float32)
    sight = directions(128, 64)
    lamp[(sight @ np.array([0.6, 0.8, 0.0]) > 0.995)] = 50.0
    turn = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], np.float32)  # what is +x there is -z here ... and back
    h = irradiance(lamp, turn)[0]
    axis = np.array([0.6, 0.8, 0.0]) @ turn
    normals = np.random.default_rng(1).normal(size=(200, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    x, y, z = normals.T
    got = np.stack([np.ones(200), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], 1) @ h
    exact = (normals @ axis).clip(0)
    solid = np.cos((0.5 - (np.arange(64) + 0.5) / 64) * np.pi) * (np.pi / 64) * (2 * np.pi / 128)
    exact *= float((lamp[..., 0] * solid[:, None]).sum()) / np.pi
    # Nine coefficients hold 99 % of a cosine's energy.
    assert np.sqrt(((got - exact) ** 2).mean()) < 0.06 * exact.max()


def test_the_sky_box_shows_the_panorama(alone: Scene) -> None:
    place = panoramas()[3]
    turn = np.array([[0.8, 0, -0.6], [0, 1, 0], [0.6, 0, 0.8]], np.float32)
    room = replace(
        alone.room,
        low=np.zeros(3, np.float32),
        high=np.full(3, SKY_SIDE, np.float32),
        rotation=turn,
        origin=(SKY_SIDE / 2 - alone.centre[0] @ turn.T).astype(np.float32),
        atlas=sky_box(place.image),
        layer=np.arange(6, dtype=np.int32),
        density=np.full(6, TEXTURE_SIDE / SKY_SIDE, np.float32),
        light=np.ones(6, np.float32),
    )
    away = replace(alone.mesh, vertices=alone.mesh.vertices - np.array([0, 0, 50], np.float32))
    tilt = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]], np.float32)
    scene = replace(alone, room=room, mesh=away, rotation=(tilt @ alone.rotation).astype(np.float32))
    view = region_viewport(scene, 0, 0, 320, 240, 0.5)
    seen = Renderer(scene).render(0, view).astype(int)
    fx, fy, cx, cy = view.camera
    y, x = np.mgrid[:240, :320]
    rays = np.stack([(x - cx) / fx, (y - cy) / fy, np.ones_like(x, float)], -1) @ scene.rotation[0] @ turn.T
    wanted = sample_panorama(place.image, rays).astype(int)
    off = np.abs(seen - wanted).mean()
    assert off < 5
    assert off < 0.4 * np.abs(np.roll(seen, 12, 1) - wanted).mean()
