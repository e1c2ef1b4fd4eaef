"""What a keypoint detector makes of a person: measured errors, confidences and their memory, drawn anew for each window.

The tables come from running the real detectors (`python -m training.measure_noise`) and hold, for every keypoint, the
quantiles of the confidence given how it is seen (visible, hidden by the body or an object, out of the picture) and the
quantiles of the error's length given confidence. Drawing goes the same way: a slowly changing confidence first, then an
error that fits it. Confident misses are part of the tables; left/right swaps are events with a rate and a duration.

The tables are of rendered people, whose truth is exact. Real people are easier for a detector: its error that 90 % of real
detections stay below is met by fewer of the rendered ones. That share, `DetectorNoise.real_rank`, is
set by hand (docs/keypoints.md says from what); half of the windows are drawn that easy, the others between that and rendered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from body.joints import COCO_MIRROR, COCO_NAMES

TABLES = Path(__file__).with_name("detector_noise.json")
STATES = ("visible", "hidden", "outside")
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(name.split("_")[-1] for name in COCO_NAMES))
"""Keypoints whose left and right share one table: nose, eye, ear, shoulder, elbow, wrist, hip, knee, ankle."""
GROUP_OF: tuple[int, ...] = tuple(GROUPS.index(name.split("_")[-1]) for name in COCO_NAMES)
BINS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8)
"""Lower edges of the confidence bins."""

_ARMS = [i for i, name in enumerate(COCO_NAMES) if name.split("_")[-1] in ("elbow", "wrist")]
_LEGS = [i for i, name in enumerate(COCO_NAMES) if name.split("_")[-1] in ("knee", "ankle", "hip")]


@dataclass(frozen=True, slots=True)
class DetectorNoise:
    """Measured behaviour of one detector. Lengths are shares of the person's `extent`; times are seconds.

    ``confidence`` (groups, states, Q) quantiles; ``error`` (groups, states, bins, Q) quantiles of the error's length;
    ``memory_s`` over which confidence changes; ``slow_share`` of the error's variance that changes over ``slow_s``,
    the rest is new in every frame; ``swap_rate`` swaps a second for arms and for legs; ``swap_s`` their mean duration;
    ``real_rank`` how far up the quantiles real video reaches.
    """

    name: str
    confidence: NDArray[np.float32]
    error: NDArray[np.float32]
    memory_s: float
    slow_share: float
    slow_s: float
    swap_rate: tuple[float, float]
    swap_s: float
    real_rank: float


def load_noise(path: Path = TABLES) -> list[DetectorNoise]:
    """Read the measured tables. Raises ``FileNotFoundError`` or ``ValueError`` when the file is missing or not ours."""
    rows = json.loads(path.read_text())["detectors"]
    return [
        DetectorNoise(
            name,
            np.array(row["confidence"], np.float32),
            np.array(row["error"], np.float32),
            row["memory_s"],
            row["slow_share"],
            row["slow_s"],
            (row["swap_rate"][0], row["swap_rate"][1]),
            row["swap_s"],
            row["real_rank"],
        )
        for name, row in rows.items()
    ]


def extent(points: Tensor, seen: Tensor) -> Tensor:
    """Size of a person in the picture (B, T): longer side of the box around the ``seen`` (B, T, K) ``points``
    (B, T, K, 2), at least 12 px. Detectors work on a crop of about this size, so their errors grow with it."""
    big = torch.where(seen[..., None], points, torch.full_like(points, -1e9)).amax(2)
    small = torch.where(seen[..., None], points, torch.full_like(points, 1e9)).amin(2)
    return (big - small).amax(-1).clamp(12.0, 1e6)


class NoiseSampler:
    """Draws detections for true keypoints. One of the measured detectors is picked for every window."""

    def __init__(self, detectors: list[DetectorNoise], seed: int) -> None:
        if not detectors:
            raise ValueError("no measured detector: run python -m training.measure_noise")
        self.detectors = detectors
        self.generator = torch.Generator().manual_seed(seed)
        group = torch.tensor(GROUP_OF)
        self._confidence = torch.stack([torch.from_numpy(d.confidence)[group] for d in detectors])
        self._error = torch.stack([torch.from_numpy(d.error)[group] for d in detectors])
        self._edges = torch.tensor(BINS[1:])
        self._mirror = torch.tensor(COCO_MIRROR)

    def _memory(self, shape: tuple[int, ...], dt: Tensor, seconds: Tensor) -> Tensor:
        """Unit-variance first-order noise (B, T, ...) that forgets over ``seconds`` (B,) with time steps ``dt``."""
        fresh = torch.randn(shape, generator=self.generator)
        keep = torch.exp(-dt / seconds[:, None])
        keep = keep.reshape(*keep.shape, *[1] * (len(shape) - 2))
        gain = (1 - keep**2).sqrt()
        out = [fresh[:, 0]]
        for t in range(1, shape[1]):
            out.append(keep[:, t] * out[-1] + gain[:, t] * fresh[:, t])
        return torch.stack(out, 1)

    def _swapped(self, dt: Tensor, rate: Tensor, seconds: Tensor) -> Tensor:
        """Frames (B, T) in which left and right are exchanged: a two-state Markov chain."""
        start = 1 - torch.exp(-dt * rate[:, None])
        stop = 1 - torch.exp(-dt / seconds[:, None])
        draw = torch.rand(dt.shape, generator=self.generator)
        state = draw[:, 0] < (rate * seconds)
        out = [state]
        for t in range(1, dt.shape[1]):
            state = torch.where(state, draw[:, t] > stop[:, t], draw[:, t] < start[:, t])
            out.append(state)
        return torch.stack(out, 1)

    def __call__(self, points: Tensor, state: Tensor, size: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        """Detect.

        Args:
            points: (B, T, 17, 2) true image points, px.
            state: (B, T, 17) int64, index into `STATES`.
            size: (B, 2) width and height of the image, px.
            dt: (B, T) seconds since the frame before.

        Returns:
            Detected points (B, T, 17, 2), px, and confidences (B, T, 17).
        """
        batch, length = dt.shape
        pick = torch.randint(len(self.detectors), (batch,), generator=self.generator)

        def of(values: list[float]) -> Tensor:
            return torch.tensor(values)[pick]

        memory = of([d.memory_s for d in self.detectors])
        # Windows differ: some people are easy for the detector all along, others hard all along.
        level = torch.randn(batch, 1, 17, generator=self.generator)
        latent = 0.6 * level + 0.8 * self._memory((batch, length, 17), dt, memory)
        real = of([d.real_rank for d in self.detectors])[:, None, None]
        harder = (
            torch.rand(batch, 1, 1, generator=self.generator).sub(0.5).clamp_min(0) * 2
        )  # 0 for half of the windows
        ease = real + (1 - real) * harder
        rank = 1 - ease * (1 - torch.special.ndtr(latent).clamp(0, 0.999))
        rank = rank.clamp(max=0.999)
        where = torch.arange(17).expand(batch, length, 17)
        chosen = pick[:, None, None].expand(batch, length, 17)
        confidence = _quantile(self._confidence, (chosen, where, state), rank)

        bins = torch.bucketize(confidence, self._edges)
        slow_share = of([d.slow_share for d in self.detectors])[:, None, None, None]
        slow = self._memory((batch, length, 17, 2), dt, of([d.slow_s for d in self.detectors]))
        fast = torch.randn(batch, length, 17, 2, generator=self.generator)
        push = slow_share.sqrt() * slow + (1 - slow_share).sqrt() * fast
        reach = push.norm(dim=-1).clamp_min(1e-6)
        rank = (1 - torch.exp(-0.5 * reach**2)).clamp(0, 0.999) * ease  # Rayleigh: uniform again
        error = _quantile(self._error, (chosen, where, state.clamp(max=1), bins), rank)

        inside = state < 2
        scale = extent(points, inside)[..., None]
        edge = torch.minimum(points.clamp_min(0), size[:, None, None])
        aim = torch.where(inside[..., None], points, edge)
        # Out of the picture the detector still names a place, near the border and with little confidence.
        error = torch.where(inside, error, error.clamp_min(0.03) * 1.5)
        detected = aim + push / reach[..., None] * (error * scale)[..., None]

        seconds = of([d.swap_s for d in self.detectors])
        for limb, column in ((_ARMS, 0), (_LEGS, 1)):
            rate = of([d.swap_rate[column] for d in self.detectors]) * ease[:, 0, 0] ** 3
            swapped = self._swapped(dt, rate, seconds)[..., None]
            other = self._mirror[limb]
            detected_limb = torch.where(swapped[..., None], detected[:, :, other], detected[:, :, limb])
            detected = detected.index_copy(2, torch.tensor(limb), detected_limb)
        return detected, confidence


def _quantile(table: Tensor, index: tuple[Tensor, ...], rank: Tensor) -> Tensor:
    """Look ``rank`` (0..1) up in the quantiles table[index] (..., Q), with linear interpolation."""
    position = rank * (table.shape[-1] - 1)
    low = position.long()
    part = position - low
    return torch.lerp(table[(*index, low)], table[(*index, low + 1)], part)
