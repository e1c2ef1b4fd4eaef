"""A flow engine's noise: measured gain, blur and errors, sampled for each window.

The numbers come from running the live engine on rendered frames (`python -m training.noise_measurement.flow`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numba import njit
from torch import Tensor

from common.arrays import BoolArray, FloatArray

FLOW_NOISE_FILE = Path(__file__).with_name("flow_noise.json")


@dataclass(frozen=True, slots=True)
class FlowNoise:
    """Measured behaviour of a flow engine on cell means, in sides of the region."""

    speeds: tuple[float, ...]
    """(N,) motions per frame at which it was measured."""
    gain: tuple[float, ...]
    """(N,) share of the motion that is found."""
    gain_spread: float
    """Standard deviation of that share between windows."""
    error: tuple[float, ...]
    """(N,) standard deviation of what is added to it."""
    correlation: float
    """Cells over which errors are alike."""
    blur: float
    """Cells by which motion is blurred over the outline (standard deviation)."""
    lost: float
    """Share of windows whose background has no texture: nothing moves there."""
    window_spread: float = 0.0
    """Standard deviation, between windows, of the logarithm of the error's size."""
    persistence: float = 0.0
    """Correlation of the errors of neighbouring frames."""
    outside: float = 0.0
    """Standard deviation of what is found where the region reaches out of the frame."""


def load_flow_noise(path: Path = FLOW_NOISE_FILE) -> FlowNoise:
    """Read the measured numbers. Raises ``ValueError`` when the file is not ours."""
    row = json.loads(path.read_text())["engines"]["dis"]
    try:
        return FlowNoise(
            tuple(row["speeds"]),
            tuple(row["gain"]),
            float(row["gain_spread"]),
            tuple(row["error"]),
            float(row["correlation"]),
            float(row["blur"]),
            float(row["lost"]),
            float(row["window_spread"]),
            float(row["persistence"]),
            float(row["outside"]),
        )
    except KeyError as error:
        raise ValueError(
            f"{path.name} lacks {error}: measure it anew with python -m training.noise_measurement.flow"
        ) from None


class FlowDegrader:
    """Turns exact fields into ones as the engine estimates them."""

    def __init__(self, noise: FlowNoise, seed: int) -> None:
        self.noise = noise
        self.generator = torch.Generator().manual_seed(seed)
        reach = max(1, round(2 * noise.blur))
        taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(noise.blur, 0.05)) ** 2)
        self._taps = (taps / taps.sum()).astype(np.float32)
        self._speeds, self._gain, self._error = (
            np.array(values, np.float32) for values in (noise.speeds, noise.gain, noise.error)
        )

    def __call__(self, flow: Tensor, body: Tensor, inside: Tensor) -> Tensor:
        """``flow`` (B, T, S, S, 2) in sides of the region, ``body`` and ``inside`` (B, T, S, S) 1 where the person is and where
        the frame is, else 0, to fields as estimated. Writes into ``flow`` and returns it."""
        batch, length, cells = flow.shape[:3]
        noise = self.noise
        difficulty = 1 + noise.gain_spread * torch.randn(batch, generator=self.generator)
        bare = torch.rand(batch, generator=self.generator) < noise.lost
        quality = torch.exp(torch.randn(batch, generator=self.generator) * noise.window_spread)
        # Linear interpolation between knots that lie c apart correlates over 0.85 c.
        coarse = max(2, round(cells * 0.85 / max(noise.correlation, 1.0)) + 1)
        rough = torch.randn(batch, length, coarse, coarse, 2, generator=self.generator)
        for t in range(1, length):
            rough[:, t] = noise.persistence * rough[:, t - 1] + (1 - noise.persistence**2) ** 0.5 * rough[:, t]
        _degrade(
            flow.numpy(),
            body.numpy(),
            inside.numpy(),
            difficulty.clamp(0.3, 1.2).numpy(),
            bare.numpy(),
            quality.numpy(),
            rough.numpy(),
            self._speeds,
            self._gain,
            self._error,
            self._taps,
            noise.outside,
        )
        return flow


@njit(cache=True, nogil=True, error_model="numpy")
def _degrade(
    flow: FloatArray,
    body: FloatArray,
    inside: FloatArray,
    difficulty: FloatArray,
    bare: BoolArray,
    quality: FloatArray,
    rough: FloatArray,
    speeds: FloatArray,
    gain: FloatArray,
    error: FloatArray,
    taps: FloatArray,
    outside: float,
) -> None:
    """The loops of `FlowDegrader`, in place: ``flow`` loses its share, is blurred by ``taps`` along x, then along y, and gets
    ``rough`` (B, T, K, K, 2), interpolated to the cells, as its error."""
    cells, coarse, reach = flow.shape[2], rough.shape[2], len(taps) // 2
    step = np.float32(coarse - 1) / np.float32(cells - 1)
    amount = np.empty((cells, cells), np.float32)
    passed = np.empty((cells, cells, 2), np.float32)
    for b in range(flow.shape[0]):
        for t in range(flow.shape[1]):
            field, noise = flow[b, t], rough[b, t]
            for y in range(cells):
                for x in range(cells):
                    u, v = field[y, x, 0], field[y, x, 1]
                    speed = np.sqrt(u * u + v * v)
                    k = 1
                    while k < len(speeds) - 1 and speeds[k] < speed:
                        k += 1
                    part = min(max((speed - speeds[k - 1]) / (speeds[k] - speeds[k - 1]), np.float32(0)), np.float32(1))
                    share = (gain[k - 1] + part * (gain[k] - gain[k - 1])) * difficulty[b]
                    there = inside[b, t, y, x] > 0
                    if (bare[b] and body[b, t, y, x] == 0) or not there:
                        share = np.float32(0)
                    size = (error[k - 1] + part * (error[k] - error[k - 1])) * quality[b]
                    # Interpolation between the knots makes the noise smaller by this factor.
                    amount[y, x] = (size if there else np.float32(outside)) * np.float32(1.4)
                    field[y, x, 0], field[y, x, 1] = u * share, v * share
            for y in range(cells):
                for x in range(cells):
                    u = v = np.float32(0)
                    for i in range(-reach, reach + 1):
                        column = min(max(x + i, 0), cells - 1)
                        u += taps[i + reach] * field[y, column, 0]
                        v += taps[i + reach] * field[y, column, 1]
                    passed[y, x, 0], passed[y, x, 1] = u, v
            for y in range(cells):
                row = min(int(y * step), coarse - 2)
                down = y * step - row
                for x in range(cells):
                    u = v = np.float32(0)
                    for i in range(-reach, reach + 1):
                        line = min(max(y + i, 0), cells - 1)
                        u += taps[i + reach] * passed[line, x, 0]
                        v += taps[i + reach] * passed[line, x, 1]
                    column = min(int(x * step), coarse - 2)
                    right = x * step - column
                    a = amount[y, x]
                    for c in range(2):
                        above = noise[row, column, c] * (1 - right) + noise[row, column + 1, c] * right
                        below = noise[row + 1, column, c] * (1 - right) + noise[row + 1, column + 1, c] * right
                        field[y, x, c] = (u if c == 0 else v) + a * (above * (1 - down) + below * down)
