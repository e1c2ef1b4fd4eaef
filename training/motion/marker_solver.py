"""Poses of a subject whose skeleton is known, from the places of optical markers.

Damped Gauss-Newton (Levenberg and Marquardt) on all frames at once. The residuals are the distances of the markers over
their standard deviation, joint rotations over theirs, and limits of hinges; outlying markers count less (Cauchy's
weights).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import roma
import torch
from torch import Tensor

from training.motion.marker_model import (
    ANGLE_COUNT,
    BALLS,
    CARRIERS,
    MARKER_SIGMA,
    PARAMETERS,
    Poses,
    exp,
    frames_of,
    limits,
    prior_sigmas,
)

FAR_M: Final = 0.04
"""Distance from which on a marker counts less, metres."""
_BLOCK: Final = 256
_LIMIT_SIGMA: Final = 0.03
_DIFFERENCE: Final = 2e-3  # radians or metres: single precision leaves four digits of a derivative


@dataclass(frozen=True)
class MarkerSkeleton:
    """A subject's bones, and where the markers are on them."""

    offsets: Tensor
    """float32 (24, 3) from each joint's parent, rest pose, metres."""
    places: Tensor
    """float32 (M, 3) each marker in the frame of the joint that carries it, metres."""


def marker_places(step: Tensor, poses: Poses, skeleton: MarkerSkeleton) -> Tensor:
    """Where the markers are (..., M, 3), metres."""
    turned, places = frames_of(step, poses, skeleton.offsets)
    return places[..., CARRIERS, :] + (turned[..., CARRIERS, :, :] @ skeleton.places[..., None])[..., 0]


def solve(
    poses: Poses, points: Tensor, seen: Tensor, skeleton: MarkerSkeleton, rest: Sequence[str] | str = "free", rounds: int = 12,
    far: float = FAR_M,
) -> tuple[Poses, Tensor, Tensor]:  # fmt: skip
    """Fit poses to markers.

    Args:
        poses: Where to start, N frames.
        points: (N, M, 3) metres; anything where a marker is not seen.
        seen: (N, M), 1 or 0.
        skeleton: Of the subject.
        rest: What is known of each frame (see `MarkerTake`).
        rounds: Most steps.
        far: Distance from which a marker counts less, metres.

    Returns:
        The poses, distances of the markers (N, M) in metres, and costs (N,).
    """
    kinds = [rest] * len(points) if isinstance(rest, str) else rest
    parts = [
        _solve(poses[part], points[part], seen[part], skeleton, kinds[part], rounds, far)
        for part in (slice(start, start + _BLOCK) for start in range(0, len(points), _BLOCK))
    ]
    solved = Poses(*(torch.cat([getattr(part[0], name) for part in parts]) for name in ("place", "balls", "angles")))
    return solved, torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])


class _Terms(NamedTuple):
    """What the cost of N poses is made of."""

    error: Tensor
    """float32 (N, M, 3) from the markers as measured to those of the poses, metres."""
    distance: Tensor
    """float32 (N, M) squared lengths of ``error``."""
    prior: Tensor
    """float32 (N, PARAMETERS - 3) joint rotations over their standard deviations."""
    beyond: Tensor
    """float32 (N, ANGLE_COUNT) how far hinges are past their limits, over `_LIMIT_SIGMA`."""
    cost: Tensor
    """float32 (N,) sum of all."""


