"""The surroundings of synthetic people: a box of textured walls, floor and ceiling, seen by a moving camera.

A box gives every pixel exactly one point in the world, so its flow is exact for any camera motion, parallax included.
For a distant panorama the box is so large that only rotation moves it. World: metres, y up. Camera: OpenCV axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from common.arrays import FloatArray, ImageArray, Int32Array
from training.synth.photographs import sample_panorama
from training.synth.shading import is_covered

TEXTURE_SIDE: Final = 256
"""Side of a wall texture in texels, a power of two. Walls repeat it mirrored, so that there is no seam."""

SKY_SIDE: Final = 2000.0
"""Side of the cube on which a panorama is painted, metres."""

_FAST: Final = {"contract", "nsz", "arcp", "reassoc"}


@dataclass(frozen=True, slots=True)
class Room:
    """A textured box in a frame of its own, where the world point p is at ``rotation`` @ p + ``origin``.

    Sides are ordered low x, high x, low y, high y, low z, high z.
    """

    low: FloatArray
    """(3,) float32, lowest corner, metres."""
    high: FloatArray
    """(3,) float32, highest corner, metres."""
    rotation: FloatArray
    """(3, 3) float32, rotation, world to room."""
    origin: FloatArray
    """(3,) float32, the world's origin in the room, metres."""
    atlas: ImageArray
    """(L, TEXTURE_SIDE, 3 TEXTURE_SIDE / 2, 3) uint8 BGR, textures made by `with_mipmaps`."""
    layer: Int32Array
    """(6,) int32, row of ``atlas`` of each side."""
    density: FloatArray
    """(6,) float32, texels per metre of each side."""
    light: FloatArray
    """(6,) float32, brightness of each side."""


def sky_box(panorama: ImageArray) -> ImageArray:
    """The atlas (6, TEXTURE_SIDE, 3 TEXTURE_SIDE / 2, 3) of a cube with a panorama on its sides.

    The cube has sides of `SKY_SIDE` metres, so that walking shows no parallax; its corner is the room's origin.
    """
    line = np.arange(TEXTURE_SIDE) * (SKY_SIDE / TEXTURE_SIDE)
    first, second = np.meshgrid(line, line)  # across, along
    # Heights count downwards and repeat mirrored: row r of a wall is at height r + 1.
    up = second + SKY_SIDE / TEXTURE_SIDE
    sides = []
    for axis in range(3):
        for end in (0.0, SKY_SIDE):
            wall = np.full_like(first, end)
            place = ((wall, up, first), (first, wall, second), (first, up, wall))[axis]
            sides.append(with_mipmaps(sample_panorama(panorama, np.stack(place, -1) - SKY_SIDE / 2)))
    return np.stack(sides)


