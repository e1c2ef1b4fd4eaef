"""Fits one plane to the feet of several people, each with an unknown factor on their distance."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.arrays import DoubleArray
from realtime.stages.world.kernels import fit_plane_rounds, set_tangents

_SCALES: Final = (6.0, 4.0, 3.0, 2.5, 2.5, 2.5)
"""Scale of the robust weight in each round: at so many deviations from the plane a place has a quarter of its weight."""
_MIN_FACTOR, _MAX_FACTOR = 0.7, 1.4
_LONGEST_STEP: Final = 0.2  # rad in a round


class PlaneFit(NamedTuple):
    """The plane up·x + height = 0 and how well it is known. Lengths in metres, axes of the given places."""

    up: DoubleArray
    """(3,) unit vector."""
    covariance: DoubleArray
    """(2, 2) covariance of ``up`` along its two `tangents`, rad²."""
    height: float
    """Height of the origin over the plane, metres."""
    sigma: float
    """Standard deviation of the plane's height in the middle of the places, metres."""
    factors: DoubleArray
    """(P,) factor on each person's distance."""


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

    Errors of the distance differ from step to step, which would look like a slope along the line of sight. So a person's places
    are shrunk towards their mean by the share of their spread that such errors explain.

    Args:
        places: (N, 3) metres.
        people: (N,) who stood there, 0..P - 1.
        weight: (N,) 0..1.
        evidence: A (3, 3) and b (3,) of u·A·u - 2 b·u, other evidence of the vertical u.
        up: (3,) start of the search.
        sigmas: standard deviations of a person's factor, of a foot's height in metres, and of a distance as a share of it.
    """
    count = int(people.max()) + 1
    total = np.bincount(people, weight, count)
    share = weight / np.maximum(total, 1e-9)[people]
    means = np.array([np.bincount(people, share * places[:, k], count) for k in range(3)], np.float64).T.copy()
    up, factors, covariance = up.copy(), np.ones(count), np.eye(3 + count)
    height, sigma = fit_plane_rounds(
        places,
        people,
        weight,
        share,
        means,
        *evidence,
        sigmas,
        np.array(_SCALES),
        (_LONGEST_STEP, _MIN_FACTOR, _MAX_FACTOR),
        up,
        _weighted_median(-(places @ up), weight),
        factors,
        covariance,
    )
    return PlaneFit(up, covariance[:2, :2], height, sigma, factors)


def tangents(up: DoubleArray) -> DoubleArray:
    """Two unit vectors, columns of (3, 2), perpendicular to the unit vector ``up`` (3,) and to each other."""
    out = np.empty((3, 2))
    set_tangents(up, out)
    return out


def _weighted_median(values: DoubleArray, weight: DoubleArray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    return float(values[order[np.searchsorted(total, total[-1] / 2)]])
