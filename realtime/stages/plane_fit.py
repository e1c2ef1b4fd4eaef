"""One plane through the feet of several people, each of whose distances has an unknown factor."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.arrays import DoubleArray

_SCALES: Final = (6.0, 4.0, 3.0, 2.5, 2.5, 2.5)
"""Deviations from the plane at which a place has lost three quarters of its weight, round by round."""
_LEAST_FACTOR, _MOST_FACTOR = 0.7, 1.4
_LONGEST_STEP: Final = 0.2  # rad in a round


class PlaneFit(NamedTuple):
    """Up (3,) and its covariance (2, 2), rad²; the height of the origin over the plane, m; the deviation of the plane's
    height in the middle of the places, m; the people's factors (P,)."""

    up: DoubleArray
    covariance: DoubleArray
    height: float
    sigma: float
    factors: DoubleArray


def fit_plane(
    places: DoubleArray,
    people: NDArray[np.intp],
    weight: DoubleArray,
    evidence: tuple[DoubleArray, DoubleArray],
    up: DoubleArray,
    sigmas: tuple[float, float, float],
) -> PlaneFit:
    """The plane up·x + height = 0 nearest to the ``places`` (N, 3), metres, each times its person's factor.

    Robust Gauss-Newton over up (two angles), the height and one factor a person. Places that lie off the plane by
    several deviations, of somebody on a box or in the air, lose their weight (Geman & McClure); the search begins at the
    weighted median height with a wide scale.

    Args:
        places: (N, 3) metres.
        people: (N,) who stood there, 0..P - 1.
        weight: (N,) 0..1.
        evidence: A (3, 3) and b (3,): u·A·u - 2 b·u is what is known of up elsewhere.
        up: (3,) to begin at.
        sigmas: standard deviations of a person's factor, of a foot's height in metres, and of a distance as a share of it.
    """
    size_sigma, foot_sigma, depth_sigma = sigmas
    matrix, vector = evidence
    count = int(people.max()) + 1
    owner = np.eye(count)[people]  # (N, P)
    share = owner * weight[:, None] / np.maximum(weight @ owner, 1e-9)
    means = share.T @ places
    height, factors = _weighted_median(-(places @ up), weight), np.ones(count)
    covariance, across = np.eye(3 + count), np.zeros((3, 2))
    for scale in _SCALES:
        across = tangents(up)
        lying = means[people] + _real(places, people, means, share, depth_sigma, up)[:, None] * (places - means[people])
        along = places @ up
        off = factors[people] * along + height
        deviation = np.hypot(foot_sigma, depth_sigma * height)
        near = 1 / (1 + (off / (scale * deviation)) ** 2)
        strength = weight * near**2 / deviation**2
        rows = np.concatenate(
            [factors[people, None] * (lying @ across), np.ones((len(places), 1)), owner * along[:, None]], 1
        )
        normal = rows.T @ (rows * strength[:, None])
        side = -rows.T @ (strength * off)
        normal[:2, :2] += across.T @ matrix @ across
        side[:2] += across.T @ (vector - matrix @ up)
        normal[range(3, 3 + count), range(3, 3 + count)] += size_sigma**-2
        side[3:] += (1 - factors) * size_sigma**-2
        covariance = np.linalg.inv(normal + 1e-6 * np.eye(3 + count))
        move = covariance @ side
        move *= min(1.0, _LONGEST_STEP / max(float(np.hypot(move[0], move[1])), 1e-9))
        up = up + across @ move[:2]
        up = up / np.linalg.norm(up)
        height += float(move[2])
        factors = np.clip(factors + move[3:], _LEAST_FACTOR, _MOST_FACTOR)
    under = np.concatenate([across.T @ (weight @ places / weight.sum()), [1.0], np.zeros(count)])
    return PlaneFit(up, covariance[:2, :2], height, float(np.sqrt(under @ covariance @ under)), factors)


def _real(
    places: DoubleArray,
    people: NDArray[np.intp],
    means: DoubleArray,
    share: DoubleArray,
    depth_sigma: float,
    up: DoubleArray,
) -> DoubleArray:
    """How much (N,) of each place's offset from the mean of its person's places counts, 0..1.

    Distances are wrong from step to step, which looks like a slope along the line of sight: places that hardly differ by more
    than that tell nothing of up.
    """
    apart = places - means[people]
    spread = share.T @ ((apart**2).sum(1) - (apart @ up) ** 2)
    noise = depth_sigma**2 * (means**2).sum(1)
    return np.asarray(np.clip(1 - noise / np.maximum(spread, 1e-9), 0, None)[people], np.float64)


def tangents(up: DoubleArray) -> DoubleArray:
    """Two unit vectors, columns of (3, 2), square to the unit vector ``up`` (3,) and to each other."""
    other = np.array([1.0, 0.0, 0.0]) if abs(float(up[0])) < 0.9 else np.array([0.0, 1.0, 0.0])
    first = np.cross(up, other)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(up, first)], 1)


def _weighted_median(values: DoubleArray, weight: DoubleArray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order[np.searchsorted(total, total[-1] / 2)]])
