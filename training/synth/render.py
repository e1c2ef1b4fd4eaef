"""Rendering a scene: visible surface, colour and exact optical flow of every pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from common.arrays import BoolArray, FloatArray, ImageArray, Int32Array
from realtime.records import Box
from realtime.stages.crops import crop_matrix
from training.simulation.raster import fill_triangles, project_vertices, surface_flow
from training.synth.room import paint_room, room_flow
from training.synth.scene import Scene
from training.synth.shading import hidden_points, paint_mesh, shade_vertices, vertex_normals

BLOCK: Final = 8
"""Regions start at whole JPEG blocks, so that compression artefacts keep their place in the full image."""


@dataclass(frozen=True, slots=True)
class Viewport:
    """A part of the image at some scale."""

    camera: tuple[float, float, float, float]
    """fx, fy, cx, cy in pixels of this part."""
    width: int
    """Columns of this part."""
    height: int
    """Rows of this part."""


def region_viewport(scene: Scene, left: int, top: int, right: int, bottom: int, scale: float) -> Viewport:
    """Columns ``left``..``right`` - 1 and rows ``top``..``bottom`` - 1 of the full image scaled by ``scale``."""
    fx, fy, cx, cy = (float(value) for value in scene.camera)
    shift = (scale - 1) / 2  # pixel centres are whole numbers before and after
    return Viewport(
        (fx * scale, fy * scale, cx * scale + shift - left, cy * scale + shift - top), right - left, bottom - top
    )


def crop_viewport(scene: Scene, box: Box, size: int) -> Viewport:
    """The ``size``² crop of ``box``, pixel for pixel as `realtime.stages.crops.Cropper` cuts it."""
    fx, fy, cx, cy = (float(value) for value in scene.camera)
    matrix = crop_matrix(box, size)
    scale = float(matrix[0, 0])
    return Viewport(
        (fx * scale, fy * scale, cx * scale + float(matrix[0, 2]), cy * scale + float(matrix[1, 2])), size, size
    )


@dataclass(frozen=True, slots=True)
class VisibleSurface:
    """The surface visible at the pixels of a `Viewport`."""

    ids: Int32Array
    """(H, W) int32, face of the scene's mesh, -1 for the room."""
    inverse_depth: FloatArray
    """(H, W) float32, inverse depth, 1/m; 0 for the room."""
    points: FloatArray
    """(V, 3) float32, the projected vertices: x, y in px and 1/z."""


@dataclass(frozen=True, slots=True)
class ExactFlow:
    """Exact optical flow to the next frame, of the surface point visible at each pixel."""

    field: FloatArray
    """(H, W, 2) float32, flow, px."""
    hidden: BoolArray
    """(H, W) bool, the point is occluded or outside the image in the next frame."""
    inverse_depth: FloatArray
    """(H, W) float32, inverse depth of the point in this frame, 1/m, room included."""
    ids: Int32Array
    """(H, W) int32, faces as in `VisibleSurface`."""


