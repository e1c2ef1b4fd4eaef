"""What the regressor is taught."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from body.joints import JOINT_NAMES
from training.batches import Batch


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weight of each term; lengths in metres and rotations as matrices make the numbers comparable."""

    joints: float = 10.0
    coco: float = 4.0
    rotations: float = 0.35
    betas: float = 0.05
    reprojection: float = 2.0
    depth: float = 0.5
    velocity: float = 0.35
    steady_betas: float = 0.2


_JOINT_WEIGHTS = torch.ones(len(JOINT_NAMES))
for _name, _weight in {"wrist": 1.6, "ankle": 1.6, "elbow": 1.3, "knee": 1.3, "hand": 0.8, "foot": 1.0}.items():
    for _side in ("left", "right"):
        _JOINT_WEIGHTS[JOINT_NAMES.index(f"{_side}_{_name}")] = _weight
_ROTATION_WEIGHTS = torch.ones(len(JOINT_NAMES))
_ROTATION_WEIGHTS[0] = 4.0  # which way the person faces


def regression_loss(
    rotations: Tensor, betas: Tensor, pelvis: Tensor, joints: Tensor, coco: Tensor, batch: Batch, weights: LossWeights
) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of all terms, and each term's value. Predictions are (B, T, ...), shaped as in `Batch`."""
    truth = batch.betas[:, None].expand_as(betas)
    terms = {
        "joints": ((joints - batch.joints).norm(dim=-1) * _JOINT_WEIGHTS).mean(),
        "coco": (coco - batch.coco).norm(dim=-1).mean(),
        "rotations": (((rotations - batch.rotations) ** 2).sum((-1, -2)) * _ROTATION_WEIGHTS).mean(),
        "betas": ((betas - truth) ** 2).mean() + 0.3 * (betas.abs() - 2.0).clamp_min(0).pow(2).mean(),
    }
    # Distances in the picture, as shares of the person's extent; robust to the few points very near to the camera.
    placed, true = coco + pelvis[:, :, None], batch.coco + batch.pelvis[:, :, None]
    rays = placed[..., :2] / placed[..., 2:].clamp_min(0.2)
    error = (rays - true[..., :2] / true[..., 2:].clamp_min(0.2)).norm(dim=-1) / batch.size[..., None]
    terms["reprojection"] = error.clamp(max=2.0).mean()
    terms["depth"] = (pelvis[..., 2].clamp_min(0.05).log() - batch.pelvis[..., 2].log()).abs().mean()
    if joints.shape[1] > 1:
        step = (joints[:, 1:] - joints[:, :-1]) - (batch.joints[:, 1:] - batch.joints[:, :-1])
        speed = step.norm(dim=-1) / batch.dt[:, 1:, None]
        terms["velocity"] = speed.clamp(max=10.0).mean()
        terms["steady_betas"] = (betas[:, 1:] - betas[:, :-1]).abs().mean()
    total = sum((getattr(weights, name) * term for name, term in terms.items()), torch.zeros(()))
    return total, {name: float(term.detach()) for name, term in terms.items()}
