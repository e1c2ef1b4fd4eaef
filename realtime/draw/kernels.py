"""The compiled inner loops of drawing: move, project, light, fill, blend. One thread each, GIL released, float32.

Signatures are explicit: everything is compiled once, when this module is first imported (seconds; afterwards the machine
code comes from numba's cache on disk), and never again for another kind of array. Import it late, as ``raster`` does,
so that programs that draw nothing need not wait for it.

Frames of reference: vertices in the camera frame (x right, y down, z forward, metres); images in pixels, centres at
whole numbers. Depth is kept as 1/z (1/metre): it is linear over the image, and 0 means nothing there.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import types
from numpy.typing import NDArray

from common.arrays import FloatArray, Int32Array
from common.compiled import njit

Bytes = NDArray[np.uint8]

_F: Final = types.float32
_I: Final = types.int64
# Records may be frozen: arrays that are only read must be accepted when they are not writeable.
_READ: Final = types.Array(types.float32, 2, "C", readonly=True)
_EDGES: Final = types.Array(types.uint8, 2, "C", readonly=True)
_FACES: Final = types.Array(types.int32, 2, "C", readonly=True)
_ROW: Final = types.Array(types.float32, 1, "C", readonly=True)
_FLOATS: Final = types.float32[:, ::1]
_LAYER: Final = types.uint8[:, :, ::1]
_INK: Final = types.uint8[:, ::1]
_BOX: Final = types.float32[::1]
_IMAGE: Final = types.uint8[:, :, :]  # any strides: half of a wider image can be painted in place

# Infinities and NaN are allowed to occur (a body that is not finite must not crash): only these optimisations are safe.
_SAFE: Final = {"contract", "nsz", "arcp", "reassoc"}
_OPTIONS: Final[dict[str, Any]] = {"cache": True, "nogil": True, "fastmath": _SAFE, "error_model": "numpy"}

# The unit vector towards the light, in the camera frame: over the viewer's left shoulder.
_KEY_X: Final = np.float32(-0.4243)
_KEY_Y: Final = np.float32(-0.6633)
_KEY_Z: Final = np.float32(-0.6164)
_ZERO: Final = np.float32(0)
_HALF: Final = np.float32(0.5)
_THINNEST: Final = np.float32(2e-4)  # pixels
_ONE: Final = np.float32(1)
_EDGE: Final = np.float32(-1e-5)  # barycentric slack, so that no pixel falls between two triangles
_FAR: Final = np.float32(1e9)  # pixels: more than any image has
_SEEN_THROUGH: Final = np.float32(0.62)  # part of the light behind a wire frame that comes through
_LINE: Final = np.float32(0.95)  # pixels from the middle of a line to its end: it is faded out over the last
_STEP: Final = np.float32(0.97)  # a neighbour under this part of the pixel's 1/z is behind it: draw an outline


@njit(types.void(_READ, _READ, _ROW, _FLOATS), **_OPTIONS)
def move(points: FloatArray, rotation: FloatArray, shift: FloatArray, moved: FloatArray) -> None:
    """Write ``rotation`` (3, 3) of each of ``points`` (N, 3), plus ``shift`` (3,), to ``moved`` (N, 3)."""
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        for row in range(3):
            moved[i, row] = rotation[row, 0] * x + rotation[row, 1] * y + rotation[row, 2] * z + shift[row]


@njit(types.void(_READ, _F, _F, _F, _F, _F, _FLOATS, _BOX), **_OPTIONS)
def project(
    vertices: FloatArray, fx: float, fy: float, cx: float, cy: float, near: float, points: FloatArray, box: FloatArray
) -> None:
    """Project ``vertices`` (V, 3) into ``points`` (V, 3): x, y in pixels and 1/z; 1/z is 0 for z <= ``near``.

    ``box`` (4,) gets left, top, right, bottom of what can be seen, in pixels, not cut to any image: infinite where the
    mesh crosses the near plane, left > right where all of it is behind.
    """
    left, top = np.float32(np.inf), np.float32(np.inf)
    right, bottom = np.float32(-np.inf), np.float32(-np.inf)
    behind = 0
    for i in range(vertices.shape[0]):
        z = vertices[i, 2]
        if not z > near:
            points[i, 2] = _ZERO
            behind += 1
            continue
        inverse = _ONE / z
        x = fx * vertices[i, 0] * inverse + cx
        y = fy * vertices[i, 1] * inverse + cy
        points[i, 0], points[i, 1], points[i, 2] = x, y, inverse
        left, right = min(left, x), max(right, x)
        top, bottom = min(top, y), max(bottom, y)
    if behind > 0 and behind < vertices.shape[0]:
        left, top = np.float32(-np.inf), np.float32(-np.inf)
        right, bottom = np.float32(np.inf), np.float32(np.inf)
    box[0], box[1], box[2], box[3] = left, top, right, bottom


@njit(types.void(_READ, _FACES, _READ, _FLOATS, _FLOATS), **_OPTIONS)
def light(vertices: FloatArray, faces: Int32Array, colours: FloatArray, normals: FloatArray, lit: FloatArray) -> None:
    """Smooth ``normals`` (V, 3) of the mesh, and its lit colours ``lit`` (V, 3) for a surface of ``colours``, (V, 3) or one for
    all, (1, 3), 0..255.

    Matte: a soft key light, sky and ground, a headlight, and no highlights, which would make cloth look wet. Surfaces that
    are turned away from all lights keep half of their colour, so that nothing is black. Lighting is per vertex:
    the body's triangles are a few pixels large, so the eye sees no difference, and it costs ten times less than per pixel.
    """
    normals[:, :] = _ZERO
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for i in (a, b, c):
            normals[i, 0] += nx
            normals[i, 1] += ny
            normals[i, 2] += nz
    tiny = np.float32(1e-20)
    each = colours.shape[0] > 1
    for i in range(vertices.shape[0]):
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        scale = _ONE / np.sqrt(nx * nx + ny * ny + nz * nz + tiny)
        nx, ny, nz = nx * scale, ny * scale, nz * scale
        normals[i, 0], normals[i, 1], normals[i, 2] = nx, ny, nz
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        scale = -_ONE / np.sqrt(x * x + y * y + z * z + tiny)
        facing = min(max((nx * x + ny * y + nz * z) * scale, _ZERO), _ONE)  # towards the eye
        key = _HALF + _HALF * (nx * _KEY_X + ny * _KEY_Y + nz * _KEY_Z)
        key *= key  # wrapped Lambert: no hard terminator on the body
        sky = _HALF - _HALF * ny
        shade = np.float32(0.42) + np.float32(0.14) * sky + np.float32(0.46) * key + np.float32(0.10) * facing
        row = i if each else 0
        for channel in range(3):
            lit[i, channel] = min(colours[row, channel] * shade, np.float32(255))


@njit(inline="always", **_OPTIONS)
def _whole_face(  # type: ignore[no-untyped-def]
    f, faces, points, lit, cull, corners, colour
):
    """Put the triangle ``f`` into ``corners`` and ``colour``: 3, 0 if it is culled, -1 if a corner is not in front."""
    # Unsigned: none counts from the end.
    a, b, c = np.uint32(faces[f, 0]), np.uint32(faces[f, 1]), np.uint32(faces[f, 2])
    if not (points[a, 2] > _ZERO and points[b, 2] > _ZERO and points[c, 2] > _ZERO):
        return -1
    x0, y0 = points[a, 0], points[a, 1]
    x1, y1 = points[b, 0] - x0, points[b, 1] - y0
    x2, y2 = points[c, 0] - x0, points[c, 1] - y0
    if cull and x1 * y2 - x2 * y1 >= _ZERO:
        return 0
    for k in range(3):
        corners[0, k], corners[1, k], corners[2, k] = points[a, k], points[b, k], points[c, k]
        colour[0, k], colour[1, k], colour[2, k] = lit[a, k], lit[b, k], lit[c, k]
    return 3


@njit(inline="always", **_OPTIONS)
def _cut_face(  # type: ignore[no-untyped-def]
    f, vertices, faces, points, lit, fx, fy, cx, cy, near, corners, colour
):
    """Put what lies of the triangle ``f`` in front of the near plane into ``corners`` and ``colour``: none, 3 or 4 corners."""
    count = 0
    for corner in range(3):  # walk round the triangle
        i, j = faces[f, corner], faces[f, (corner + 1) % 3]
        front, next_front = points[i, 2] > _ZERO, points[j, 2] > _ZERO
        if front:
            for k in range(3):
                corners[count, k], colour[count, k] = points[i, k], lit[i, k]
            count += 1
        if front != next_front:
            part = (near - vertices[i, 2]) / (vertices[j, 2] - vertices[i, 2])
            corners[count, 0] = fx * (vertices[i, 0] + part * (vertices[j, 0] - vertices[i, 0])) / near + cx
            corners[count, 1] = fy * (vertices[i, 1] + part * (vertices[j, 1] - vertices[i, 1])) / near + cy
            corners[count, 2] = _ONE / near
            for k in range(3):
                colour[count, k] = lit[i, k] + part * (lit[j, k] - lit[i, k])
            count += 1
    return count


@njit(inline="always", **_OPTIONS)
def _covered(corners, k, cull, width, height):  # type: ignore[no-untyped-def]
    """Columns left..right and rows top..bottom of the pixels that the triangle of corners 0, ``k`` and ``k`` + 1 may cover, and
    twice its signed area, pixels². No pixel (left > right or top > bottom) where it is too thin or culled."""
    nothing = 0, -1, 0, -1, _ONE
    x0, y0 = corners[0, 0], corners[0, 1]
    x1, y1 = corners[k, 0], corners[k, 1]
    x2, y2 = corners[k + 1, 0], corners[k + 1, 1]
    low, high = max(min(x0, x1, x2), _ZERO), min(max(x0, x1, x2), np.float32(width - 1))
    first, last = max(min(y0, y1, y2), _ZERO), min(max(y0, y1, y2), np.float32(height - 1))
    if not (low <= high and first <= last):
        return nothing
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    # Thinner than the rounding of coordinates: its area, even its sign, is noise, and so would its depth be.
    spread = max(x0, x1, x2) - min(x0, x1, x2) + max(y0, y1, y2) - min(y0, y1, y2)
    if abs(area) <= _THINNEST * spread or (cull and area > _ZERO):
        return nothing
    return int(np.ceil(low)), int(high), int(np.ceil(first)), int(last), area


@njit(inline="always", **_OPTIONS)
def _find_reach(corners, k, area, drawn, reach):  # type: ignore[no-untyped-def]
    """Write each corner's distance from the edge opposite to it to ``reach`` (3,), pixels; infinite where the edge is not to be
    ``drawn`` (3,)."""
    x0, y0 = corners[0, 0], corners[0, 1]
    x1, y1 = corners[k, 0], corners[k, 1]
    x2, y2 = corners[k + 1, 0], corners[k + 1, 1]
    size = abs(area)
    reach[0] = size / np.sqrt((x2 - x1) * (x2 - x1) + (y2 - y1) * (y2 - y1))
    reach[1] = size / np.sqrt((x2 - x0) * (x2 - x0) + (y2 - y0) * (y2 - y0))
    reach[2] = size / np.sqrt((x1 - x0) * (x1 - x0) + (y1 - y0) * (y1 - y0))
    for corner in range(3):
        if drawn[corner] == 0:
            reach[corner] = np.float32(np.inf)


@njit(inline="always", **_OPTIONS)
def _pixels_per_weight(slope):  # type: ignore[no-untyped-def]
    """Pixels of a row for a unit of a corner's weight, which grows by ``slope`` a pixel. A weight that is the same all along a
    row begins nowhere, and ends far before or far behind it."""
    return _ONE / slope if slope != _ZERO else -_FAR


@njit(inline="always", **_OPTIONS)
def _narrowed(begin, end, slope, edge):  # type: ignore[no-untyped-def]
    """The part ``begin``..``end`` of a row on the inner side of an ``edge``, where a weight that grows by ``slope`` is 0."""
    return (max(begin, edge), end) if slope > _ZERO else (begin, min(end, edge))


@njit(types.float32(types.float32, types.float32), **_OPTIONS)
def _from(weight: float, reach: float) -> float:
    """Pixels between a point and an edge; slack may make the weight a little negative."""
    return (weight if weight > 1e-6 else 1e-6) * reach


@njit(inline="always", **_OPTIONS)
def _ink(w0, w1, w2, reach):  # type: ignore[no-untyped-def]
    """How much of a pixel a line covers, 0..255. Its distance from an edge is the weight of the opposite corner times that
    corner's ``reach``."""
    far = min(_from(w0, reach[0]), _from(w1, reach[1]), _from(w2, reach[2]))
    cover = min(max(_LINE - far, _ZERO), _ONE)
    return np.uint8(cover * np.float32(255) + _HALF)