class Renderer:
    """Renders one scene. Clothed vertices are cached for the last three frames. Not thread-safe."""

    def __init__(self, scene: Scene) -> None:
        """Prepare the camera's path in the room's frame."""
        self.scene = scene
        mesh = scene.mesh
        self._dressed: dict[int, tuple[FloatArray, FloatArray | None]] = {}
        room_rotation = scene.room.rotation
        self._rotations = np.ascontiguousarray(scene.rotation @ room_rotation.T, np.float32)
        self._centres = np.ascontiguousarray(scene.centre @ room_rotation.T + scene.room.origin, np.float32)
        self._bare = not mesh.appearance.offset.any()

    def clothed_vertices(self, frame: int) -> FloatArray:
        """Vertices (V, 3) with cloth and hair standing off the body, metres, camera frame."""
        return self._dress(frame)[0]

    def _dress(self, frame: int) -> tuple[FloatArray, FloatArray | None]:
        """Clothed vertices, and the normals where they were computed."""
        if frame not in self._dressed:
            vertices, normals = self.scene.mesh.vertices[frame], None
            if not self._bare:
                normals = self._normals(vertices)
                vertices = vertices + normals * self.scene.mesh.appearance.offset[:, None]
            self._dressed[frame] = vertices, normals
            self._dressed.pop(frame - 3, None)
        return self._dressed[frame]

    def _normals(self, vertices: FloatArray) -> FloatArray:
        normals = np.empty_like(vertices)
        vertex_normals(vertices, self.scene.mesh.faces, normals)
        return normals

    def _lit(self, frame: int) -> FloatArray:
        """Colours (V, 3), 0..255, of the lit surface."""
        vertices, normals = self._dress(frame)
        upright = (self._normals(vertices) if normals is None else normals) @ self.scene.rotation[frame]
        lit = np.empty_like(vertices)
        shade_vertices(np.ascontiguousarray(upright), self.scene.mesh.appearance.colour, self.scene.harmonics, lit)
        return lit

    def surface(self, frame: int, view: Viewport) -> VisibleSurface:
        """The surface visible in ``view``, found with a z-buffer."""
        vertices = self.clothed_vertices(frame)
        points = np.empty_like(vertices)
        fx, fy, cx, cy = view.camera
        project_vertices(vertices, fx, fy, cx, cy, points)
        ids = np.full((view.height, view.width), -1, np.int32)
        depth = np.zeros((view.height, view.width), np.float32)
        fill_triangles(points, self.scene.mesh.faces, 0, depth, ids)
        return VisibleSurface(ids, depth, points)

    def render(self, frame: int, view: Viewport, samples: int = 1) -> ImageArray:
        """The (H, W, 3) uint8 BGR image of an ideal camera, averaged over ``samples``² samples per pixel."""
        if samples > 1:
            fx, fy, cx, cy = view.camera
            shift = (samples - 1) / 2
            fine = Viewport(
                (fx * samples, fy * samples, cx * samples + shift, cy * samples + shift),
                view.width * samples,
                view.height * samples,
            )
            large = self.render(frame, fine)
            return np.asarray(cv2.resize(large, (view.width, view.height), interpolation=cv2.INTER_AREA), np.uint8)
        surface = self.surface(frame, view)
        mesh, room = self.scene.mesh, self.scene.room
        image = np.empty((view.height, view.width, 3), np.uint8)
        paint_room(
            self._rotations[frame],
            self._centres[frame],
            np.array(view.camera, np.float32),
            room.low,
            room.high,
            room.atlas,
            room.layer,
            room.density,
            room.light,
            surface.ids,
            image,
        )
        appearance = mesh.appearance
        paint_mesh(
            surface.points,
            mesh.faces,
            surface.ids,
            self._lit(frame),
            mesh.rest,
            appearance.garment,
            appearance.axis,
            appearance.patterns,
            appearance.density,
            image,
        )
        return image

    def flow(self, frame: int, view: Viewport) -> ExactFlow:
        """Exact flow from ``frame`` to the next one, both in ``view``."""
        now, then = self.surface(frame, view), self.surface(frame + 1, view)
        following = self.clothed_vertices(frame + 1)
        camera = np.array(view.camera, np.float32)
        field = np.zeros((view.height, view.width, 2), np.float32)
        hidden = np.zeros((view.height, view.width), np.uint8)
        inverse_depth = now.inverse_depth.copy()
        room = self.scene.room
        room_flow(
            self._rotations[frame],
            self._centres[frame],
            self._rotations[frame + 1],
            self._centres[frame + 1],
            camera,
            room.low,
            room.high,
            now.ids,
            then.inverse_depth,
            field,
            hidden,
            inverse_depth,
        )
        faces = self.scene.mesh.faces
        fx, fy, cx, cy = view.camera
        surface_flow(now.points, faces, following, now.ids, 0, fx, fy, cx, cy, field)
        hidden_points(now.points, faces, following, now.ids, field, then.inverse_depth, hidden)
        return ExactFlow(field, hidden.astype(bool), inverse_depth, now.ids)


@dataclass(frozen=True, slots=True)
class Sensor:
    """Camera artefacts, constant over a scene."""

    gain: FloatArray
    """(3,) float32, gain of each colour channel."""
    gamma: float
    """Exponent of the tone curve."""
    blur: float
    """Standard deviation of the blur, px."""
    grain: float
    """Standard deviation of the noise, of 0..255."""
    quality: int
    """JPEG quality, 0 for no compression."""

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Sensor:
        """Sample a sensor at random."""
        return cls(
            (rng.uniform(0.8, 1.15) * (1 + rng.normal(0, 0.04, 3))).astype(np.float32),
            float(np.exp(rng.normal(0, 0.2))),
            float(rng.uniform(0, 1.0)) if rng.random() < 0.6 else 0.0,
            float(rng.uniform(0, 5)),
            int(rng.integers(35, 95)) if rng.random() < 0.6 else 0,
        )

    def __call__(self, image: ImageArray, rng: np.random.Generator) -> ImageArray:
        """``image`` (H, W, 3) uint8 as this sensor delivers it. The noise differs at every call."""
        if self.blur > 0.2:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), self.blur), np.uint8)
        levels = (np.arange(256, dtype=np.float32) / 255) ** self.gamma * 255
        table = (levels[:, None] * self.gain).clip(0, 255).astype(np.uint8)[None]
        image = np.asarray(cv2.LUT(image, table), np.uint8)
        if self.grain > 0.3:
            image = _add_grain(image, self.grain, rng)
        if self.quality:
            coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.quality])[1]
            image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
        return image


_GRAIN: Final = np.random.default_rng(0).normal(0, 32, (1024, 1024, 3)).clip(-127, 127).astype(np.int8)


def _add_grain(image: ImageArray, deviation: float, rng: np.random.Generator) -> ImageArray:
    """Add noise cut from a precomputed sheet at a random position: sampling it anew would cost more than rendering."""
    height, width = image.shape[:2]
    sheet = _GRAIN
    if max(height, width) > len(sheet) - 64:
        sheet = np.tile(sheet, (math.ceil(height / 960), math.ceil(width / 960), 1))
    top, left = (int(rng.integers(0, sheet.shape[axis] - image.shape[axis])) for axis in (0, 1))
    noise = np.ascontiguousarray(sheet[top : top + height, left : left + width])
    return np.asarray(cv2.addWeighted(image, 1.0, noise, deviation / 32, 0.0, dtype=cv2.CV_8U), np.uint8)
