"""Inputs for the shipped models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.engine import Arrays, Engine

SHIPPED = ["movenet-lightning", "blazepose-detector", "keypoints"]


def feeds_for(engine: Engine, seed: int) -> Arrays:
    """Noise in the range of what the model's inputs hold."""
    random = np.random.default_rng(seed)
    feeds: dict[str, NDArray[np.generic]] = {}
    for spec in engine.inputs:
        shape = tuple(1 if size == -1 else size for size in spec.shape)
        noise = random.uniform(0, 255, shape) if spec.dtype == np.int32 else random.uniform(0.1, 1, shape)
        feeds[spec.name] = noise.astype(spec.dtype)
    return feeds