@njit(inline="always", **_OPTIONS)
def _fill_triangle(  # type: ignore[no-untyped-def]
    corners, colour, k, left, right, top, bottom, area, wire, reach, depth, layer, ink
):
    """Draw the triangle of corners 0, ``k`` and ``k`` + 1 where it is nearest. The weights of its corners are linear over the
    image, so every row begins and ends where one of them is 0."""
    x0, y0, z0 = corners[0, 0], corners[0, 1], corners[0, 2]
    x1, y1, z1 = corners[k, 0], corners[k, 1], corners[k, 2]
    x2, y2, z2 = corners[k + 1, 0], corners[k + 1, 1], corners[k + 1, 2]
    scale = _ONE / area
    slope1, slope2 = (y2 - y0) * scale, (y0 - y1) * scale
    slope0 = -slope1 - slope2
    run0, run1, run2 = _pixels_per_weight(slope0), _pixels_per_weight(slope1), _pixels_per_weight(slope2)
    # In scalars: the compiler cannot know that writing the layer leaves the arrays alone. Lit colours are
    # 0..255, and the half that rounds them also covers the slack at the edges.
    blue, green, red = colour[0, 0] + _HALF, colour[0, 1] + _HALF, colour[0, 2] + _HALF
    blue1, green1, red1 = colour[k, 0] - colour[0, 0], colour[k, 1] - colour[0, 1], colour[k, 2] - colour[0, 2]
    next_k = k + 1
    blue2, green2 = colour[next_k, 0] - colour[0, 0], colour[next_k, 1] - colour[0, 1]
    red2 = colour[next_k, 2] - colour[0, 2]
    start = np.float32(left) - x0
    near1, near2 = z1 - z0, z2 - z0
    for row in range(top, bottom + 1):
        y = np.float32(row) - y0
        row1 = ((y2 - y0) * start - (x2 - x0) * y) * scale
        row2 = ((x1 - x0) * y - (y1 - y0) * start) * scale
        begin, end = _narrowed(_ZERO, np.float32(right - left), slope0, (_EDGE - _ONE + row1 + row2) * run0)
        begin, end = _narrowed(begin, end, slope1, (_EDGE - row1) * run1)
        begin, end = _narrowed(begin, end, slope2, (_EDGE - row2) * run2)
        if not begin <= end:
            continue
        for column in range(left + int(np.ceil(begin)), left + int(end) + 1):
            away = np.float32(column - left)
            w1 = row1 + away * slope1
            w2 = row2 + away * slope2
            inverse = z0 + w1 * near1 + w2 * near2
            if not inverse > depth[row, column]:
                continue
            depth[row, column] = inverse
            if wire:
                ink[row, column] = _ink(_ONE - w1 - w2, w1, w2, reach)
            layer[row, column, 0] = np.uint8(blue + w1 * blue1 + w2 * blue2)
            layer[row, column, 1] = np.uint8(green + w1 * green1 + w2 * green2)
            layer[row, column, 2] = np.uint8(red + w1 * red1 + w2 * red2)


