"""The compiled inner loops of drawing: project, light, fill, blend. One thread each, GIL released, float32.

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
_INDICES: Final = types.Array(types.int32, 1, "C", readonly=True)
_BONES: Final = types.Array(types.int32, 2, "C", readonly=True)
_ROTATIONS: Final = types.Array(types.float32, 3, "C", readonly=True)
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


@njit(types.float32(types.float32, types.float32), **_OPTIONS)
def _from(weight: float, reach: float) -> float:
    """Pixels between a point and an edge; slack may make the weight a little negative."""
    return (weight if weight > 1e-6 else 1e-6) * reach


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
    height, width = depth.shape
    wire = edges.shape[0] > 0
    reach = np.empty(3, np.float32)
    px, py, pz = np.empty(4, np.float32), np.empty(4, np.float32), np.empty(4, np.float32)
    colour = np.empty((4, 3), np.float32)
    for f in range(faces.shape[0]):
        corners = 0
        a, b, c = (
            np.uint32(faces[f, 0]),
            np.uint32(faces[f, 1]),
            np.uint32(faces[f, 2]),
        )  # unsigned: none counts from the end
        if points[a, 2] > _ZERO and points[b, 2] > _ZERO and points[c, 2] > _ZERO:
            x0, y0 = points[a, 0], points[a, 1]
            x1, y1 = points[b, 0] - x0, points[b, 1] - y0
            x2, y2 = points[c, 0] - x0, points[c, 1] - y0
            if cull and x1 * y2 - x2 * y1 >= _ZERO:
                continue
            px[0], py[0], pz[0] = x0, y0, points[a, 2]
            px[1], py[1], pz[1] = points[b, 0], points[b, 1], points[b, 2]
            px[2], py[2], pz[2] = points[c, 0], points[c, 1], points[c, 2]
            for channel in range(3):
                colour[0, channel], colour[1, channel], colour[2, channel] = (
                    lit[a, channel],
                    lit[b, channel],
                    lit[c, channel],
                )
            corners = 3
        else:  # walk round the triangle, keep what is in front of the near plane: none, 3 or 4 corners
            for corner in range(3):
                i, j = faces[f, corner], faces[f, (corner + 1) % 3]
                front, next_front = points[i, 2] > _ZERO, points[j, 2] > _ZERO
                if front:
                    px[corners], py[corners], pz[corners] = points[i, 0], points[i, 1], points[i, 2]
                    for channel in range(3):
                        colour[corners, channel] = lit[i, channel]
                    corners += 1
                if front != next_front:
                    part = (near - vertices[i, 2]) / (vertices[j, 2] - vertices[i, 2])
                    px[corners] = fx * (vertices[i, 0] + part * (vertices[j, 0] - vertices[i, 0])) / near + cx
                    py[corners] = fy * (vertices[i, 1] + part * (vertices[j, 1] - vertices[i, 1])) / near + cy
                    pz[corners] = _ONE / near
                    for channel in range(3):
                        colour[corners, channel] = lit[i, channel] + part * (lit[j, channel] - lit[i, channel])
                    corners += 1
        for k in range(1, corners - 1):
            x0, y0, z0 = px[0], py[0], pz[0]
            x1, y1, z1 = px[k], py[k], pz[k]
            x2, y2, z2 = px[k + 1], py[k + 1], pz[k + 1]
            low, high = max(min(x0, x1, x2), _ZERO), min(max(x0, x1, x2), np.float32(width - 1))
            first, last = max(min(y0, y1, y2), _ZERO), min(max(y0, y1, y2), np.float32(height - 1))
            if not (low <= high and first <= last):
                continue
            area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
            # Thinner than the rounding of coordinates: its area, even its sign, is noise, and so would its depth be.
            spread = max(x0, x1, x2) - min(x0, x1, x2) + max(y0, y1, y2) - min(y0, y1, y2)
            if abs(area) <= _THINNEST * spread or (cull and area > _ZERO):
                continue
            scale = _ONE / area
            slope1, slope2 = (y2 - y0) * scale, (y0 - y1) * scale
            left, right = int(np.ceil(low)), int(high)
            top, bottom = int(np.ceil(first)), int(last)
            if left > right or top > bottom:  # between the centres of pixels
                continue
            # Pixels for a unit of each corner's weight. A weight that is the same all along a row begins nowhere, and ends far
            # before or far behind it.
            slope0 = -slope1 - slope2
            run0 = _ONE / slope0 if slope0 != _ZERO else -_FAR
            run1 = _ONE / slope1 if slope1 != _ZERO else -_FAR
            run2 = _ONE / slope2 if slope2 != _ZERO else -_FAR
            if wire:  # pixels from an edge = weight of the corner opposite to it, times the corner's distance from it
                size = abs(area)
                reach[0] = size / np.sqrt((x2 - x1) * (x2 - x1) + (y2 - y1) * (y2 - y1))
                reach[1] = size / np.sqrt((x2 - x0) * (x2 - x0) + (y2 - y0) * (y2 - y0))
                reach[2] = size / np.sqrt((x1 - x0) * (x1 - x0) + (y1 - y0) * (y1 - y0))
                for corner in range(3):
                    if edges[f, corner] == 0 or corners != 3:
                        reach[corner] = np.float32(np.inf)
            # In scalars: the compiler cannot know that writing the layer leaves the arrays alone. Lit colours are
            # 0..255, and the half that rounds them also covers the slack at the edges.
            blue, green, red = colour[0, 0] + _HALF, colour[0, 1] + _HALF, colour[0, 2] + _HALF
            blue1, green1, red1 = colour[k, 0] - colour[0, 0], colour[k, 1] - colour[0, 1], colour[k, 2] - colour[0, 2]
            blue2, green2, red2 = (
                colour[k + 1, 0] - colour[0, 0],
                colour[k + 1, 1] - colour[0, 1],
                colour[k + 1, 2] - colour[0, 2],
            )
            start = np.float32(left) - x0
            near1, near2 = z1 - z0, z2 - z0
            for row in range(top, bottom + 1):
                y = np.float32(row) - y0
                row1 = ((y2 - y0) * start - (x2 - x0) * y) * scale
                row2 = ((x1 - x0) * y - (y1 - y0) * start) * scale
                edge0, edge1, edge2 = (_EDGE - _ONE + row1 + row2) * run0, (_EDGE - row1) * run1, (_EDGE - row2) * run2
                begin, end = _ZERO, np.float32(right - left)
                if slope0 > _ZERO:
                    begin = max(begin, edge0)
                else:
                    end = min(end, edge0)
                if slope1 > _ZERO:
                    begin = max(begin, edge1)
                else:
                    end = min(end, edge1)
                if slope2 > _ZERO:
                    begin = max(begin, edge2)
                else:
                    end = min(end, edge2)
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
                        w0 = _ONE - w1 - w2
                        far = min(_from(w0, reach[0]), _from(w1, reach[1]), _from(w2, reach[2]))
                        cover = min(max(_LINE - far, _ZERO), _ONE)
                        ink[row, column] = np.uint8(cover * np.float32(255) + _HALF)
                    layer[row, column, 0] = np.uint8(blue + w1 * blue1 + w2 * blue2)
                    layer[row, column, 1] = np.uint8(green + w1 * green1 + w2 * green2)
                    layer[row, column, 2] = np.uint8(red + w1 * red1 + w2 * red2)


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
