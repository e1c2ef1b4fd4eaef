"""Compiled inner loops of shading: normals, light and cloth patterns. They release the GIL; single thread.

Light is nine spherical-harmonic coefficients per channel (Ramamoorthi & Hanrahan 2001), evaluated at the vertices:
triangles are only a few pixels large, and there are no cast shadows.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from common.arrays import FloatArray, ImageArray, Int32Array
from training.simulation.raster import NEAREST, barycentric

_FAST: Final = {"contract", "nsz", "arcp", "reassoc"}


@njit(cache=True, nogil=True, fastmath=_FAST)
def vertex_normals(vertices: FloatArray, faces: Int32Array, normals: FloatArray) -> None:
    """Smooth outward unit ``normals`` (V, 3) of ``vertices`` (V, 3) joined by ``faces`` (F, 3)."""
    normals[:, :] = np.float32(0)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for i in (a, b, c):
            normals[i, 0] += nx
            normals[i, 1] += ny
            normals[i, 2] += nz
    for i in range(vertices.shape[0]):
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        scale = np.float32(1) / np.sqrt(x * x + y * y + z * z + np.float32(1e-20))
        normals[i, 0], normals[i, 1], normals[i, 2] = x * scale, y * scale, z * scale


@njit(cache=True, nogil=True, fastmath=_FAST)
def shade_vertices(normals: FloatArray, colour: FloatArray, harmonics: FloatArray, lit: FloatArray) -> None:
    """Write ``lit`` (V, 3) 0..255: ``colour`` (V, 3) 0..1 under the light ``harmonics`` (3, 9).

    ``harmonics`` are in the frame of ``normals`` (V, 3), ordered 1, y, z, x, xy, yz, 3 z² - 1, xz, x² - y², without
    their normalising constants.
    """
    for i in range(normals.shape[0]):
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        for channel in range(3):
            h = harmonics[channel]
            bright = h[0] + h[1] * y + h[2] * z + h[3] * x + h[4] * x * y + h[5] * y * z
            bright += h[6] * (np.float32(3) * z * z - np.float32(1)) + h[7] * x * z + h[8] * (x * x - y * y)
            lit[i, channel] = min(colour[i, channel] * max(bright, np.float32(0.02)) * np.float32(255), np.float32(255))


@njit(cache=True, nogil=True, fastmath=_FAST)
def paint_mesh(
    points: FloatArray,
    faces: Int32Array,
    ids: Int32Array,
    lit: FloatArray,
    rest: FloatArray,
    garment: Int32Array,
    axis: Int32Array,
    patterns: ImageArray,
    density: FloatArray,
    image: ImageArray,
) -> None:
    """Paint ``image`` (H, W, 3) uint8 where ``ids`` (H, W) is a face.

    ``points`` (V, 3) and ``ids`` as `training.simulation.raster` makes them, ids from 0; ``lit`` (V, 3) 0..255;
    ``rest`` (V, 3) metres, where the pattern is fixed on the rest body, so that it moves with the skin. The other
    arguments are fields of `training.synth.appearance.SurfaceAppearance`.
    """
    height, width = ids.shape
    last = patterns.shape[1] - 1
    for row in range(height):
        for column in range(width):
            f = ids[row, column]
            if f < 0:
                continue
            p, q, r = barycentric(points, faces[f], column, row)
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            first = 2 if axis[f] == 0 else 0
            second = 2 if axis[f] == 1 else 1
            texels = density[garment[f]]
            u = (p * rest[a, first] + q * rest[b, first] + r * rest[c, first]) * texels
            v = (p * rest[a, second] + q * rest[b, second] + r * rest[c, second]) * texels
            iu, iv = int(np.floor(u)), int(np.floor(v))
            fu, fv = u - np.float32(iu), v - np.float32(iv)
            u0, v0, u1, v1 = iu & last, iv & last, (iu + 1) & last, (iv + 1) & last
            pattern = garment[f]
            for channel in range(3):
                # Full indices: a view of the pattern would be reference-counted for every pixel.
                above, beside = (
                    np.float32(patterns[pattern, v0, u0, channel]),
                    np.float32(patterns[pattern, v0, u1, channel]),
                )
                below, opposite = (
                    np.float32(patterns[pattern, v1, u0, channel]),
                    np.float32(patterns[pattern, v1, u1, channel]),
                )
                upper, lower = above + (beside - above) * fu, below + (opposite - below) * fu
                cloth = (upper + (lower - upper) * fv) * np.float32(1 / 255)
                surface = p * lit[a, channel] + q * lit[b, channel] + r * lit[c, channel]
                image[row, column, channel] = np.uint8(min(max(surface * cloth, np.float32(0)), np.float32(255)))


@njit(cache=True, nogil=True, fastmath=_FAST)
def is_covered(x: np.float32, y: np.float32, inverse: np.float32, inverse_depth: FloatArray) -> int:
    """1 where a point at (x, y) px with 1/z ``inverse`` is outside the image or occluded, else 0.

    It is occluded when all pixels of ``inverse_depth`` (H, W) around it are nearer by more than 2 %. The image ends
    half a pixel beyond its last pixel centres.
    """
    height, width = inverse_depth.shape
    half = np.float32(0.5)
    if not (x >= -half and y >= -half and x <= width - half and y <= height - half):
        return 1
    limit = inverse * np.float32(1.02)
    left, top = int(np.floor(x)), int(np.floor(y))
    for j in range(max(top, 0), min(top + 2, height)):
        for i in range(max(left, 0), min(left + 2, width)):
            if inverse_depth[j, i] <= limit:
                return 0
    return 1


@njit(cache=True, nogil=True, fastmath=_FAST)
def hidden_points(
    points: FloatArray,
    faces: Int32Array,
    following: FloatArray,
    ids: Int32Array,
    flow: FloatArray,
    next_inverse_depth: FloatArray,
    hidden: ImageArray,
) -> None:
    """Mark in ``hidden`` (H, W) the surface points that are occluded or outside the image in the next frame.

    ``points`` (V, 3) and ``ids`` (H, W) of this frame, ``following`` (V, 3) the next vertices, ``flow`` (H, W, 2) as of
    `training.simulation.raster`; ``next_inverse_depth`` (H, W), 1/m. Pixels without a face are left unchanged.
    """
    height, width = ids.shape
    for row in range(height):
        for column in range(width):
            f = ids[row, column]
            if f < 0:
                continue
            hidden[row, column] = 1
            u, v, w = barycentric(points, faces[f], column, row)
            z = u * following[faces[f, 0], 2] + v * following[faces[f, 1], 2] + w * following[faces[f, 2], 2]
            if z > NEAREST:
                x, y = np.float32(column) + flow[row, column, 0], np.float32(row) + flow[row, column, 1]
                hidden[row, column] = is_covered(x, y, np.float32(1) / z, next_inverse_depth)
