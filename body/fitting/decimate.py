"""Decimation of the left half by half-edge collapses (quadric error metric, Garland & Heckbert 1997).

A collapse moves a vertex onto a neighbour, so the vertices left are a subset of the old ones and every attribute
carries over by indexing. Vertices of the seam (x = 0) slide only along it, so the mirrored whole stays closed.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

import numpy as np

from body.fitting.geometry import face_normals, unit
from common.arrays import BoolArray, DoubleArray, Int64Array

LENGTH_WEIGHT: Final = 2e-3
SEAM_WEIGHT: Final = 2.0
MIN_COSINE: Final = 0.3
"""A face may not turn further than this (cosine) in one collapse."""
MIN_ROUNDNESS: Final = 0.06
"""Twice the area over the longest edge squared; below it a face is a sliver."""


class Decimator:
    """Collapses edges until few enough faces are left; can then be run on to a smaller number."""

    def __init__(
        self,
        positions: DoubleArray,
        faces: Int64Array,
        seam: BoolArray,
        locked: BoolArray,
        importance: DoubleArray,
    ) -> None:
        """Compute the error quadrics and queue all collapses.

        Args:
            positions: (V, 3) metres.
            faces: (F, 3).
            seam: (V,) vertices in the plane x = 0.
            locked: (V,) vertices that are never moved.
            importance: (V,) weight of each vertex' error.
        """
        self._positions, self._seam, self._locked, self._importance = positions, seam, locked, importance
        self._faces: dict[int, tuple[int, ...]] = dict(enumerate(map(tuple, faces.tolist())))
        self._around: list[set[int]] = [set() for _ in positions]
        for index, face in self._faces.items():
            for vertex in face:
                self._around[vertex].add(index)
        self._quadrics = self._initial_quadrics(faces)
        self._alive = np.ones(len(positions), bool)
        self._version = [0] * len(positions)
        self._heap: list[tuple[float, int, int, int, int]] = []
        for vertex in range(len(positions)):
            self._push(vertex)

    def run(self, target: int) -> Int64Array:
        """Faces (F, 3), at most ``target`` of them unless no further collapse is allowed."""
        while len(self._faces) > target and self._heap:
            _, version, other_version, vertex, onto = heapq.heappop(self._heap)
            stale = version != self._version[vertex] or other_version != self._version[onto]
            if stale or not (self._alive[vertex] and self._alive[onto]) or onto not in self._neighbours(vertex):
                continue
            shared = self._around[vertex] & self._around[onto]
            if len(self._faces) - len(shared) >= target and self._allowed(vertex, onto, shared):
                self._collapse(vertex, onto, shared)
        return np.array(list(self._faces.values()))

    def _initial_quadrics(self, faces: Int64Array) -> DoubleArray:
        quadrics = np.zeros((len(self._positions), 4, 4))
        normals = face_normals(self._positions, faces)
        area = np.linalg.norm(normals, axis=1)
        normals = normals / area[:, None]
        planes = np.c_[normals, -(normals * self._positions[faces[:, 0]]).sum(1)]
        for plane, size, face in zip(planes, area, faces, strict=True):
            for vertex in face:
                quadrics[vertex] += np.outer(plane, plane) * size * self._importance[vertex]
        for first, second in self._seam_edges():  # a plane upright on the seam keeps the profile
            edge = self._positions[second] - self._positions[first]
            normal = np.cross(unit(edge), [1.0, 0, 0])
            plane = np.r_[normal, -normal @ self._positions[first]]
            for vertex in (first, second):
                quadrics[vertex] += SEAM_WEIGHT * np.outer(plane, plane) * (edge @ edge)
        return quadrics

    def _seam_edges(self) -> Iterator[tuple[int, int]]:
        for face in self._faces.values():
            for first, second in zip(face, (*face[1:], face[0]), strict=True):
                if self._on_seam(first, second):
                    yield first, second

    def _on_seam(self, first: int, second: int) -> bool:
        both = bool(self._seam[first] and self._seam[second])
        return both and len(self._around[first] & self._around[second]) == 1

    def _neighbours(self, vertex: int) -> set[int]:
        return {corner for face in self._around[vertex] for corner in self._faces[face]} - {vertex}

    def _push(self, vertex: int) -> None:
        if self._locked[vertex]:
            return
        start = self._positions[vertex]
        for onto in self._neighbours(vertex):
            if self._seam[vertex] and not self._on_seam(vertex, onto):
                continue
            end = self._positions[onto]
            point = np.array([end[0], end[1], end[2], 1.0])
            length = float(np.sum((start - end) ** 2))
            cost = float(point @ (self._quadrics[vertex] + self._quadrics[onto]) @ point)
            cost += LENGTH_WEIGHT * length * length * (self._importance[vertex] + self._importance[onto])
            heapq.heappush(self._heap, (cost, self._version[vertex], self._version[onto], vertex, onto))

    def _allowed(self, vertex: int, onto: int, shared: set[int]) -> bool:
        if len(self._neighbours(vertex) & self._neighbours(onto)) != len(shared):
            return False  # would pinch the surface
        if self._seam[vertex] and len(self._around[onto]) <= 1:
            return False
        for index in self._around[vertex] - shared:
            face = self._faces[index]
            old = self._positions[list(face)]
            new = self._positions[[onto if corner == vertex else corner for corner in face]]
            before, after = np.cross(old[1] - old[0], old[2] - old[0]), np.cross(new[1] - new[0], new[2] - new[0])
            size = float(np.linalg.norm(after))
            longest = float(((new - np.roll(new, -1, axis=0)) ** 2).sum(1).max())
            if before @ after < MIN_COSINE * np.linalg.norm(before) * size or size < MIN_ROUNDNESS * longest:
                return False
        return True

    def _collapse(self, vertex: int, onto: int, shared: set[int]) -> None:
        for index in shared:
            for corner in self._faces.pop(index):
                self._around[corner].discard(index)
        for index in self._around[vertex]:
            self._faces[index] = tuple(onto if corner == vertex else corner for corner in self._faces[index])
            self._around[onto].add(index)
        self._around[vertex] = set()
        self._alive[vertex] = False
        self._quadrics[onto] += self._quadrics[vertex]
        ring = self._neighbours(onto) | {onto}
        for touched in ring:
            self._version[touched] += 1
        for touched in ring:
            self._push(touched)
