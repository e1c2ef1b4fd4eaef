"""Cutting a body's surface along the seams of its suit, so that colours meet in clean lines and not across whole triangles.

Every seam is cut twice, a millimetre or two before and behind it; colours change between the two cuts. All views draw the
colours of vertices, so that a seam in the mesh itself is sharp in each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import AnyFloatArray, AnyIntArray, DoubleArray, FloatArray, Int32Array

_SNAP: Final = 0.02  # of an edge: where a cut would come nearer to its end, it goes through that end's vertex


@dataclass(frozen=True, slots=True, eq=False)
class Seams:
    """Vertices that were put on a mesh, each inside or at the border of one of its triangles."""

    faces: Int32Array
    """(F', 3) the triangles of the whole mesh with these vertices, which are numbered from V on; wound as they were."""
    corners: Int32Array
    """(E, 3) vertices of the triangle that each lies on."""
    weights: FloatArray
    """(E, 3) Barycentric coordinates in it."""

    def extend(self, values: AnyFloatArray) -> FloatArray:
        """(V + E, ...) float32: ``values`` (V, ...) of the mesh's vertices, then those at the new ones, interpolated."""
        flat = np.asarray(values, np.float32).reshape(len(values), -1)
        added = sum(flat[self.corners[:, k]] * self.weights[:, k, None] for k in range(3))
        return np.concatenate([flat, added]).reshape(-1, *values.shape[1:])


def cut_seams(faces: AnyIntArray, distances: Sequence[DoubleArray], width: float) -> Seams:
    """Cut the mesh of ``faces`` (F, 3) twice along each seam: where ``distances``, for each seam (V,) metres with a sign for
    the side, are plus and where they are minus half of ``width`` metres."""
    count = len(distances[0])
    points = _Points(count)
    for distance in distances:
        for level in (-width / 2, width / 2):
            faces = _cut(np.asarray(faces, np.int64), points.values(distance) - level, points)
    return Seams(np.ascontiguousarray(faces, np.int32), points.corners, points.weights)


class _Points:
    """The vertices that have been added so far."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.corners: Int32Array = np.empty((0, 3), np.int32)
        self.weights: FloatArray = np.empty((0, 3), np.float32)

    def values(self, values: DoubleArray) -> DoubleArray:
        """(V + E,) ``values`` (V,), continued to the added vertices."""
        return np.concatenate([values, (values[self.corners] * self.weights).sum(1)])

    def add(self, ends: AnyIntArray, part: DoubleArray) -> Int32Array:
        """Numbers (N,) of new vertices at ``part`` (N,) of the way between ``ends`` (N, 2)."""
        first = self._count + len(self.corners)
        rows = [self._row(one, other, share) for (one, other), share in zip(ends.tolist(), part.tolist(), strict=True)]
        if rows:
            corners, weights = zip(*rows, strict=True)
            self.corners = np.concatenate([self.corners, np.array(corners, np.int32)])
            self.weights = np.concatenate([self.weights, np.array(weights, np.float32)])
        return np.arange(first, first + len(rows), dtype=np.int32)

    def _row(self, one: int, other: int, part: float) -> tuple[list[int], list[float]]:
        mixed: dict[int, float] = {}
        for vertex, share in ((one, 1 - part), (other, part)):
            if vertex < self._count:
                mixed[vertex] = mixed.get(vertex, 0.0) + share
                continue
            row = vertex - self._count
            for corner, weight in zip(self.corners[row].tolist(), self.weights[row].tolist(), strict=True):
                if weight:
                    mixed[corner] = mixed.get(corner, 0.0) + share * weight
        corners, weights = list(mixed), list(mixed.values())
        missing = 3 - len(corners)
        return corners + corners[:1] * missing, weights + [0.0] * missing


def _cut(faces: AnyIntArray, values: DoubleArray, points: _Points) -> AnyIntArray:
    """``faces`` with those cut along which ``values`` (V + E,) change their sign; adds to ``points``."""
    values = values.copy()
    _snap(faces, values)
    sides = np.sign(values).astype(np.int8)
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    crossed = np.unique(np.sort(ends[sides[ends[:, 0]] * sides[ends[:, 1]] < 0], 1), axis=0)
    if not len(crossed):
        return faces
    one, other = values[crossed[:, 0]], values[crossed[:, 1]]
    numbers = points.add(crossed, one / (one - other))
    at: dict[tuple[int, int], int] = {
        (first, last): number for (first, last), number in zip(crossed.tolist(), numbers.tolist(), strict=True)
    }

    def between(first: int, last: int) -> int:
        return at[min(first, last), max(first, last)]

    is_cut = (sides[faces].min(1) < 0) & (sides[faces].max(1) > 0)
    pieces: list[tuple[int, int, int]] = []
    for face in faces[is_cut].tolist():
        own = [int(sides[vertex]) for vertex in face]
        if 0 in own:  # through a vertex: two triangles
            a, b, c = np.roll(face, -own.index(0)).tolist()
            middle = between(b, c)
            pieces += [(a, b, middle), (a, middle, c)]
            continue
        a, b, c = np.roll(face, -next(k for k in range(3) if own.count(own[k]) == 1)).tolist()  # a is alone on its side
        before, after = between(a, b), between(c, a)
        pieces += [(a, before, after), (before, b, c), (before, c, after)]
    return np.concatenate([faces[~is_cut], np.array(pieces, np.int64)])


def _snap(faces: AnyIntArray, values: DoubleArray) -> None:
    """Set to 0, in place, the ``values`` of vertices that a cut would pass so closely that slivers would be left."""
    for first, last in ((0, 1), (1, 2), (2, 0)):
        for one, other in ((faces[:, first], faces[:, last]), (faces[:, last], faces[:, first])):
            near, far = values[one], values[other]
            close = (near * far < 0) & (np.abs(near) < _SNAP * np.abs(near - far))
            values[one[close]] = 0.0
