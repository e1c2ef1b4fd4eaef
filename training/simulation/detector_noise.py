"""A keypoint detector's noise: measured errors and confidences, correlated in time, sampled for each window.

The tables come from running the real detectors (`python -m training.noise_measurement.detector`) and hold, for every
keypoint, the quantiles of the confidence given how it is seen (visible, hidden by the body or an object, out of the frame)
and the quantiles of the error's length given confidence. Drawing goes the same way: a slowly changing confidence first, then
an error that fits it. Confident misses are part of the tables; left/right swaps are events with a rate and a duration.

The tables are of rendered people, whose truth is exact. A detector is more confident about real ones: by how much, and how
smoothly its errors change, was measured on real video (`training.noise_measurement.real_video`), and the tables are
sampled accordingly. At a given confidence, real errors are like two thirds of the rendered ones.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from body.joints import COCO_MIRROR, COCO_NAMES
from common.arrays import FloatArray

DETECTOR_NOISE_FILE = Path(__file__).with_name("detector_noise.json")
STATES = ("visible", "hidden", "outside")
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(name.split("_")[-1] for name in COCO_NAMES))
"""Keypoints whose left and right share one table: nose, eye, ear, shoulder, elbow, wrist, hip, knee, ankle."""
GROUP_OF: tuple[int, ...] = tuple(GROUPS.index(name.split("_")[-1]) for name in COCO_NAMES)
BINS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.8)
"""Lower edges of the confidence bins."""

_FLICKER = 0.62
"""Share of a confidence's deviation that is new in every frame; in real video the changes of neighbouring frames correlate by
0.4."""
_MAX_BY_POSE = 0.8
_WAVES, _WAVE = 12, 0.9
"""How many functions of the pose are mixed, and how fast they vary: a limb that has moved by its own length has a new error."""
_ARMS = [i for i, name in enumerate(COCO_NAMES) if name.split("_")[-1] in ("elbow", "wrist")]
_LEGS = [i for i, name in enumerate(COCO_NAMES) if name.split("_")[-1] in ("knee", "ankle", "hip")]


@dataclass(frozen=True, slots=True)
class RealVideo:
    """How detections in real video differ from those of rendered people, as `training.noise_measurement.real_video`
    measures it."""

    difficulty: tuple[float, ...]
    """Quantiles over people of the share of a table's better part that their confidences are like."""
    error: float
    """Share of the errors at a given confidence that real ones reach."""
    jitter: float
    """Jitter of a keypoint, new in every frame, over its error."""


@dataclass(frozen=True, slots=True)
class DetectorNoise:
    """Measured behaviour of one detector. Lengths are shares of the person's `extent`."""

    name: str
    """The detector's."""
    confidence: FloatArray
    """float32 (groups, states, Q) quantiles of the confidence."""
    error: FloatArray
    """float32 (groups, states, bins, Q) quantiles of the error's length."""
    slow_s: float
    """Time over which errors change, seconds."""
    swap_rate: tuple[float, float]
    """Swaps of left and right in a second, of arms and of legs."""
    swap_s: float
    """Mean duration of a swap, seconds."""
    real: RealVideo
    """How real video differs."""


def load_noise(path: Path = DETECTOR_NOISE_FILE) -> list[DetectorNoise]:
    """Read the measured tables. Raises ``FileNotFoundError`` or ``ValueError`` when the file is missing or not ours."""
    return [
        DetectorNoise(
            name,
            np.array(row["confidence"], np.float32),
            np.array(row["error"], np.float32),
            row["slow_s"],
            (row["swap_rate"][0], row["swap_rate"][1]),
            row["swap_s"],
            RealVideo(tuple(row["real"]["difficulty"]), row["real"]["error"], row["real"]["jitter"]),
        )
        for name, row in json.loads(path.read_text())["detectors"].items()
    ]


def extent(points: Tensor, seen: Tensor) -> Tensor:
    """Size of a person in the frame (B, T): longer side of the box around the ``seen`` (B, T, K) ``points`` (B, T, K, 2), at
    least 12 px. Detectors work on a crop of about this size, so their errors grow with it."""
    big = torch.where(seen[..., None], points, torch.full_like(points, -1e9)).amax(2)
    small = torch.where(seen[..., None], points, torch.full_like(points, 1e9)).amin(2)
    return (big - small).amax(-1).clamp(12.0, 1e6)


