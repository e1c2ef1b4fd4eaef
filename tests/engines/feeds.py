"""Inputs for the shipped models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays, Engine
from engines.manifest import shipped_models

SHIPPED = list(shipped_models())
HEAVY = "raft-small"
"""The one that takes some hundred milliseconds on a CPU, and tens on a small GPU in float32."""


def feeds_for(engine: Engine, seed: int) -> Arrays:
    """Noise in the range of what the model's inputs hold."""
    random = np.random.default_rng(seed)
    feeds: dict[str, NDArray[np.generic]] = {}
    for spec in engine.inputs:
        shape = tuple(1 if size == -1 else size for size in spec.shape)
        noise = random.uniform(0, 255, shape) if spec.dtype == np.uint8 else random.uniform(0.1, 1, shape)
        feeds[spec.name] = noise.astype(spec.dtype)
    if "previous" in feeds:
        feeds |= _moving_image(feeds["previous"].shape, random)
    return feeds


def _moving_image(shape: tuple[int, ...], random: np.random.Generator) -> Arrays:
    """Coloured blocks, and the same 3 px further right: between unrelated images, rounding decides what flow is found."""
    size = shape[1] // 16
    blocks = np.kron(random.uniform(0, 255, (size, size, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    return {"previous": blocks[None], "current": np.roll(blocks, 3, 1)[None]}
