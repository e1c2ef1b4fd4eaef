"""From sampled adults to a mean and ten betas of unit variance, the first five with a meaning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from body.joints import JOINT_NAMES
from body.packed import BETAS
from common.arrays import DoubleArray, FloatArray

PELVIS_AT: Final = np.array([0.0, -0.22, 0.03])
"""Position of the mean body's pelvis joint, metres: as in SMPL, not at the origin."""


@dataclass(frozen=True)
class ShapeSpace:
    """Vertices and joints, both linear in the betas: mean + directions @ betas."""

    vertices: DoubleArray
    """(V, 3) vertices of the mean shape, metres."""
    directions: DoubleArray
    """(V, 3, 10) displacement of the vertices per unit of each beta, metres."""
    joints: DoubleArray
    """(24, 3) joints of the mean shape, metres."""
    joint_directions: DoubleArray
    """(24, 3, 10) displacement of the joints per unit of each beta, metres."""
    explained: DoubleArray
    """(10,) cumulated share of the variance, before the betas were rotated."""
    correlations: Mapping[str, list[float]]
    """Correlations of each beta with measurable properties."""


def fit_shape_space(
    vertices: FloatArray, joints: DoubleArray, properties: Mapping[str, DoubleArray], named: tuple[str, ...]
) -> ShapeSpace:
    """PCA of ``vertices`` (n, V, 3); ``joints`` (n, 24, 3) follow by the same linear map.

    The ten components are then rotated so that the first betas follow the ``named`` properties (n,) in this order and
    the others are sorted by variance. A rotation keeps the space, the unit variance and that betas are uncorrelated.
    """
    count = len(vertices)
    mean, mean_joints = vertices.mean(0, dtype=np.float64), joints.mean(0)
    centred = (vertices - mean).reshape(count, -1)
    values, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    values = values[::-1][:BETAS]
    scores = vectors[:, ::-1][:, :BETAS] * np.sqrt(count)
    axes: list[DoubleArray] = []
    for name in named:
        axis = scores.T @ (properties[name] - properties[name].mean())
        axis = axis - sum((other * (other @ axis) for other in axes), np.zeros(BETAS))
        axes.append(axis / np.linalg.norm(axis))
    rest = np.linalg.svd(np.array(axes))[2][len(axes) :].T
    projected = (scores @ rest).T @ centred
    order = np.linalg.svd(projected @ projected.T)[2]
    scores = scores @ np.c_[np.array(axes).T, rest @ order.T]
    directions = (scores.T @ centred / count).reshape(BETAS, -1, 3).transpose(1, 2, 0)
    shift = PELVIS_AT - mean_joints[JOINT_NAMES.index("pelvis")]
    return ShapeSpace(
        vertices=mean + shift,
        directions=directions.astype(np.float64),
        joints=mean_joints + shift,
        joint_directions=np.einsum("sk,sja->jak", scores, joints - mean_joints) / count,
        explained=np.cumsum(values) / (centred**2).sum(),
        correlations={
            name: [round(float(np.corrcoef(scores[:, beta], value)[0, 1]), 2) for beta in range(BETAS)]
            for name, value in properties.items()
        },
    )
