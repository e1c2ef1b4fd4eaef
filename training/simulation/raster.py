"""Which surface every pixel sees, and where it goes: a z-buffer and exact optical flow, compiled, any resolution.

Frames of reference: vertices in the camera frame (x right, y down, z forward, metres); images in pixels, centres at whole
numbers. Depth is kept as 1/z (1/metre), 0 where nothing is. All loops release the GIL and use one thread.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit

from common.arrays import FloatArray, Int32Array
from common.camera import NEAREST_M

NEAREST: Final = np.float32(NEAREST_M)
"""`common.camera.NEAREST_M` for compiled loops: nothing nearer is drawn."""
_EDGE: Final = np.float32(-1e-5)  # barycentric slack, so that no pixel falls between two triangles


@njit(cache=True, nogil=True, error_model="numpy")
def project_vertices(vertices: FloatArray, fx: float, fy: float, cx: float, cy: float, points: FloatArray) -> None:
    """Project ``vertices`` (V, 3) into ``points`` (V, 3): x, y px and 1/z; 1/z is 0 for what is nearer than `NEAREST`."""
    for i in range(vertices.shape[0]):
        z = vertices[i, 2]
        if z > NEAREST:
            inverse = np.float32(1) / z
            points[i, 0] = fx * vertices[i, 0] * inverse + cx
            points[i, 1] = fy * vertices[i, 1] * inverse + cy
            points[i, 2] = inverse
        else:
            points[i, 2] = np.float32(0)


@njit(cache=True, nogil=True, error_model="numpy")
def fill_triangles(points: FloatArray, faces: Int32Array, first_id: int, depth: FloatArray, ids: Int32Array) -> None:
    """Draw one closed mesh into a z-buffer.

    ``points`` (V, 3) of `project_vertices`; ``faces`` (F, 3), counter-clockwise seen from outside. Where a face is nearer than
    ``depth`` (H, W) says, its 1/z goes there and ``first_id`` + its index into ``ids`` (H, W). Faces seen from behind or
    reaching behind the camera are left out.
    """
    height, width = depth.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        wa, wb, wc = points[a, 2], points[b, 2], points[c, 2]
        if wa <= 0 or wb <= 0 or wc <= 0:
            continue
        ax, ay, bx, by = points[a, 0], points[a, 1], points[b, 0], points[b, 1]
        px, py = points[c, 0], points[c, 1]
        area = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
        if not area < 0:  # y points down: a face that is seen from outside turns the other way
            continue
        left = max(int(np.ceil(min(ax, bx, px))), 0)
        right = min(int(np.floor(max(ax, bx, px))), width - 1)
        top = max(int(np.ceil(min(ay, by, py))), 0)
        bottom = min(int(np.floor(max(ay, by, py))), height - 1)
        scale = np.float32(1) / area
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                u = ((px - bx) * (y - by) - (py - by) * (x - bx)) * scale
                v = ((ax - px) * (y - py) - (ay - py) * (x - px)) * scale
                w = np.float32(1) - u - v
                if u >= _EDGE and v >= _EDGE and w >= _EDGE:
                    near = u * wa + v * wb + w * wc
                    if near > depth[y, x]:
                        depth[y, x] = near
                        ids[y, x] = first_id + f


@njit(cache=True, nogil=True, error_model="numpy")
def barycentric(points: FloatArray, face: Int32Array, x: float, y: float) -> tuple[float, float, float]:
    """Perspective-correct weights of a face's corners at pixel (x, y): what mixes anything that lies on the surface."""
    a, b, c = face[0], face[1], face[2]
    ax, ay, bx, by = points[a, 0], points[a, 1], points[b, 0], points[b, 1]
    px, py = points[c, 0], points[c, 1]
    area = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
    u = ((px - bx) * (y - by) - (py - by) * (x - bx)) / area * points[a, 2]
    v = ((ax - px) * (y - py) - (ay - py) * (x - px)) / area * points[b, 2]
    w = (
        1 - ((px - bx) * (y - by) - (py - by) * (x - bx) + (ax - px) * (y - py) - (ay - py) * (x - px)) / area
    ) * points[c, 2]
    total = u + v + w
    return u / total, v / total, w / total


@njit(cache=True, nogil=True, error_model="numpy")
def surface_flow(
    points: FloatArray,
    faces: Int32Array,
    following: FloatArray,
    ids: Int32Array,
    first_id: int,
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    flow: FloatArray,
) -> None:
    """Exact flow of one mesh: where the very surface point that a pixel sees will be in the next image.

    ``points`` (V, 3) of `project_vertices` and ``ids`` (H, W) of `fill_triangles` for this image; ``following`` (V, 3) the
    vertices of the next one in ITS camera's frame, m, with its intrinsics in px. Writes ``flow`` (H, W, 2), px, where
    ``ids`` names one of this mesh's faces; other pixels, and points that go behind the camera, are left as they are."""
    for y in range(ids.shape[0]):
        for x in range(ids.shape[1]):
            f = ids[y, x] - first_id
            if f < 0 or f >= faces.shape[0]:
                continue
            u, v, w = barycentric(points, faces[f], x, y)
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            z = u * following[a, 2] + v * following[b, 2] + w * following[c, 2]
            if z > NEAREST:
                flow[y, x, 0] = (
                    fx * (u * following[a, 0] + v * following[b, 0] + w * following[c, 0]) / z + cx - np.float32(x)
                )
                flow[y, x, 1] = (
                    fy * (u * following[a, 1] + v * following[b, 1] + w * following[c, 1]) / z + cy - np.float32(y)
                )


@njit(cache=True, nogil=True, error_model="numpy")
def background_flow(turn: FloatArray, fx: float, fy: float, cx: float, cy: float, flow: FloatArray) -> None:
    """Flow (H, W, 2) px of everything far away when the camera turns: ``turn`` (3, 3) takes directions in this image's
    camera frame to the next one's. What leaves the view (over 90°) gets no motion."""
    for y in range(flow.shape[0]):
        for x in range(flow.shape[1]):
            u, v = (x - cx) / fx, (y - cy) / fy
            z = turn[2, 0] * u + turn[2, 1] * v + turn[2, 2]
            if z > 0.05:
                flow[y, x, 0] = fx * (turn[0, 0] * u + turn[0, 1] * v + turn[0, 2]) / z + cx - x
                flow[y, x, 1] = fy * (turn[1, 0] * u + turn[1, 1] * v + turn[1, 2]) / z + cy - y
            else:
                flow[y, x, 0], flow[y, x, 1] = np.float32(0), np.float32(0)
