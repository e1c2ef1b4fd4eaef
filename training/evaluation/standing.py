"""How well a foot's contact and its speed in the image tell that it stands: ``python -m training.evaluation world --feet``.

The constants of `realtime.stages.world.foot_kernels.probability_of_standing` come from what it prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np

from body.model import BodyArrays
from body.soles import Soles
from common.arrays import BoolArray, DoubleArray
from realtime.records import BodyEstimate
from realtime.stages.world.foot_kernels import NOISE_SPEED, SPEED_SHARE
from training.evaluation.world_scenes import SCENE_FPS, WorldScene
from training.evaluation.world_scores import STILL_M

_CONTACTS: Final = (0.0, 0.15, 0.3, 0.5, 0.7, 1.0)
_SPEEDS: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.2, np.inf)
_WARM_UP: Final = 5  # frames
_ROUNDS: Final = 30


def standing_samples(
    scene: WorldScene, frames: Sequence[Sequence[BodyEstimate]], arrays: BodyArrays
) -> tuple[DoubleArray, BoolArray]:
    """Contact and speed across the line of sight, m/s, of every sole in every frame (N, 2), and whether it truly stands (N,),
    which is to move by less than a centimetre from one frame to the next."""
    soles_of = Soles(arrays)
    turns = scene.world_from_camera[:, :3, :3]
    samples, stands = [], []
    for who in range(len(scene.soles)):
        bodies = [people[who] for people in frames]
        feet = np.stack([soles_of(body.vertices) @ turn.T for body, turn in zip(bodies, turns, strict=True)])
        ray = np.stack([turn @ body.transl for body, turn in zip(bodies, turns, strict=True)])[:, None]
        ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
        steps = np.diff(feet, axis=0)
        aside = steps - (steps * ray[1:]).sum(-1, keepdims=True) * ray[1:]
        moved = np.linalg.norm(aside, axis=-1) * SCENE_FPS
        true = np.linalg.norm(np.diff(scene.soles[who], axis=0), axis=-1)
        speed = np.zeros(4)
        for t, body in enumerate(bodies[1:]):
            speed = speed + (moved[t] - speed) * SPEED_SHARE
            if t >= _WARM_UP and body.contact is not None:
                samples.append(np.stack([body.contact, speed], 1))
                stands.append(true[t] < STILL_M)
    return np.concatenate(samples).astype(np.float64), np.concatenate(stands)


def describe_standing(samples: DoubleArray, stands: BoolArray) -> str:
    """The share of soles that stand by contact and speed, and the fit ln(odds) = a + b ln(contact / (1 - contact)) - c
    ln(speed + 0.05 m/s)."""
    ends = [f"below {high:.1f}" if high < np.inf else "faster" for high in _SPEEDS[1:]]
    lines = ["| contact | " + " m/s | ".join(ends) + " |", "| --- |" + " --- |" * len(ends)]
    for low, high in pairwise(_CONTACTS):
        row = (samples[:, 0] >= low) & (samples[:, 0] < high)
        cells = []
        for slow, fast in pairwise(_SPEEDS):
            cell = row & (samples[:, 1] >= slow) & (samples[:, 1] < fast)
            cells.append(f"{stands[cell].mean():.2f} ({cell.sum()})" if cell.any() else "")
        lines.append(f"| {low:.2f} to {high:.2f} | " + " | ".join(cells) + " |")
    a, b, c = _fit(samples, stands)
    return "\n".join([*lines, "", f"odds: {np.exp(a):.2f} (contact / (1 - contact))^{b:.2f} / (speed + 0.05)^{-c:.2f}"])


def _fit(samples: DoubleArray, stands: BoolArray) -> DoubleArray:
    """Logistic regression (3,), by Newton's method."""
    contact = np.clip(samples[:, 0], 0.02, 0.98)
    speed = np.log(samples[:, 1] + NOISE_SPEED)
    features = np.stack([np.ones(len(contact)), np.log(contact / (1 - contact)), speed], 1)
    weights = np.zeros(3)
    for _ in range(_ROUNDS):
        found = 1 / (1 + np.exp(-features @ weights))
        slope = (features * (found * (1 - found))[:, None]).T @ features
        weights = weights + np.linalg.solve(slope + 1e-6 * np.eye(3), features.T @ (stands - found))
    return np.asarray(weights, np.float64)
