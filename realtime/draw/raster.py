"""A z-buffer for triangle meshes on the CPU: no OpenGL, no display, any thread.

The cost follows the size of the people, not of the image: buffers are made once, and only the boxes around them are cleared,
filled and blended. People who stand far apart have boxes of their own: what lies between them costs nothing.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from common.arrays import AnyFloatArray, AnyIntArray, FloatArray, ImageArray
from common.camera import NEAREST_M, Camera
from realtime.draw.loading import kernels

Region = tuple[int, int, int, int]
"""Columns left..right - 1 and rows top..bottom - 1 of an image, as (left, top, right, bottom)."""

EMPTY: Region = (0, 0, 0, 0)
_NO_EDGES = np.empty((0, 3), np.uint8)


class Rasteriser:
    """Draws meshes of one topology into a depth buffer and a colour layer.

    ``begin``, then ``add`` for every mesh, then ``blend``. Its buffers are its own and reused: let one thread at a time
    use it; two threads take two. Vertices are in the camera frame (x right, y down, z forward, metres); pixel centres
    are at whole numbers.
    """

    def __init__(self, faces: AnyIntArray, *, near: float = NEAREST_M, cull: bool = True) -> None:
        """``faces`` (F, 3): vertex indices, counter-clockwise seen from outside. ``near`` metres. ``cull`` leaves out
        triangles seen from behind: right for closed bodies.

        The first rasteriser of the process loads the compiled loops (a second), or compiles them when there is no
        cache on disk yet (see ``realtime.draw.loading``). Raises ``ValueError`` for faces of another shape.
        """
        self.faces = np.ascontiguousarray(faces, np.int32)
        if self.faces.ndim != 2 or self.faces.shape[1] != 3 or (self.faces.size and self.faces.min() < 0):
            raise ValueError(f"faces must be (F, 3) vertex indices, got {self.faces.shape}")
        self._needed = int(self.faces.max()) + 1 if self.faces.size else 0
        self._near = np.float32(near)
        self._cull = cull
        self._kernels = kernels()
        self._points = np.empty((0, 3), np.float32)
        self._normals = np.empty((0, 3), np.float32)
        self._lit = np.empty((0, 3), np.float32)
        self._box = np.empty(4, np.float32)
        self._depth = np.zeros((0, 0), np.float32)
        self._layer = np.zeros((0, 0, 3), np.uint8)
        self._ink = np.zeros((0, 0), np.uint8)
        self._wire = False
        self._boxes: list[Region] = []

    @property
    def region(self) -> Region:
        """The box that holds everything drawn since ``begin``, cut to the image; left == right when nothing is."""
        return functools.reduce(_join, self._boxes, EMPTY)

    @property
    def inverse_depth(self) -> FloatArray:
        """(H, W) float32, 1/z in 1/metre, 0 where nothing is. A view of the buffer: the next ``begin`` clears it."""
        return self._depth

    @property
    def layer(self) -> ImageArray:
        """(H, W, 3) uint8 colours; only meaningful where ``inverse_depth`` > 0. A view of the buffer."""
        return self._layer

    def begin(self, height: int, width: int) -> None:
        """Start an empty image of ``height`` x ``width`` pixels."""
        if self._depth.shape != (height, width):
            self._depth = np.zeros((height, width), np.float32)
            self._layer = np.zeros((height, width, 3), np.uint8)
            self._ink = np.zeros((height, width), np.uint8)
        else:
            for left, top, right, bottom in self._boxes:
                self._depth[top:bottom, left:right] = 0
        self._boxes = []

    def add(
        self,
        vertices: FloatArray,
        camera: Camera,
        colours: Sequence[float] | AnyFloatArray,
        edges: NDArray[np.uint8] | None = None,
    ) -> None:
        """Draw one mesh: ``vertices`` (V, 3) metres, camera frame; ``colours`` BGR 0..255 of its surface, (3,) or one for each
        vertex, (V, 3). With ``edges`` (F, 3) as lines, see ``kernels.fill``: all meshes since ``begin``, or none.

        Hidden parts are hidden, also by and behind the meshes added before. Raises ``ValueError`` for vertices that do
        not fit the faces. Vertices that are not finite count as behind the camera when their z is not.
        """
        corners = np.ascontiguousarray(vertices, np.float32)
        if corners.ndim != 2 or corners.shape[1] != 3 or len(corners) < self._needed:
            raise ValueError(f"vertices must be ({self._needed} or more, 3), got {corners.shape}")
        if len(self._points) != len(corners):
            self._points, self._normals, self._lit = (np.empty((len(corners), 3), np.float32) for _ in range(3))
        fx, fy, cx, cy = (np.float32(value) for value in (camera.fx, camera.fy, camera.cx, camera.cy))
        self._kernels.project(corners, fx, fy, cx, cy, self._near, self._points, self._box)
        region = _cut(self._box.tolist(), *self._depth.shape)
        if region[0] == region[2]:
            return
        surface = np.ascontiguousarray(colours, np.float32)
        surface = surface[None] if surface.ndim == 1 else surface
        if surface.shape not in ((1, 3), corners.shape):
            raise ValueError(f"colours must be (3,) or {corners.shape} (blue, green, red), got {surface.shape}")
        self._wire = edges is not None
        self._kernels.light(corners, self.faces, surface, self._normals, self._lit)
        self._kernels.fill(
            corners,
            self.faces,
            self._points,
            self._lit,
            fx,
            fy,
            cx,
            cy,
            self._near,
            self._cull,
            _NO_EDGES if edges is None else edges,
            self._depth,
            self._layer,
            self._ink,
        )
        self._boxes = _with_box(self._boxes, region)

    def blend(self, image: ImageArray, alpha: float = 1.0, outline: float = 0.0) -> None:
        """Lay what was drawn over ``image`` (H, W, 3) uint8 BGR, in place; other pixels are not touched.

        ``alpha`` 0..1 is how opaque it is, ``outline`` 0..1 how dark its contours are. Raises ``ValueError`` when the
        image is not of the size given to ``begin`` or cannot be written.
        """
        if image.shape != self._layer.shape or image.dtype != np.uint8 or not image.flags.writeable:
            raise ValueError(f"image must be writeable uint8 {self._layer.shape}, got {image.dtype} {image.shape}")
        strength = np.float32(min(max(alpha, 0), 1)), np.float32(outline)
        for box in self._boxes:
            self._kernels.blend(image, self._depth, self._layer, self._ink, self._wire, *box, *strength)


def _cut(box: Sequence[float], height: int, width: int) -> Region:
    """The pixels of an image inside a box of pixel coordinates, ``EMPTY`` when there are none."""
    if not (box[0] <= box[2] and box[1] <= box[3]):
        return EMPTY
    left, top = (math.ceil(min(max(value, 0), 1 << 30)) for value in box[:2])
    right = math.floor(min(max(box[2], -1), width - 1)) + 1
    bottom = math.floor(min(max(box[3], -1), height - 1)) + 1
    return (left, top, right, bottom) if left < right and top < bottom else EMPTY


def _with_box(boxes: list[Region], box: Region) -> list[Region]:
    """Boxes that do not overlap and hold the disjoint ``boxes`` and ``box``: no pixel is blended twice."""
    while True:
        apart = [one for one in boxes if not _overlap(one, box)]
        if len(apart) == len(boxes):
            return [*apart, box]
        box = functools.reduce(_join, (one for one in boxes if _overlap(one, box)), box)
        boxes = apart


def _overlap(one: Region, other: Region) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _join(one: Region, other: Region) -> Region:
    if one[0] == one[2]:
        return other
    return min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3])
