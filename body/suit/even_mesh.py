"""Triangles of about one size on the trunk, for a wire frame: where a body's mesh is dense, on the chest and at the navel, its
lines alone would draw what a suit covers."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from typing import Final

import numpy as np

from body.joints import JOINT_NAMES
from body.model import BodyArrays
from body.suit.parts import SuitPart, suit_shares
from common.arrays import AnyIntArray, FloatArray, Int32Array

_SHORTEST: Final = 0.6
"""Edges that are shorter than this part of the trunk's median edge are collapsed."""
_LEAST_COSINE: Final = 0.2  # no triangle turns further than this while an edge is collapsed
_LIMBS: Final = ("shoulder", "elbow", "wrist", "hand", "neck", "head", "knee")

Point = tuple[float, float, float]
Triangle = tuple[int, int, int]


def even_trunk(body: BodyArrays, drawn: FloatArray) -> Int32Array:
    """(F', 3) the faces of ``body`` with fewer on the trunk where it has many small ones; closed if the body is.

    They name the same vertices, of which some are left out. ``drawn`` (V, 3) metres is the rest surface that is looked at.
    """
    shares = suit_shares(body)
    limbs = [i for i, name in enumerate(JOINT_NAMES) if name.endswith(_LIMBS)]
    trunk = (shares[:, SuitPart.SHIRT] + shares[:, SuitPart.TROUSERS] > 0.5) & (body.weights[:, limbs].sum(1) < 0.3)
    trunk[-1] = False  # the largest number stays in use: others tell the count of vertices from it
    faces = np.asarray(body.faces, np.int64)
    ends = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    ends = np.unique(ends[trunk[ends].all(1)], axis=0)
    if not len(ends):
        return np.array(faces, np.int32)
    lengths = np.linalg.norm(drawn[ends[:, 0]] - drawn[ends[:, 1]], axis=1)
    shortest = _SHORTEST * float(np.median(lengths))
    mesh = _Mesh(drawn, faces)
    edges = [(float(length), int(one), int(other)) for length, (one, other) in zip(lengths, ends, strict=True)]
    heapq.heapify(edges := [edge for edge in edges if edge[0] < shortest])
    while edges:
        _, one, other = heapq.heappop(edges)
        kept = mesh.collapse(one, other)
        if kept is None:
            continue
        for near in mesh.neighbours(kept):
            if trunk[near] and (length := math.dist(mesh.points[kept], mesh.points[near])) < shortest:
                heapq.heappush(edges, (length, min(kept, near), max(kept, near)))
    return mesh.faces()


class _Mesh:
    """Triangles that can lose edges."""

    def __init__(self, points: FloatArray, faces: AnyIntArray) -> None:
        self.points: list[Point] = [(x, y, z) for x, y, z in points.tolist()]
        self._triangles: dict[int, Triangle] = {i: (a, b, c) for i, (a, b, c) in enumerate(faces.tolist())}
        self._around: list[set[int]] = [set() for _ in self.points]
        for number, triangle in self._triangles.items():
            for vertex in triangle:
                self._around[vertex].add(number)

    def faces(self) -> Int32Array:
        """(F, 3) those that are left, in their order."""
        return np.array(list(self._triangles.values()), np.int32)

    def neighbours(self, vertex: int) -> set[int]:
        """Vertices that share an edge with it."""
        return {other for number in self._around[vertex] for other in self._triangles[number]} - {vertex}

    def collapse(self, one: int, other: int) -> int | None:
        """Move one end of an edge onto the other, which is returned; None if there is no such edge, or if the surface would
        fold or grow together."""
        if other not in self.neighbours(one) or len(self.neighbours(one) & self.neighbours(other)) != 2:
            return None
        for gone, kept in ((one, other), (other, one)):
            lost = self._around[gone] & self._around[kept]
            moved = {number: self._moved(number, gone, kept) for number in self._around[gone] - lost}
            if all(self._faces_alike(self._triangles[number], after) for number, after in moved.items()):
                self._replace(gone, kept, lost, moved)
                return kept
        return None

    def _moved(self, number: int, gone: int, kept: int) -> Triangle:
        a, b, c = (kept if vertex == gone else vertex for vertex in self._triangles[number])
        return a, b, c

    def _replace(self, gone: int, kept: int, lost: Iterable[int], moved: dict[int, Triangle]) -> None:
        for number in lost:
            for vertex in self._triangles.pop(number):
                self._around[vertex].discard(number)
        self._triangles.update(moved)
        self._around[kept].update(moved)
        self._around[gone].clear()

    def _faces_alike(self, before: Triangle, after: Triangle) -> bool:
        old, new = self._normal(before), self._normal(after)
        return sum(map(float.__mul__, old, new)) > _LEAST_COSINE * math.hypot(*old) * math.hypot(*new)

    def _normal(self, triangle: Triangle) -> Point:
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = (self.points[vertex] for vertex in triangle)
        ux, uy, uz, vx, vy, vz = bx - ax, by - ay, bz - az, cx - ax, cy - ay, cz - az
        return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
