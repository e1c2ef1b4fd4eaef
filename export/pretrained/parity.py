"""How far a converted network is from its source, over several inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.arrays import AnyArray

Image = NDArray[np.uint8]
RunNetwork = Callable[[dict[str, AnyArray]], dict[str, AnyArray]]
Feed = Callable[[Image], dict[str, AnyArray]]

# Bones of a standing figure, (row, column) to (row, column) in parts of the image's side.
_BONES = (
    ((0.24, 0.50), (0.56, 0.50)),
    ((0.27, 0.42), (0.27, 0.58)),
    ((0.27, 0.42), (0.42, 0.36)),
    ((0.42, 0.36), (0.53, 0.40)),
    ((0.27, 0.58), (0.40, 0.67)),
    ((0.40, 0.67), (0.29, 0.74)),
    ((0.56, 0.45), (0.75, 0.42)),
    ((0.75, 0.42), (0.93, 0.43)),
    ((0.56, 0.55), (0.74, 0.60)),
    ((0.74, 0.60), (0.92, 0.58)),
)


@dataclass(frozen=True, slots=True)
class ImageDifference:
    """How far the converted network is from its source on one image, for one output, in the output's unit."""

    image: str
    """Name of the image."""
    output: str
    """Name of the output."""
    greatest: float
    """Greatest absolute difference."""
    mean: float
    """Mean absolute difference."""


def compare_with_source(
    source: RunNetwork, converted: RunNetwork, feed: Feed, images: dict[str, Image]
) -> list[ImageDifference]:
    """Run both networks on every image, uint8 (size, size, 3), and measure each output of the source."""
    differences: list[ImageDifference] = []
    for name, image in images.items():
        feeds = feed(image)
        expected, found = source(feeds), converted(feeds)
        for output in expected:
            gap = np.abs(expected[output].astype(np.float64) - found[output])
            differences.append(ImageDifference(name, output, float(gap.max()), float(gap.mean())))
    return differences


def sample_images(size: int) -> dict[str, Image]:
    """RGB images, uint8 (size, size, 3), by name: noise, extremes, and a drawn figure that the networks react to."""
    random = np.random.default_rng(7)
    return {
        "noise": random.integers(0, 256, (size, size, 3), np.uint8),
        "coarse noise": np.kron(
            random.integers(0, 256, (size // 16, size // 16, 3), np.uint8), np.ones((16, 16, 1))
        ).astype(np.uint8),
        "black": np.zeros((size, size, 3), np.uint8),
        "figure": draw_figure(size),
        "figure, mirrored and noisy": np.clip(
            draw_figure(size)[:, ::-1].astype(np.int16) + random.normal(0, 12, (size, size, 3)), 0, 255
        ).astype(np.uint8),
    }


def draw_figure(size: int) -> Image:
    """A standing figure with a head and rounded limbs before a lit wall, RGB uint8 (size, size, 3)."""
    rows, columns = (np.mgrid[0:size, 0:size] / size).astype(np.float32)
    image = np.stack([150 - 40 * rows, 145 - 30 * columns, 140 - 25 * (rows + columns)], -1)
    image[rows > 0.85] = (95, 80, 70)
    for (y0, x0), (y1, x1) in _BONES:
        along = np.clip(
            ((rows - y0) * (y1 - y0) + (columns - x0) * (x1 - x0)) / ((y1 - y0) ** 2 + (x1 - x0) ** 2), 0, 1
        )
        distance = np.hypot(rows - y0 - along * (y1 - y0), columns - x0 - along * (x1 - x0))
        shade = 1 - (distance / 0.045) ** 2 / 2
        colour = np.array((60, 80, 150) if y1 > 0.56 else (170, 60, 55), np.float32)
        image = np.where((distance < 0.045)[..., None], shade[..., None] * colour, image)
    head = np.hypot((rows - 0.15) * 0.8, columns - 0.5)
    image = np.where((head < 0.055)[..., None], np.array((215, 170, 145), np.float32), image)
    return image.astype(np.uint8)