def with_mipmaps(texture: ImageArray) -> ImageArray:
    """A texture (N, N, 3) with its mipmaps beside it, (N, 3 N / 2, 3), so that distant walls do not flicker."""
    side = len(texture)
    atlas = np.zeros((side, side * 3 // 2, 3), np.uint8)
    atlas[:, :side] = texture
    row, level = 0, texture
    while len(level) > 4:
        level = np.asarray(cv2.resize(level, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
        atlas[row : row + len(level), side : side + len(level)] = level
        row += len(level)
    return atlas


@njit(cache=True, nogil=True, fastmath=_FAST)
def intersect_box(
    direction: FloatArray, centre: FloatArray, low: FloatArray, high: FloatArray, point: FloatArray
) -> tuple[int, np.floating]:
    """Intersect a ray that starts inside a box with its walls.

    ``direction`` and ``centre`` (3,) are the ray, ``low`` and ``high`` (3,) the box. Writes the intersection into
    ``point`` (3,). Returns the side, and the distance as a multiple of ``direction``.
    """
    side, reach = 0, np.float32(1e9)
    for axis in range(3):
        step = direction[axis]
        if abs(step) < np.float32(1e-9):
            continue
        far = ((high[axis] if step > 0 else low[axis]) - centre[axis]) / step
        if far < reach:
            reach = far
            side = 2 * axis + (1 if step > 0 else 0)
    for axis in range(3):
        point[axis] = centre[axis] + reach * direction[axis]
    return side, reach


@njit(cache=True, nogil=True, fastmath=_FAST)
def paint_room(
    rotation: FloatArray,
    centre: FloatArray,
    camera: FloatArray,
    low: FloatArray,
    high: FloatArray,
    atlas: ImageArray,
    layer: Int32Array,
    density: FloatArray,
    light: FloatArray,
    covered: Int32Array,
    image: ImageArray,
) -> None:
    """Paint ``image`` (H, W, 3) uint8 where ``covered`` (H, W) is negative.

    ``rotation`` (3, 3) room to camera, ``centre`` (3,) the camera in the room, metres, ``camera`` (4,) fx, fy, cx, cy
    px. The other arguments are fields of `Room`.
    """
    height, width = covered.shape
    side_texels = atlas.shape[1]
    direction, point = np.empty(3, np.float32), np.empty(3, np.float32)
    pixel = np.float32(1) / camera[0]
    for row in range(height):
        down = (np.float32(row) - camera[3]) / camera[1]
        for column in range(width):
            if covered[row, column] >= 0:
                continue
            right = (np.float32(column) - camera[2]) * pixel
            for axis in range(3):
                direction[axis] = rotation[0, axis] * right + rotation[1, axis] * down + rotation[2, axis]
            side, reach = intersect_box(direction, centre, low, high, point)
            axis = side // 2
            length = right * right + down * down + np.float32(1)
            slant = max(direction[axis] * direction[axis] / length, np.float32(0.004))
            texels = density[side]
            # Texels a pixel, between its short and its long side where the wall is seen at an angle; squared.
            footprint = reach * texels * pixel
            footprint *= footprint / np.sqrt(slant)
            top, left, size, texels = _mipmap(footprint, side_texels, texels)
            across = point[2] if axis == 0 else point[0]
            along = point[2] if axis == 1 else -point[1]
            u, v = across * texels, along * texels
            iu, iv = int(np.floor(u)), int(np.floor(v))
            fu, fv = u - np.float32(iu), v - np.float32(iv)
            u0, v0 = _fold(iu, size), _fold(iv, size)
            u1, v1 = _fold(iu + 1, size), _fold(iv + 1, size)
            u0, u1, v0, v1 = u0 + left, u1 + left, v0 + top, v1 + top
            texture, bright = layer[side], light[side]
            for channel in range(3):
                # Full indices: a view of the texture would be reference-counted for every pixel.
                above, beside = np.float32(atlas[texture, v0, u0, channel]), np.float32(atlas[texture, v0, u1, channel])
                below, opposite = (
                    np.float32(atlas[texture, v1, u0, channel]),
                    np.float32(atlas[texture, v1, u1, channel]),
                )
                upper, lower = above + (beside - above) * fu, below + (opposite - below) * fu
                value = (upper + (lower - upper) * fv) * bright
                image[row, column, channel] = np.uint8(min(max(value, np.float32(0)), np.float32(255)))


@njit(cache=True, nogil=True, fastmath=_FAST)
def _mipmap(footprint, side, texels):  # type: ignore[no-untyped-def]
    """Row, column and size of the mipmap in which a pixel is at most two texels wide, and its texels a metre. ``footprint`` is
    the square of the pixel's width in the full texture of ``side`` and ``texels`` a metre."""
    top, left, size = 0, 0, side
    while footprint > np.float32(2) and size > 8:
        top = top + size if left > 0 else 0
        left = side
        size //= 2
        footprint *= np.float32(0.25)
        texels *= np.float32(0.5)
    return top, left, size, texels


@njit(cache=True, nogil=True, fastmath=_FAST)
def _fold(index: int, size: int) -> int:
    """``index`` in a texture of ``size``, a power of two, that repeats mirrored."""
    index &= 2 * size - 1
    return index if index < size else 2 * size - 1 - index


@njit(cache=True, nogil=True, fastmath=_FAST)
def room_flow(
    rotation: FloatArray,
    centre: FloatArray,
    next_rotation: FloatArray,
    next_centre: FloatArray,
    camera: FloatArray,
    low: FloatArray,
    high: FloatArray,
    covered: Int32Array,
    next_inverse_depth: FloatArray,
    field: FloatArray,
    hidden: NDArray[np.uint8],
    inverse_depth: FloatArray,
) -> None:
    """Exact flow of the room where ``covered`` (H, W) is negative.

    Cameras are given as in `paint_room`, for this frame and the next. Writes ``field`` (H, W, 2) px; ``hidden`` (H, W),
    1 where the point is outside the image in the next frame or occluded there by ``next_inverse_depth`` (H, W), 1/m;
    and ``inverse_depth`` (H, W), 1/m.
    """
    height, width = covered.shape
    direction, point = np.empty(3, np.float32), np.empty(3, np.float32)
    moved = np.empty(3, np.float32)
    for row in range(height):
        down = (np.float32(row) - camera[3]) / camera[1]
        for column in range(width):
            if covered[row, column] >= 0:
                continue
            right = (np.float32(column) - camera[2]) / camera[0]
            for axis in range(3):
                direction[axis] = rotation[0, axis] * right + rotation[1, axis] * down + rotation[2, axis]
            _, reach = intersect_box(direction, centre, low, high, point)
            inverse_depth[row, column] = np.float32(1) / reach
            for axis in range(3):
                moved[axis] = np.float32(0)
                for inner in range(3):
                    moved[axis] += next_rotation[axis, inner] * (point[inner] - next_centre[inner])
            hidden[row, column] = 1
            if moved[2] <= np.float32(1e-3):
                field[row, column, 0] = field[row, column, 1] = np.float32(0)
                continue
            inverse = np.float32(1) / moved[2]
            x = camera[0] * moved[0] * inverse + camera[2]
            y = camera[1] * moved[1] * inverse + camera[3]
            field[row, column, 0], field[row, column, 1] = x - np.float32(column), y - np.float32(row)
            hidden[row, column] = is_covered(x, y, inverse, next_inverse_depth)