class NoiseSampler:
    """Draws detections for true keypoints. One of the measured detectors is picked for every window.

    ``rendered`` of the windows are as hard as rendered people are, the others as real video. ``by_pose`` is the largest share
    of an error's variance that depends on the pose instead of the clock.
    """

    def __init__(
        self, detectors: list[DetectorNoise], seed: int, rendered: float = 0.0, by_pose: float = _MAX_BY_POSE
    ) -> None:
        if not detectors:
            raise ValueError("no measured detector: run python -m training.noise_measurement.detector")
        self.detectors, self.rendered, self.by_pose = detectors, rendered, by_pose
        self.generator = torch.Generator().manual_seed(seed)
        group = torch.tensor(GROUP_OF)
        self._confidence = torch.stack([torch.from_numpy(d.confidence)[group] for d in detectors])
        self._error = torch.stack([torch.from_numpy(d.error)[group] for d in detectors])
        places = np.linspace(0, 1, 65)
        difficulties = [
            np.interp(places, np.linspace(0, 1, len(d.real.difficulty)), d.real.difficulty) for d in detectors
        ]
        self._difficulty = torch.tensor(np.array(difficulties), dtype=torch.float32)
        self._edges = torch.tensor(BINS[1:])
        self._mirror = torch.tensor(COCO_MIRROR)

    def _drift(self, shape: tuple[int, ...], dt: Tensor, seconds: Tensor) -> Tensor:
        """Unit-variance noise (B, T, ...) that decorrelates over ``seconds`` (B,) with time steps ``dt``, and is smooth, as a
        detector's errors change gradually with the image. First-order noise (x) through a first-order filter (y), each with
        half of the time."""
        fresh = torch.randn(shape, generator=self.generator)
        keep = torch.exp(-2 * dt / seconds[:, None])
        keep = keep.reshape(*keep.shape, *[1] * (len(shape) - 2))
        gain, level = (1 - keep**2).sqrt(), (1 + keep) / (1 + keep**2).sqrt()  # the latter makes y's variance 1
        x = fresh[:, 0]
        y = (x + keep[:, 0] * torch.randn(x.shape, generator=self.generator)) / (1 + keep[:, 0])
        out = [y * level[:, 0]]
        for t in range(1, shape[1]):
            x = keep[:, t] * x + gain[:, t] * fresh[:, t]
            y = keep[:, t] * y + (1 - keep[:, t]) * x
            out.append(y * level[:, t])
        return torch.stack(out, 1)

    def _posed(self, points: Tensor, state: Tensor) -> Tensor:
        """Unit-variance errors (B, T, 17, 2) that depend on the pose: a person who hardly moves keeps them, and one who comes
        back to a pose gets them again. Random smooth functions of the keypoints' positions about their mean, new ones for
        every window."""
        batch, length = points.shape[:2]
        size = extent(points, state < 2)[..., None, None]
        pose = ((points - points.mean(2, keepdim=True)) / size).clamp(-1, 1).flatten(2)
        ways = torch.randn(batch, pose.shape[2], _WAVES, generator=self.generator) * _WAVE
        phase = torch.rand(batch, 1, _WAVES, generator=self.generator) * (2 * torch.pi)
        mix = torch.randn(batch, _WAVES, pose.shape[2], generator=self.generator) * (2 / _WAVES) ** 0.5
        return (torch.sin(pose @ ways + phase) @ mix).reshape(batch, length, 17, 2)

    def _errors(self, points: Tensor, state: Tensor, dt: Tensor, seconds: Tensor, jitter: Tensor) -> Tensor:
        """Unit-variance errors (B, T, 17, 2): part drifts over ``seconds`` (B,), part depends on the pose, and about ``jitter``
        (B,) of the standard deviation is new in every frame."""
        batch, length = dt.shape
        jitter = jitter * torch.exp(0.7 * torch.randn(batch, generator=self.generator))
        jitter = jitter.clamp(max=0.7)[:, None, None, None]
        by_pose = self._posed(points, state)
        share = (torch.rand(batch, generator=self.generator) * self.by_pose)[:, None, None, None]
        lasting = (1 - share).sqrt() * self._drift((batch, length, 17, 2), dt, seconds) + share.sqrt() * by_pose
        errors = (1 - jitter**2).sqrt() * lasting
        return errors + jitter * torch.randn(errors.shape, generator=self.generator)

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

        seconds = of([d.slow_s for d in self.detectors])
        # Windows differ: a person is easy or hard for the detector during the whole window.
        level = torch.randn(batch, 1, 17, generator=self.generator)
        drift = self._drift((batch, length, 17), dt, seconds)
        flicker = torch.randn(batch, length, 17, generator=self.generator)
        lasting = 0.6 * level + 0.5 * drift
        rendered = torch.rand(batch, generator=self.generator) < self.rendered
        people = torch.rand(batch, generator=self.generator)
        difficulty = torch.where(rendered, 1.0, _quantile(self._difficulty, (pick,), people))[:, None, None]
        where = torch.arange(17).expand(batch, length, 17)
        chosen = pick[:, None, None].expand(batch, length, 17)

        def confident(latent: Tensor) -> Tensor:
            rank = 1 - difficulty * (1 - torch.special.ndtr(latent).clamp(0, 0.999))
            return _quantile(self._confidence, (chosen, where, state), rank.clamp(max=0.999))

        confidence = confident(lasting + _FLICKER * flicker)
        # Confidences change quickly, errors slowly: an error depends on the slowly changing part of the confidence.
        bins = torch.bucketize(confident(lasting / (1 - _FLICKER**2) ** 0.5), self._edges)
        push = self._errors(points, state, dt, seconds, of([d.real.jitter for d in self.detectors]))
        reach = push.square().sum(-1).sqrt().clamp_min(1e-6)
        most = torch.where(rendered, 1.0, of([d.real.error for d in self.detectors]))[:, None, None]
        rank = (1 - torch.exp(-0.5 * reach**2)).clamp(0, 0.999) * most  # Rayleigh: uniform again
        error = _quantile(self._error, (chosen, where, state.clamp(max=1), bins), rank)

        inside = state < 2
        scale = extent(points, inside)[..., None]
        edge = torch.minimum(points.clamp_min(0), size[:, None, None])
        aim = torch.where(inside[..., None], points, edge)
        # Outside of the frame the detector still reports a point, near the border and with little confidence.
        error = torch.where(inside, error, error.clamp_min(0.03) * 1.5)
        detected = aim + push / reach[..., None] * (error * scale)[..., None]

        seconds = of([d.swap_s for d in self.detectors])
        for limb, column in ((_ARMS, 0), (_LEGS, 1)):
            rate = of([d.swap_rate[column] for d in self.detectors]) * difficulty[:, 0, 0] ** 3
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
