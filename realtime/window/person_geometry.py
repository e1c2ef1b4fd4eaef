"""One person in the free view of the Open3D window: as a surface, as lines, or as bones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from body.joints import PARENTS
from body.suit.parts import colour_of
from common.arrays import AnyIntArray, DoubleArray, FloatArray, Int32Array
from realtime.draw.loading import kernels
from realtime.draw.mannequin import Mannequin
from realtime.window.shared_memory import SceneBody
from realtime.window.view_state import Mode

Place = Callable[[FloatArray], DoubleArray]
"""Takes points (N, 3) from the camera frame to Open3D's."""

_INSIDE_M: Final = 0.003  # so far under the lines lies the surface that hides those behind it
_SURFACE: Final = 0.16  # of the light of the lines
_BONE_M, _JOINT_M = 0.022, 0.026  # half of the width of a bone and of a joint
_BONE: Final = np.array(
    [[0, 2, 1], [0, 3, 2], [0, 4, 3], [0, 1, 4], [5, 1, 2], [5, 2, 3], [5, 3, 4], [5, 4, 1]], np.int32
)
_ENDS: Final = np.array([(parent, joint) for joint, parent in enumerate(PARENTS) if parent >= 0])


class PersonGeometry:
    """What stands for one person. `update` it for each scene; `remove` it at the end."""

    def __init__(self, o3d: Any, vis: Any, look: Mannequin, lines: Int32Array, mode: Mode) -> None:
        """``o3d``: the module; ``vis``: its visualizer; ``look`` of the surface; ``lines`` (N, 2) vertices of a wire frame."""
        self._o3d, self._vis, self._look, self._lines, self._mode = o3d, vis, look, lines, mode
        self._shown: dict[str, Any] = {}

    def update(self, body: SceneBody, place: Place) -> None:
        """Show ``body``."""
        if self._mode == "solid":
            _, lit = _light(body.vertices, self._look.faces, self._look.colours(body.person))
            self._show_surface(place(body.vertices), self._look.faces, lit)
        elif self._mode == "wire":
            normals, lit = _light(body.vertices, self._look.faces, _hue(body))
            self._show_surface(place(body.vertices - np.float32(_INSIDE_M) * normals), self._look.faces, _SURFACE * lit)
            self._show_lines(place(body.vertices), lit)
        elif self._mode == "skeleton":
            points, faces = bones(body.joints)
            _, lit = _light(points, faces, _hue(body))
            self._show_surface(place(points), faces, lit)

    def remove(self) -> None:
        """Take it off the screen."""
        while self._shown:
            _, geometry = self._shown.popitem()
            self._vis.remove_geometry(geometry, reset_bounding_box=False)

    def _show_surface(self, points: DoubleArray, faces: AnyIntArray, colours: FloatArray) -> None:
        geometry = self._shown.get("surface")
        if fresh := geometry is None:
            # Without normals, on purpose: Open3D then leaves the colours alone, which are lit as in the video view.
            geometry = self._o3d.geometry.TriangleMesh()
            geometry.triangles = self._o3d.utility.Vector3iVector(np.ascontiguousarray(faces, np.int32))
        geometry.vertices = self._vectors(points)
        geometry.vertex_colors = self._colours(colours)
        self._put("surface", geometry, fresh)

    def _show_lines(self, points: DoubleArray, colours: FloatArray) -> None:
        geometry = self._shown.get("lines")
        if fresh := geometry is None:
            geometry = self._o3d.geometry.LineSet()
            geometry.lines = self._o3d.utility.Vector2iVector(self._lines)
        geometry.points = self._vectors(points)
        geometry.colors = self._colours(colours[self._lines[:, 0]])
        self._put("lines", geometry, fresh)

    def _put(self, name: str, geometry: Any, fresh: bool) -> None:
        self._shown[name] = geometry
        if fresh:
            self._vis.add_geometry(geometry, reset_bounding_box=False)
        else:
            self._vis.update_geometry(geometry)

    def _vectors(self, points: DoubleArray) -> Any:
        return self._o3d.utility.Vector3dVector(np.ascontiguousarray(points, np.float64))

    def _colours(self, colours: FloatArray) -> Any:
        """From BGR 0..255 to what Open3D takes."""
        return self._o3d.utility.Vector3dVector((colours / 255).clip(0, 1)[:, ::-1].astype(np.float64))


def bones(joints: FloatArray) -> tuple[FloatArray, Int32Array]:
    """Vertices (N, 3) and faces (M, 3) of a solid skeleton: a long octahedron for each bone, thickest near the parent, and a
    small one for each of ``joints`` (24, 3), metres."""
    start, end = joints[_ENDS[:, 0]], joints[_ENDS[:, 1]]
    centre = np.concatenate([start + 0.2 * (end - start), joints])
    along = np.concatenate([end - start, np.broadcast_to([0, 1, 0], joints.shape)])
    length = np.linalg.norm(along, axis=1, keepdims=True)
    along = along / np.maximum(length, 1e-6)
    helper = np.where(np.abs(along[:, 2:]) < 0.9, [[0, 0, 1]], [[1, 0, 0]])
    across = np.cross(along, helper)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    third = np.cross(along, across)
    is_joint = np.arange(len(centre)) >= len(start)
    half = np.where(is_joint[:, None], _JOINT_M, np.minimum(_BONE_M, 0.2 * length))
    up = np.array([0, _JOINT_M, 0])
    tips = np.concatenate([start, joints - up]), np.concatenate([end, joints + up])
    ring = [centre + half * way for way in (across, third, -across, -third)]
    points = np.stack([tips[0], *ring, tips[1]], 1)
    faces = _BONE[None] + 6 * np.arange(len(points), dtype=np.int32)[:, None, None]
    return np.ascontiguousarray(points.reshape(-1, 3), np.float32), faces.reshape(-1, 3)


def line_ends(look: Mannequin) -> Int32Array:
    """(N, 2) vertices at the ends of each line of a wire frame."""
    faces = np.asarray(look.faces, np.int64)
    edges = np.ones(faces.shape, np.uint8) if look.edges is None else look.edges
    ends = [faces[edges[:, corner] > 0][:, [(corner + 1) % 3, (corner + 2) % 3]] for corner in range(3)]
    return np.unique(np.sort(np.concatenate(ends), 1), axis=0).astype(np.int32)


def _light(vertices: FloatArray, faces: AnyIntArray, colours: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Normals (V, 3) and lit colours (V, 3) BGR 0..255, as the video view lights them."""
    vertices = np.ascontiguousarray(vertices, np.float32)
    normals, lit = np.empty_like(vertices), np.empty_like(vertices)
    colours = np.atleast_2d(colours).astype(np.float32)
    kernels().light(vertices, np.ascontiguousarray(faces, np.int32), colours, normals, lit)
    return normals, lit


def _hue(body: SceneBody) -> FloatArray:
    """(1, 3) float32 BGR: the colour of a person, lighter, for lines and bones."""
    colour = np.array([colour_of(body.person)], np.float32)
    return np.asarray(colour + np.float32(0.3) * (255 - colour), np.float32)
