"""Random frame rates of cameras."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

SLOWEST: Final = 10.0
FASTEST: Final = 120.0
_USUAL = (15.0, 24.0, 25.0, 30.0, 30.0, 30.0, 50.0, 60.0, 60.0, 120.0)
_SKIPPED = 35.0
"""Faster windows begin at a lower rate, or they would be shorter than a second."""


def _camera_rates(batch: int, generator: torch.Generator) -> Tensor:
    """Constant rates (B,) of cameras, 1/s."""
    usual = torch.tensor(_USUAL)[torch.randint(len(_USUAL), (batch,), generator=generator)]
    is_usual = torch.rand(batch, generator=generator) < 0.65
    return torch.where(is_usual, usual, SLOWEST * (FASTEST / SLOWEST) ** torch.rand(batch, generator=generator))


def draw_rates_with_history(batch: int, length: int, history: int, chunks: int, generator: torch.Generator) -> Tensor:
    """Frame rates (B, chunks * length), 1/s: the first ``history`` of every ``length`` frames come at 10 to 16 a second, and
    last seconds; the others at the rate of a camera, as `draw_rates` draws it."""
    camera = _camera_rates(batch * chunks, generator).reshape(batch, chunks, 1)
    slow = SLOWEST + 6 * torch.rand(batch, chunks, 1, generator=generator)
    return torch.where(torch.arange(length) < history, slow, camera).reshape(batch, chunks * length)


def draw_rates(batch: int, length: int, generator: torch.Generator) -> Tensor:
    """Frame rates (B, T), 1/s, between `SLOWEST` and `FASTEST`: usual ones more often than not.

    A window of a hundred frames at 120 fps is less than a second. Half of the fast windows therefore begin at 10 to 15
    frames a second and become fast later on, so that much is remembered when every frame counts.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    rate = _camera_rates(batch, generator)
    begins = torch.where(uniform(batch) < 0.5, uniform(batch) * 0.9 * length, torch.zeros(batch))
    slow = SLOWEST + 5 * uniform(batch)
    frame = torch.arange(length)
    later = (frame >= begins[:, None]) | (rate[:, None] < _SKIPPED)
    return torch.where(later, rate[:, None], slow[:, None])