_FILL: Final = (_READ, _FACES, _FLOATS, _FLOATS, _F, _F, _F, _F, _F, types.boolean, _EDGES, _FLOATS, _LAYER, _INK)


@njit(types.void(*_FILL), **_OPTIONS)
def fill(
    vertices: FloatArray,
    faces: Int32Array,
    points: FloatArray,
    lit: FloatArray,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    near: float,
    cull: bool,
    edges: Bytes,
    depth: FloatArray,
    layer: Bytes,
    ink: Bytes,
) -> None:
    """Draw a mesh into ``depth`` (H, W) 1/z and ``layer`` (H, W, 3) colour; what is nearer wins, over earlier calls too.

    ``points`` and ``lit`` come from ``project`` and ``light``. Triangles that cross the near plane are cut there.
    ``cull`` leaves out triangles seen from behind (clockwise in the image).

    With ``edges`` (F, 3), not (0, 3), the mesh is drawn as lines: ``ink`` (H, W) 0..255 says how much of a pixel a line covers.
    Only the edges opposite to the corners that are not 0 in ``edges`` are drawn.
    """
    wire = edges.shape[0] > 0
    reach = np.empty(3, np.float32)
    corners, colour = np.empty((4, 3), np.float32), np.empty((4, 3), np.float32)
    for f in range(faces.shape[0]):
        count = _whole_face(f, faces, points, lit, cull, corners, colour)
        if count < 0:
            count = _cut_face(f, vertices, faces, points, lit, fx, fy, cx, cy, near, corners, colour)
        for k in range(1, count - 1):
            left, right, top, bottom, area = _covered(corners, k, cull, depth.shape[1], depth.shape[0])
            if left > right or top > bottom:  # between the centres of pixels, too
                continue
            if wire:
                _find_reach(corners, k, area, edges[f], reach)
                if count != 3:  # the edges of a cut face are not those of the mesh
                    reach[:] = np.float32(np.inf)
            _fill_triangle(corners, colour, k, left, right, top, bottom, area, wire, reach, depth, layer, ink)


