"""Mesh geometry shared by several steps of the build."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike

from body.joints import PARENTS
from body.rotations import axis_angle_to_matrix
from common.arrays import DoubleArray, Int64Array


def unit(vectors: ArrayLike) -> DoubleArray:
    """``vectors`` (..., 3) normalised to length 1."""
    array = np.asarray(vectors, np.float64)
    scaled: DoubleArray = array / np.linalg.norm(array, axis=-1, keepdims=True)
    return scaled


def rotation_about(axis: ArrayLike, angle: float) -> DoubleArray:
    """Rotation (3, 3) about ``axis`` (3,) by ``angle`` radians."""
    return np.asarray(axis_angle_to_matrix(unit(axis) * angle), np.float64)


def shortest_rotation(start: ArrayLike, end: ArrayLike) -> DoubleArray:
    """Shortest rotation (3, 3) from the direction ``start`` to ``end``."""
    first, second = unit(start), unit(end)
    axis = np.cross(first, second)
    sine = float(np.linalg.norm(axis))
    return np.eye(3) if sine < 1e-9 else rotation_about(axis, float(np.arctan2(sine, first @ second)))


def face_normals(vertices: DoubleArray, faces: Int64Array) -> DoubleArray:
    """Normals (F, 3) whose length is twice the face's area."""
    corner = vertices[faces[:, 0]]
    return np.cross(vertices[faces[:, 1]] - corner, vertices[faces[:, 2]] - corner)


def edges(faces: Int64Array) -> Int64Array:
    """(3 F, 2) directed edges."""
    return np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def euler_characteristic(count: int, faces: Int64Array) -> int:
    """V - E + F; 2 for a closed surface without handles."""
    return count - len(np.unique(np.sort(edges(faces), axis=1), axis=0)) + len(faces)


class DeltaMush:
    """Delta mush (Mancewicz et al. 2014): smooth a posed mesh, then restore the rest pose's detail in local frames."""

    def __init__(self, faces: Int64Array, count: int, iterations: int, strength: float = 0.6) -> None:
        """Prepare ``iterations`` of smoothing for a mesh of ``count`` vertices and ``faces`` (F, 3)."""
        both = np.concatenate([edges(faces), edges(faces)[:, ::-1]])
        linked = (sp.coo_matrix((np.ones(len(both)), both.T), shape=(count, count)).tocsr() > 0).astype(np.float64)
        mean = sp.diags(1 / np.asarray(linked.sum(1)).ravel()) @ linked
        self.step = (sp.diags(np.full(count, 1 - strength)) + strength * mean).tocsr()
        """(V, V) one step of smoothing."""
        corners = (faces.ravel(), np.repeat(np.arange(len(faces)), 3))
        self._around = sp.coo_matrix((np.ones(3 * len(faces)), corners), shape=(count, len(faces))).tocsr()
        self._neighbour = linked.indices[linked.indptr[:-1]]  # any fixed one gives each vertex a tangent
        self._faces, self._iterations = faces, iterations
        self._detail: DoubleArray = np.zeros((count, 3))

    def bind(self, rest: DoubleArray) -> DeltaMush:
        """Take the detail of the mesh ``rest`` (V, 3); returns itself."""
        smooth = self._smooth(rest)
        self._detail = np.einsum("nji,nj->ni", self._frames(smooth), rest - smooth)
        return self

    def apply(self, posed: DoubleArray) -> DoubleArray:
        """``posed`` (V, 3) without skinning artefacts."""
        smooth = self._smooth(posed)
        mushed: DoubleArray = smooth + np.einsum("nij,nj->ni", self._frames(smooth), self._detail)
        return mushed

    def _smooth(self, vertices: DoubleArray) -> DoubleArray:
        for _ in range(self._iterations):
            vertices = self.step @ vertices
        return vertices

    def _frames(self, vertices: DoubleArray) -> DoubleArray:
        normal = unit(self._around @ face_normals(vertices, self._faces))
        tangent = vertices[self._neighbour] - vertices
        tangent = unit(tangent - (tangent * normal).sum(1, keepdims=True) * normal)
        return np.stack([tangent, np.cross(normal, tangent), normal], -1)


def forward_kinematics(joints: DoubleArray, rotations: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Global rotations (24, 3, 3) and joints (24, 3) of rest ``joints`` (24, 3) under local ``rotations``."""
    turned, placed = rotations.copy(), joints.copy()
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            turned[joint] = turned[parent] @ rotations[joint]
            placed[joint] = turned[parent] @ (joints[joint] - joints[parent]) + placed[parent]
    return turned, placed


def blend_skin(
    vertices: DoubleArray, joints: DoubleArray, weights: DoubleArray, rotations: DoubleArray
) -> tuple[DoubleArray, DoubleArray]:
    """Plain linear blend skinning of rest ``vertices`` (V, 3): posed (V, 3), and the blended (V, 3, 3)."""
    turned, placed = forward_kinematics(joints, rotations)
    shift = placed - np.einsum("jab,jb->ja", turned, joints)
    blended = (weights @ turned.reshape(24, 9)).reshape(-1, 3, 3)
    return np.einsum("vab,vb->va", blended, vertices) + weights @ shift, blended
