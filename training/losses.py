"""The loss that trains the regressor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from body.joints import JOINT_NAMES
from body.lbs_torch import bone_lengths
from training.networks.outputs import Lifted
from training.simulation.batches import Batch
from training.simulation.projection import project_rays


@dataclass(frozen=True, slots=True)
class LossWeights:
    """Weight of each term of `regression_loss`. Lengths in metres and rotations as matrices make the terms' numbers
    comparable."""

    joints: float = 10.0
    """Distances of the 24 joints, pelvis aligned, metres; wrists and ankles count most."""
    coco: float = 4.0
    """Distances of the body's COCO keypoints, pelvis aligned, metres."""
    rotations: float = 0.8
    """Differences of the 24 rotation matrices (Frobenius norm)."""
    betas: float = 0.02
    """Negative log-likelihood of the true shape under the predicted mean and deviation, and a penalty on betas beyond
    ±2."""
    bones: float = 4.0
    """Differences of the logarithms of the bones' lengths."""
    reprojection: float = 4.0
    """Distances of the projected COCO keypoints, as shares of the person's extent in the image."""
    depth: float = 0.5
    """Difference of the logarithms of the pelvis's depth."""
    velocity: float = 0.4
    """Differences of the joints' velocities, pelvis aligned, m/s."""
    acceleration: float = 0.035
    """Differences of the joints' accelerations, pelvis aligned, m/s²."""
    keypoints: float = 2.0
    """Distances of the filtered keypoints from the true ones, as shares of the person's extent."""
    joint_error: float = 0.05
    """Negative log-likelihood of the joints' errors under the predicted errors; trains the predicted errors alone."""
    contact: float = 0.1
    """Cross-entropy of the feet's contacts."""
    up: float = 0.1
    """Negative log-likelihood of the predicted vertical's error under its predicted error."""
    root_velocity: float = 0.1
    """Difference of the pelvis's velocity over the ground, m/s."""
    hips: float = 2.0
    """Not a term: by how much the hips' rotations count in ``rotations``, where most joints' count by 1."""
    knees: float = 3.0
    """Not a term: the same for the knees' rotations."""


_JOINT_WEIGHTS = torch.ones(len(JOINT_NAMES))
for _name, _weight in {"wrist": 1.6, "ankle": 1.6, "elbow": 1.3, "knee": 1.3, "hand": 0.8, "foot": 1.0}.items():
    for _side in ("left", "right"):
        _JOINT_WEIGHTS[JOINT_NAMES.index(f"{_side}_{_name}")] = _weight
_NEAREST_M = 0.2
"""Depth below which points count as that deep: the slope of a projection grows with the inverse square of the depth."""
_USUAL_DT = 1 / 30
"""Time in seconds below which speeds and accelerations count less: a jitter of a millimetre is no worse at a higher frame
rate."""


@cache
def _rotation_weights(hips: float, knees: float) -> Tensor:
    """How much each joint's rotation counts (24,); 1 on average."""
    counted = torch.ones(len(JOINT_NAMES))
    counted[0] = 4.0  # which way the person faces
    for name, weight in {"hip": hips, "knee": knees, "elbow": 1.3, "hand": 0.2, "foot": 0.5, "wrist": 0.5}.items():
        for side in ("left", "right"):
            counted[JOINT_NAMES.index(f"{side}_{name}")] = weight
    return counted / counted.mean()


def regression_loss(
    lifted: Lifted, joints: Tensor, coco: Tensor, batch: Batch, weights: LossWeights
) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum of all terms, and each term's value. ``joints`` (B, T, 24, 3) and ``coco`` (B, T, 17, 3) are those of
    the ``lifted`` body, shaped as in `Batch`.

    Lengths and rotations count by their absolute error, not by its square: where an image is compatible with a straight and a
    bent knee, squares would favour their mean, which is neither."""
    betas, pelvis, device = lifted.betas, lifted.pelvis, lifted.betas.device
    truth = batch.betas[:, None].expand_as(betas)
    distance = _length(joints - batch.joints)
    turned = ((lifted.rotations - batch.rotations) ** 2).sum((-1, -2)).add(1e-6).sqrt()
    deviation = lifted.betas_deviation
    terms = {
        "joints": (distance * _JOINT_WEIGHTS.to(device)).mean(),
        "coco": _length(coco - batch.coco).mean(),
        "rotations": (turned * _rotation_weights(weights.hips, weights.knees).to(device)).mean(),
        # Gaussian likelihood of the shape: it also trains the predicted deviations.
        "betas": (0.5 * ((betas - truth) / deviation) ** 2 + deviation.log()).mean()
        + 3 * (betas.abs() - 2.0).clamp_min(0).pow(2).mean(),
        "bones": (bone_lengths(joints).log() - bone_lengths(batch.joints).log()).abs().mean(),
    }
    # Distances in the image, as shares of the person's extent; robust to the few points very near to the camera.
    placed, true = coco + pelvis[:, :, None], batch.coco + batch.pelvis[:, :, None]
    true_rays = project_rays(true, _NEAREST_M)
    error = _length(project_rays(placed, _NEAREST_M) - true_rays) / batch.size[..., None]
    terms["reprojection"] = error.clamp(max=2.0).mean()
    terms["depth"] = (pelvis[..., 2].clamp_min(0.05).log() - batch.pelvis[..., 2].log()).abs().mean()
    steadied = _length(lifted.rays - true_rays) / batch.size[..., None]
    terms["keypoints"] = steadied.clamp(max=0.5).mean()
    # Laplace likelihood of the joints' errors: it trains the predicted errors alone, not the joints.
    spread = lifted.joint_error.clamp(-7, 1)
    terms["joint_error"] = (distance.detach() * torch.exp(-spread) + spread).mean()
    terms["contact"] = nn.functional.binary_cross_entropy_with_logits(lifted.contact, batch.contact)
    apart = _length(lifted.up - batch.up)
    log_error = lifted.up_error.clamp(-5, 1)
    terms["up"] = (apart * torch.exp(-log_error) + log_error).mean()
    if joints.shape[1] > 1:
        dt = batch.seen.dt
        usual = (dt / _USUAL_DT).clamp(max=1.0)[..., None, None]
        terms["root_velocity"] = _length(lifted.root_velocity - batch.root_velocity).clamp(max=3.0).mean()
        step = (joints[:, 1:] - joints[:, :-1]) - (batch.joints[:, 1:] - batch.joints[:, :-1])
        speed = step / dt[:, 1:, None, None]
        terms["velocity"] = _length(speed * usual[:, 1:]).clamp(max=10.0).mean()
        if joints.shape[1] > 2:
            change = (speed[:, 1:] - speed[:, :-1]) / dt[:, 2:, None, None]
            terms["acceleration"] = _length(change * usual[:, 2:].square()).clamp(max=200.0).mean()
    total = sum((getattr(weights, name) * term for name, term in terms.items()), torch.zeros((), device=device))
    return total, {name: float(term.detach()) for name, term in terms.items()}


def _length(vectors: Tensor) -> Tensor:
    """Euclidean length over the last axis; on a CPU several times faster than ``norm`` for vectors of two or three."""
    return (vectors.square().sum(-1) + 1e-12).sqrt()