@njit(types.void(_IMAGE, _FLOATS, _LAYER, _INK, types.boolean, _I, _I, _I, _I, _F, _F), **_OPTIONS)
def blend(
    image: Bytes,
    depth: FloatArray,
    layer: Bytes,
    ink: Bytes,
    wire: bool,
    left: int,
    top: int,
    right: int,
    bottom: int,
    alpha: float,
    outline: float,
) -> None:
    """Lay ``layer`` over ``image`` (H, W, 3) inside columns left..right - 1 and rows top..bottom - 1, where depth > 0.

    Where some of the eight neighbours lie clearly behind (the background, or a body part further away) the pixel is
    darkened by up to ``outline`` (0..1), and let through to smooth the staircase of the edge. The frame of the image
    is not an edge of the body. Of a ``wire`` only what ``ink`` (H, W) covers is laid on, the rest dims what is behind it.
    """
    height, width = depth.shape
    for row in range(top, bottom):
        above, below = max(row - 1, 0), min(row + 1, height - 1)
        for column in range(left, right):
            here = depth[row, column]
            if here <= _ZERO:
                continue
            limit = here * _STEP
            before, after = max(column - 1, 0), min(column + 1, width - 1)
            opaque, dark = np.float32(alpha), _ONE
            flank = min(depth[row, before], depth[row, after])
            upper = min(depth[above, before], depth[above, column], depth[above, after])
            lower = min(depth[below, before], depth[below, column], depth[below, after])
            if min(flank, upper, lower) < limit:
                behind, empty = 0, 0
                for y in (above, row, below):
                    for x in (before, column, after):
                        behind += int(depth[y, x] < limit)
                        empty += int(depth[y, x] <= _ZERO)
                opaque = np.float32(alpha) * (_ONE - np.float32(empty) * np.float32(0.1))
                dark = _ONE - np.float32(outline) * min(np.float32(behind) * np.float32(0.34), _ONE)
            light_of = _ONE
            if wire:
                opaque *= np.float32(ink[row, column]) * np.float32(1 / 255)
                light_of = _SEEN_THROUGH
            for channel in range(3):
                under = np.float32(image[row, column, channel]) * light_of
                over = np.float32(layer[row, column, channel]) * dark
                image[row, column, channel] = np.uint8(under + (over - under) * opaque + _HALF)
