"""The rotation between two sets of rays, with outliers."""

from __future__ import annotations

from typing import Final

import numpy as np

from body.rotations import axis_angle_to_matrix
from common.arrays import DoubleArray

_SCALES: Final = (8.0, 4.0, 2.0, 1.0, 1.0)
"""Pixels within which a ray counts, round by round."""
_AGREES: Final = 1.5  # pixels


def fit_rotation(
    first: DoubleArray, second: DoubleArray, start: DoubleArray, pixel: float
) -> tuple[DoubleArray, float]:
    """The rotation that takes most of the rays ``first`` to ``second``, and the share of rays that it takes there.

    Iteratively reweighted least squares (Gauss-Newton on the rotation, Geman-McClure's weights, whose scale falls), begun at
    ``start``, at the median shift and at no rotation; the one that most rays agree with wins.

    Args:
        first: (N, 3) unit vectors.
        second: (N, 3) unit vectors.
        start: (3, 3) rotation, for example that of the frame before.
        pixel: the angle of a pixel, rad.

    Returns:
        (3, 3), and the share in 0..1 of rays within 1.5 pixels.
    """
    best, most = start, -1.0
    for begin in (start, axis_angle_to_matrix(np.median(np.cross(first, second), axis=0)), np.eye(3)):
        fitted = _refine(first, second, np.asarray(begin, np.float64), pixel)
        share = float((np.linalg.norm(second - first @ fitted.T, axis=-1) < _AGREES * pixel).mean())
        if share > most + 0.02:  # an equal one does not replace what was there
            best, most = fitted, share
        if most > 0.8:
            break
    return best, most


def _refine(first: DoubleArray, second: DoubleArray, rotation: DoubleArray, pixel: float) -> DoubleArray:
    for scale in _SCALES:
        turned = first @ rotation.T
        apart = second - turned
        square = (scale * pixel) ** 2
        weight = (square / (square + np.einsum("ij,ij->i", apart, apart))) ** 2
        # |apart - turn x turned|² is least; turned is of length 1.
        normal = weight.sum() * np.eye(3) - (turned * weight[:, None]).T @ turned + 1e-9 * np.eye(3)
        turn = np.linalg.solve(normal, weight @ np.cross(turned, apart))
        rotation = axis_angle_to_matrix(turn) @ rotation
    return rotation
