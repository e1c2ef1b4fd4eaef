"""Small pieces of mesh geometry that several steps of the build share."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from body.joints import PARENTS
from body.rotations import axis_angle_to_matrix

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def unit(vectors: ArrayLike) -> Floats:
    """(..., 3) vectors at length 1."""
    array = np.asarray(vectors, np.float64)
    scaled: Floats = array / np.linalg.norm(array, axis=-1, keepdims=True)
    return scaled


def turn(axis: ArrayLike, angle: float) -> Floats:
    """(3, 3) rotation about ``axis`` (3,) by ``angle`` radians."""
    return np.asarray(axis_angle_to_matrix(unit(axis) * angle), np.float64)


def align(start: ArrayLike, end: ArrayLike) -> Floats:
    """(3, 3) shortest rotation that takes the direction ``start`` to ``end``."""
    first, second = unit(start), unit(end)
    axis = np.cross(first, second)
    sine = float(np.linalg.norm(axis))
    return np.eye(3) if sine < 1e-9 else turn(axis, float(np.arctan2(sine, first @ second)))


def face_normals(vertices: Floats, faces: Integers) -> Floats:
    """(F, 3) normals, of a length twice the face's area."""
    corner = vertices[faces[:, 0]]
    return np.cross(vertices[faces[:, 1]] - corner, vertices[faces[:, 2]] - corner)


def edges(faces: Integers) -> Integers:
    """(3 F, 2) directed edges."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def euler_characteristic(count: int, faces: Integers) -> int:
    """V - E + F; 2 for a closed surface without handles."""
    return count - len(np.unique(np.sort(edges(faces), axis=1), axis=0)) + len(faces)


class DeltaMush:
    """Delta mush (Mancewicz et al. 2014): smooth a posed mesh, then put the rest pose's detail back in local frames."""

    def __init__(self, faces: Integers, count: int, iterations: int, strength: float = 0.6) -> None:
        both = np.concatenate([edges(faces), edges(faces)[:, ::-1]])
        linked = (sp.coo_matrix((np.ones(len(both)), both.T), shape=(count, count)).tocsr() > 0).astype(np.float64)
        mean = sp.diags(1 / np.asarray(linked.sum(1)).ravel()) @ linked
        self.step = (sp.diags(np.full(count, 1 - strength)) + strength * mean).tocsr()
        """(V, V) one step of smoothing."""
        corners = (faces.ravel(), np.repeat(np.arange(len(faces)), 3))
        self._around = sp.coo_matrix((np.ones(3 * len(faces)), corners), shape=(count, len(faces))).tocsr()
        self._neighbour = linked.indices[linked.indptr[:-1]]  # any fixed one gives each vertex a tangent
        self._faces, self._iterations = faces, iterations
        self._detail: Floats = np.zeros((count, 3))

    def bind(self, rest: Floats) -> DeltaMush:
        """Take the detail of the mesh ``rest`` (V, 3)."""
        smooth = self._smooth(rest)
        self._detail = np.einsum("nji,nj->ni", self._frames(smooth), rest - smooth)
        return self

    def apply(self, posed: Floats) -> Floats:
        """(V, 3) ``posed`` without its artefacts."""
        smooth = self._smooth(posed)
        mushed: Floats = smooth + np.einsum("nij,nj->ni", self._frames(smooth), self._detail)
        return mushed

    def _smooth(self, vertices: Floats) -> Floats:
        for _ in range(self._iterations):
            vertices = self.step @ vertices
        return vertices

    def _frames(self, vertices: Floats) -> Floats:
        normal = unit(self._around @ face_normals(vertices, self._faces))
        tangent = vertices[self._neighbour] - vertices
        tangent = unit(tangent - (tangent * normal).sum(1, keepdims=True) * normal)
        return np.stack([tangent, np.cross(normal, tangent), normal], -1)


def skeleton(joints: Floats, rotations: Floats) -> tuple[Floats, Floats]:
    """Global rotations (24, 3, 3) and joints (24, 3) of rest ``joints`` (24, 3) under local ``rotations``."""
    turned, placed = rotations.copy(), joints.copy()
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            turned[joint] = turned[parent] @ rotations[joint]
            placed[joint] = turned[parent] @ (joints[joint] - joints[parent]) + placed[parent]
    return turned, placed


def blend_skin(vertices: Floats, joints: Floats, weights: Floats, rotations: Floats) -> tuple[Floats, Floats]:
    """Plain linear blend skinning of rest ``vertices`` (V, 3): posed (V, 3), and the blended (V, 3, 3)."""
    turned, placed = skeleton(joints, rotations)
    shift = placed - np.einsum("jab,jb->ja", turned, joints)
    blended = (weights @ turned.reshape(24, 9)).reshape(-1, 3, 3)
    return np.einsum("vab,vb->va", blended, vertices) + weights @ shift, blended
