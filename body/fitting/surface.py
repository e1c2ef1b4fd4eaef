"""The closed outer skin: the left half (x >= 0) of MakeHuman's body, cavities capped, and its mirror image.

Left and right are made equal by construction: everything is computed on the left half and copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.sparse as sp

from body.fitting.geometry import edges
from body.fitting.source import BaseMesh
from common.arrays import BoolArray, DoubleArray, Int64Array

NIPPLES: Final = np.r_[1778:1794, 8450:8466]
"""Vertices of the base mesh whose fine loops are replaced by one cap."""
EYES_ABOVE: Final = 0.7
"""Metres over the base mesh's origin: holes of the left half above this that do not touch the middle are eyes."""


@dataclass(frozen=True)
class SkinSurface:
    """The full skin, whose first ``half`` vertices are the left half with the seam."""

    matrix: sp.csr_matrix
    """(V, N): vertices of the skin = matrix @ vertices of the base mesh."""
    half_faces: Int64Array
    """Triangles of the left half."""
    faces: Int64Array
    """Triangles of the whole."""
    seam: BoolArray
    """(half,) True in the plane x = 0."""
    right: Int64Array
    """(half,) each left vertex's counterpart; itself on the seam."""
    eye: int
    """Vertex at the left eye's front."""

    @property
    def half(self) -> int:
        """Number of vertices of the left half, seam included."""
        return len(self.seam)

    @property
    def mirror(self) -> Int64Array:
        """(V,) each vertex's counterpart."""
        return np.concatenate([self.right, np.flatnonzero(~self.seam)])


def mirror_faces(faces: Int64Array, seam: BoolArray) -> tuple[Int64Array, Int64Array]:
    """The whole mesh's faces from the left half's, and the counterpart (half,) of each left vertex.

    Right vertices follow the left ones in the same order.
    """
    right = np.arange(len(seam))
    free = np.flatnonzero(~seam)
    right[free] = len(seam) + np.arange(len(free))
    return np.concatenate([faces, right[faces][:, ::-1]]), right


def outer_skin(base: BaseMesh, cavities: Int64Array, shape: DoubleArray) -> SkinSurface:
    """Cut off the cavities and close the holes. ``shape`` (N, 3), an average adult, decides the diagonals of quads."""
    keep = np.ones(len(base.body), bool)
    keep[cavities] = False
    keep &= ~np.isin(base.body, NIPPLES).any(1)
    faces = _triangles(base.body[keep & (shape[base.body, 0].mean(1) > 0)], shape)
    faces, centres, eye = _close(base, faces, shape)
    count = len(shape)
    used, compact = np.unique(faces, return_inverse=True)
    matrix = sp.lil_matrix((len(used), count))
    for row, vertex in enumerate(used):
        around = centres[vertex - count] if vertex >= count else np.array([vertex])
        matrix[row, around] = 1 / len(around)
    left = matrix.tocsr()
    half_faces = compact.reshape(-1, 3)
    seam = np.abs((left @ shape)[:, 0]) < 1e-4
    whole, right = mirror_faces(half_faces, seam)
    swap = sp.coo_matrix((np.ones(count), (np.arange(count), base.mirror)), shape=(count, count)).tocsr()
    both = sp.vstack([left, (left @ swap)[np.flatnonzero(~seam)]]).tocsr()
    return SkinSurface(both, half_faces, whole, seam, right, int(np.searchsorted(used, eye)))


def _triangles(quads: Int64Array, shape: DoubleArray) -> Int64Array:
    """Split each quad along its shorter diagonal."""
    first = np.linalg.norm(shape[quads[:, 0]] - shape[quads[:, 2]], axis=1)
    second = np.linalg.norm(shape[quads[:, 1]] - shape[quads[:, 3]], axis=1)
    one, other = quads[:, [[0, 1, 2], [0, 2, 3]]], quads[:, [[0, 1, 3], [1, 2, 3]]]
    return np.where((first <= second)[:, None, None], one, other).reshape(-1, 3)


def _close(base: BaseMesh, faces: Int64Array, shape: DoubleArray) -> tuple[Int64Array, list[Int64Array], int]:
    """Close every hole with a fan to one new vertex.

    Returns all faces, the base vertices whose mean is each new vertex (numbered from N on), and the number of the left
    eye's.
    """
    count = len(shape)
    middle = base.mirror == np.arange(count)
    directed = {(int(a), int(b)) for a, b in edges(faces)}
    loose = [(int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True)]
    rim = np.array([(a, b) for a, b in loose if (b, a) not in directed and not (middle[a] and middle[b])])
    links = sp.coo_matrix((np.ones(len(rim)), rim.T), shape=(count, count))
    _, label = sp.csgraph.connected_components(links, directed=False)
    eyeball = np.unique(base.groups["helper-l-eye"])
    centres: list[Int64Array] = []
    eye = -1
    for hole in np.unique(label[rim]):
        loop = rim[label[rim[:, 0]] == hole]
        corners = np.unique(loop)
        new = count + len(centres)
        crosses = bool(middle[corners].any())
        if not crosses and shape[corners].mean(0)[1] > EYES_ABOVE:
            centres.append(eyeball[[shape[eyeball, 2].argmax()]])
            eye = new
        else:
            centres.append(np.unique(np.r_[corners, base.mirror[corners]]) if crosses else corners)
        faces = np.concatenate([faces, np.array([[b, a, new] for a, b in loop])])
    return faces, centres, eye
