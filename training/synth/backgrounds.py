"""Background images and wall textures: multi-scale noise, boxes, tiles, planks, shelves, photographed materials."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from common.arrays import DoubleArray, ImageArray
from training.synth.appearance import tiling_noise
from training.synth.photographs import materials


def sample_background(height: int, width: int, rng: np.random.Generator) -> ImageArray:
    """Multi-scale noise with a few flat boxes: uint8 (height, width, 3)."""
    image = np.zeros((height, width, 3), np.float32)
    for cells in (3, 6, 12, 24, 48, 96):
        layer = rng.random((cells, cells, 3), dtype=np.float32)
        image += (
            np.asarray(cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC), np.float32) * cells**-0.45
        )
    image -= image.min()
    image *= 255 / image.max()
    for _ in range(rng.integers(3, 14)):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        far = (x + int(rng.integers(20, width // 2)), y + int(rng.integers(20, height // 2)))
        cv2.rectangle(image, (x, y), far, rng.uniform(20, 235, 3).tolist(), -1)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 2.5)), np.float32).clip(0, 255).astype(np.uint8)


WALL_KINDS: Final = ("clouds", "plain", "tiles", "planks", "shelf", "leaves", "material")
WALL_SHARES: Final = (0.24, 0.22, 0.13, 0.09, 0.13, 0.09, 0.10)


def sample_wall_texture(rng: np.random.Generator, side: int) -> ImageArray:
    """A texture (side, side, 3) uint8 for a wall or a floor.

    Some are nearly uniform, because real walls often give optical flow no texture to follow.
    """
    match rng.choice(WALL_KINDS, p=WALL_SHARES):
        case "clouds":
            return sample_background(side, side, rng)
        case "plain":
            image = _paint(rng) * (1 + rng.uniform(0, 0.05) * tiling_noise(rng, 1.8, side))[..., None]
        case "tiles":
            image = _tiles(rng, side, int(rng.integers(3, 12)), int(rng.integers(3, 12)))
        case "planks":
            image = _tiles(rng, side, int(rng.integers(5, 14)), int(rng.integers(1, 3)))
        case "shelf":
            image = _shelf(rng, side)
        case "material":
            image = _material(rng, side)
        case _:
            far, near = _paint(rng), _paint(rng)
            part = 1 / (1 + np.exp(-2 * tiling_noise(rng, rng.uniform(0.5, 1.1), side)))[..., None]
            image = far + (near - far) * part
    grain = 1 + rng.uniform(0, 0.04) * tiling_noise(rng, 0.2, side)
    return np.asarray((image * grain[..., None]).clip(0, 255), np.uint8)


def _paint(rng: np.random.Generator) -> DoubleArray:
    """A wall colour (3,), 0..255, pale and grey more often than saturated."""
    grey = rng.uniform(30, 235)
    return np.asarray(grey + (rng.uniform(0, 255, 3) - grey) * rng.uniform(0, 0.7) ** 1.5)


def _tiles(rng: np.random.Generator, side: int, rows: int, columns: int) -> DoubleArray:
    """Bricks, tiles or planks with joints: every other row shifted by half, each piece with its own shade."""
    y, x = np.mgrid[:side, :side] / side
    row = (y * rows).astype(int)
    x = x * columns + 0.5 * (row % 2)
    column = x.astype(int)
    shade = rng.normal(1, rng.uniform(0.02, 0.15), (rows, columns + 1))[row, column]
    width = rng.uniform(0.01, 0.05)
    joint = ((y * rows) % 1 < width * rows * 0.3) | (x % 1 < width * columns * 0.3)
    grain = 1 + rng.uniform(0.0, 0.15) * tiling_noise(rng, 1.0, side)
    return np.asarray(np.where(joint[..., None], _paint(rng), _paint(rng) * (shade * grain)[..., None]))


def _material(rng: np.random.Generator, side: int) -> DoubleArray:
    """A photographed material, tinted and scaled at random."""
    image = materials()[rng.integers(len(materials()))]
    part = int(len(image) * rng.uniform(0.4, 1.0))
    top, left = (int(value) for value in rng.integers(0, len(image) - part + 1, 2))
    near = cv2.resize(image[top : top + part, left : left + part], (side, side), interpolation=cv2.INTER_AREA)
    shade = np.asarray(near, np.float64) / 128
    return np.asarray(_paint(rng) * (1 + (shade - 1) * rng.uniform(0.5, 1.2)).clip(0, 3))


def _shelf(rng: np.random.Generator, side: int) -> DoubleArray:
    """Rows of narrow upright boxes, like books: many sharp edges of many colours."""
    image = np.empty((side, side, 3))
    image[:] = _paint(rng) * 0.4
    rows = int(rng.integers(2, 6))
    for row in range(rows):
        bottom, left = (row + 1) * side // rows - 3, 0
        while left < side:
            width, height = int(rng.integers(2, 14)), int(side / rows * rng.uniform(0.5, 0.95))
            image[bottom - height : bottom, left : left + width] = rng.uniform(10, 240, 3)
            left += width + int(rng.random() < 0.1) * 6
    return image