class _Problem:
    """What is minimised: the costs of N poses, and the step of Gauss-Newton that lessens them."""

    def __init__(
        self, points: Tensor, seen: Tensor, skeleton: MarkerSkeleton, kinds: Sequence[str], far: float
    ) -> None:
        self._points, self._skeleton, self._far = points, skeleton, far
        self._sigmas = torch.stack([prior_sigmas(kind)[0] for kind in kinds])
        self._tilt = torch.tensor([prior_sigmas(kind)[1] for kind in kinds])
        self._low, self._high = limits()
        self._precision = seen / MARKER_SIGMA**2
        self._up = torch.tensor([0.0, 1.0, 0.0])

    def terms(self, poses: Poses) -> _Terms:
        """The cost of ``poses`` and its parts."""
        zero = torch.zeros(len(poses.place), PARAMETERS)
        turned, places = frames_of(zero, poses, self._skeleton.offsets)
        markers = places[:, CARRIERS] + (turned[:, CARRIERS] @ self._skeleton.places[..., None])[..., 0]
        error, lean = markers - self._points, turned[:, 0, :, 1] - self._up
        distance = (error**2).sum(-1)
        prior = torch.cat([roma.rotmat_to_rotvec(poses.balls).flatten(1), poses.angles], 1) / self._sigmas
        angles = poses.angles
        beyond = ((angles - self._low).clamp_max(0) + (angles - self._high).clamp_min(0)) / _LIMIT_SIGMA
        far = self._far
        cost = (self._precision * far**2 * torch.log1p(distance / far**2)).sum(1) + (prior**2).sum(1)
        cost = cost + (beyond**2).sum(1)
        return _Terms(error, distance, prior, beyond, cost + ((lean / self._tilt[:, None]) ** 2).sum(1))

    def step(self, poses: Poses, terms: _Terms, damping: Tensor) -> Tensor:
        """The step (N, PARAMETERS) from ``poses`` that Gauss-Newton takes with ``damping`` (N,), shortened where a joint would
        turn by more than 0.8 rad."""
        of_markers, of_up = _derivatives(poses, self._skeleton)
        weight = self._precision / (1 + terms.distance / self._far**2)
        weighted = (of_markers * weight[..., None, None]).flatten(1, 2).transpose(1, 2)
        of_up = of_up / self._tilt[:, None, None]
        lean = poses.balls[:, 0, :, 1] - self._up
        normal = weighted @ of_markers.flatten(1, 2) + of_up.transpose(1, 2) @ of_up
        gradient = (weighted @ terms.error.flatten(1)[..., None])[..., 0]
        gradient += (of_up.transpose(1, 2) @ (lean / self._tilt[:, None])[..., None])[..., 0]
        diagonal = torch.zeros(len(self._points), PARAMETERS)
        diagonal[:, 3:] = self._sigmas**-2
        diagonal[:, -ANGLE_COUNT:] += (terms.beyond != 0) / _LIMIT_SIGMA**2
        gradient[:, 3:] += terms.prior / self._sigmas
        gradient[:, -ANGLE_COUNT:] += terms.beyond / _LIMIT_SIGMA
        scale = torch.diagonal(normal, dim1=1, dim2=2) + diagonal + 1
        damped = normal + torch.diag_embed(diagonal + damping[:, None] * scale)
        step = -torch.linalg.solve(damped, gradient[..., None])[..., 0]
        longest = step[:, 3:].abs().amax(1, keepdim=True).clamp_min(1e-9)
        return torch.nan_to_num(step * (0.8 / longest).clamp_max(1.0))


@torch.no_grad()
def _solve(
    poses: Poses, points: Tensor, seen: Tensor, skeleton: MarkerSkeleton, kinds: Sequence[str], rounds: int, far: float
) -> tuple[Poses, Tensor, Tensor]:
    problem = _Problem(points, seen, skeleton, kinds, far)
    damping = torch.full((len(points),), 1e-2)
    terms = problem.terms(poses)
    for _ in range(rounds):
        tried = _moved(poses, problem.step(poses, terms, damping))
        found = problem.terms(tried)
        better = found.cost <= terms.cost
        gained = float(((terms.cost - found.cost) * better / (terms.cost + 1)).max())
        poses = Poses(
            _where(better, tried.place, poses.place),
            _where(better, tried.balls, poses.balls),
            _where(better, tried.angles, poses.angles),
        )
        terms = _Terms(*(_where(better, new, old) for new, old in zip(found, terms, strict=True)))
        damping = torch.where(better, damping * 0.3, damping * 8).clamp(1e-6, 1e4)
        if gained < 2e-4:
            break
    poses.balls = roma.special_procrustes(poses.balls)
    return poses, terms.distance.sqrt(), terms.cost


def _moved(poses: Poses, step: Tensor) -> Poses:
    """``poses`` after a ``step`` (N, PARAMETERS)."""
    turns = exp(step[:, 3:-ANGLE_COUNT].reshape(-1, len(BALLS), 3))
    return Poses(poses.place + step[:, :3], turns @ poses.balls, poses.angles + step[:, -ANGLE_COUNT:])


def _where(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """The ``new`` values of frames that are ``better`` (N,), the ``old`` ones of others."""
    return torch.where(better.view(-1, *[1] * (new.ndim - 1)), new, old)


def _derivatives(poses: Poses, skeleton: MarkerSkeleton) -> tuple[Tensor, Tensor]:
    """Of markers (N, M, 3, PARAMETERS) and of the pelvis' upright axis (N, 3, PARAMETERS), by differences."""
    steps = torch.cat([torch.zeros(1, PARAMETERS), _DIFFERENCE * torch.eye(PARAMETERS)])[:, None]
    turned, places = frames_of(steps, poses, skeleton.offsets)
    markers = places[..., CARRIERS, :] + (turned[..., CARRIERS, :, :] @ skeleton.places[..., None])[..., 0]
    up = turned[..., 0, :, 1]
    of_markers, of_up = ((part[1:] - part[:1]) / _DIFFERENCE for part in (markers, up))
    return of_markers.movedim(0, -1), of_up.movedim(0, -1)
