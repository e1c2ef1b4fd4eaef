"""The body shapes of synthetic people."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from body.packed import BETAS

LIMIT: Final = 2.0
"""Betas of the default body beyond this look unlike anybody."""
_MAIN: Final = 5  # the first betas change a body visibly, the rest little: those are drawn narrower
_FEMALE: Final = 2  # the default body's beta between broad shoulders and broad hips; -0.8 is about the middle
_NARROW: Final = 0.7


def draw_betas(count: int, generator: torch.Generator) -> Tensor:
    """Shapes (count, 10) of random people for the default body, within `LIMIT`.

    The variance is the body's own, 1, except for the later betas and the one between the sexes. Seventeen keypoints hardly
    determine that one, so a network predicts its mean: it lies between the sexes.
    """
    betas = torch.randn(count, BETAS, generator=generator)
    betas[:, _MAIN:] *= _NARROW
    betas[:, _FEMALE] = betas[:, _FEMALE] * _NARROW - 0.8
    return betas.clamp(-LIMIT, LIMIT)
