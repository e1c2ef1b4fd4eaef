"""The people seen from the side, on a floor grid, by a virtual camera that follows them.

It shows depth, which a single camera estimates worst and which the overlay hides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from common.arrays import DoubleArray, FloatArray, ImageArray
from common.camera import Camera
from realtime.draw.birds_eye import BirdsEye
from realtime.draw.floor import BELOW, drawn_level
from realtime.draw.framing import Framing
from realtime.draw.loading import kernels
from realtime.draw.mannequin import Mannequin
from realtime.draw.raster import Rasteriser
from realtime.records import BodyEstimate, WorldFrame

_DISTANCE: Final = 5.0
"""Metres from the virtual camera to the person it shows, if nobody stands in between."""
BEHIND: Final = 4.0
"""If somebody stands nearer to it, it moves back to this many times their distance from the person it shows, and zooms in."""
SPAN: Final = 2.5
"""Metres that fit into the panel's height at that distance."""
GRID: Final = 0.5
"""Metres between the lines of the floor."""

_PITCH: Final = math.radians(9)  # looks down a little, so that the floor is visible
_REACH: Final = 3.0  # metres of floor around the person
_PIECES: Final = 12  # segments of a line of the floor, each of one brightness
_LEVELS: Final = 6  # number of brightness levels
_PELVIS_HEIGHT: Final = 0.95  # metres over the floor of the virtual camera's target
_NOT_INSIDE: Final = 1.0  # least distance of the virtual camera from everybody, metres
_FALL: Final = 3.0  # metres: of somebody who is less far over the floor the shadow is in the panel, too
_JUMP: Final = 1.0  # metres: after a larger move between two images the camera jumps instead of panning
_PAN: Final = np.float32(0.12)  # share of the way to the person that the virtual camera moves in each image
_SINK: Final = 0.3
_RISE: Final = 0.02  # shares of the way: the floor follows feet down fast and up slowly, because people jump
_MAP, _MAP_EDGE = 0.28, 6  # side of the map over the panel's shorter side, and its distance from the corner, px
_SHADOW: Final = 4  # the shadow is drawn at this part of the panel's size
_BLUR: Final = 2.0  # its blur, standard deviation in pixels of that size
_BLUR_REACH: Final = 8  # pixels of that size by which the blur goes beyond the body
_DARKEST: Final = 0.6  # part of the floor's light that a shadow takes away


class SideView:
    """Paints one panel. Keeps its target from frame to frame; one thread at a time may use it.

    If the world frame is known, people stand upright on its floor, and a map of their paths is in the corner. If not, the
    image's vertical is used. The virtual camera stands on the real camera's right and looks to its left, so
    what is far away is on the right of the panel.
    """

    def __init__(
        self, mannequin: Mannequin, height: int, width: int, *, front: bool = False, camera: bool = True
    ) -> None:
        """``mannequin``: how bodies look; ``height`` and ``width`` of the panel, pixels. ``front``: where the world is known,
        look from where the camera first stood instead. ``camera``: whether one took the motion, which the map shows."""
        self._mannequin = mannequin
        self._front = front
        self._raster = Rasteriser(mannequin.faces)
        self._height, self._width = height, width
        self._distance = _DISTANCE
        sine, cosine = math.sin(_PITCH), math.cos(_PITCH)
        quarter = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]])
        tilt = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
        self._rotation = (tilt @ quarter).astype(np.float32)
        self._ground = _ground(height, width)
        self._target = np.zeros(3, np.float32)
        self._looking = False
        self._framing = Framing(height, width, SPAN)
        self._map = BirdsEye(camera=camera)
        self._world: WorldFrame | None = None

    def paint(self, image: ImageArray, people: Sequence[BodyEstimate], world: WorldFrame | None = None) -> None:
        """Paint the panel over all of ``image`` (height, width, 3) uint8 BGR. It shows all ``people``, and the place where
        they were while there is nobody. ``people`` are in the camera frame; ``world`` says where that is.

        Raises ``ValueError`` when ``image`` is not of the panel's size.
        """
        if image.shape != self._ground.shape:
            raise ValueError(f"the panel is {self._ground.shape}, the image {image.shape}")
        image[...] = self._ground
        seen = people
        around = _from_the_front(world) if world is not None and self._front else world
        if (around is None) != (self._world is None):
            self._looking = False
        if around is not None:
            if self._world is not None and around.shot == self._world.shot and not around.camera_turned:
                self._target = _carried(self._target, self._world, around)
            people = [_levelled(body, around) for body in people]
        self._world = around
        side = 0 if world is None else round(_MAP * min(image.shape[:2]))
        if people:
            self._follow(people, side + 2 * _MAP_EDGE if side else 0)
        if not self._looking:
            return
        self._floor(image)
        if world is not None:  # before the people, who would be darkened by it
            self._map.paint(image[_MAP_EDGE : _MAP_EDGE + side, -side - _MAP_EDGE : -_MAP_EDGE], seen, world)
        self._raster.begin(*image.shape[:2])
        for body in people:
            self._shadow(image, body.vertices)
            self._raster.add(self._turned(body.vertices), self._camera(), *self._looks(body.person))
        self._raster.blend(image, 1.0, 0.45)

    def _looks(self, person: int) -> tuple[FloatArray, NDArray[np.uint8] | None]:
        return self._mannequin.colours(person), self._mannequin.edges

    def _follow(self, people: Sequence[BodyEstimate], corner: int) -> None:
        """Look at ``people``, and show them beside the map in the ``corner`` of so many pixels."""
        body = people[0]
        floor = self._level([float(one.vertices[:, 1].max()) for one in people])
        middle = self._middle(np.array([one.transl for one in people], np.float64))
        wanted = np.array([body.transl[0], floor - _PELVIS_HEIGHT, middle], np.float32)
        if not np.isfinite(wanted).all():
            return
        jump = not self._looking or bool(np.abs(wanted - self._target).max() > _JUMP)
        if jump:
            self._target, self._looking = wanted, True
        else:
            step = wanted - self._target
            self._target = self._target + step * np.array([_PAN, _SINK if step[1] > 0 else _RISE, _PAN], np.float32)
        self._make_room(people)
        self._framing.follow({one.person: self._seen(self._outline(one.vertices)) for one in people}, corner, jump)

    def _outline(self, vertices: FloatArray) -> FloatArray:
        """Points (N, 3) that are to be in the panel: the body, and under somebody in the air the shadow."""
        points, floor = vertices[::7], self._target[1] + np.float32(_PELVIS_HEIGHT)
        if 0.0 < floor - float(points[:, 1].max()) < _FALL:
            shadow = points.copy()
            shadow[:, 1] = floor
            points = np.concatenate([points, shadow])
        return points

    def _middle(self, places: DoubleArray) -> float:
        """How far away the middle between people at ``places`` (N, 3) is: perspective takes whoever is nearer to the virtual
        camera farther from the middle."""
        nearer, away = places[:, 0] - places[0, 0], places[:, 2]
        scale = self._distance / np.maximum(self._distance - nearer, _NOT_INSIDE)
        seen = scale * (away - (away.min() + away.max()) / 2)
        ends = [int(seen.argmin()), int(seen.argmax())]
        return float((scale[ends] * away[ends]).sum() / scale[ends].sum())  # both ends look as far from it

    def _level(self, lowest: Sequence[float]) -> float:
        """Where the floor is drawn, m down, for people with these lowest points."""
        if self._world is None:
            return lowest[0]
        return drawn_level(lowest)

    def _seen(self, points: FloatArray) -> FloatArray:
        """``points`` (N, 3) in the image plane (N, 2): metres to the right of and below the target, at its distance."""
        turned = self._turned(points)
        away = np.maximum(turned[:, 2:], np.float32(_NOT_INSIDE))
        return np.asarray(turned[:, :2] * np.float32(self._distance) / away, np.float32)

    def _make_room(self, people: Sequence[BodyEstimate]) -> None:
        nearer = max(float(body.transl[0]) for body in people) - float(self._target[0])
        if math.isfinite(nearer):
            step = float(_PAN) * (max(_DISTANCE, BEHIND * nearer) - self._distance)
            self._distance = max(self._distance + step, nearer + _NOT_INSIDE)

    def _camera(self) -> Camera:
        focal = self._framing.view.scale * self._distance
        x, y = self._framing.pixels(np.zeros((1, 2), np.float32))[0].tolist()
        return Camera(focal, focal, x - 0.5, y - 0.5)

    def _turned(self, points: FloatArray) -> FloatArray:
        """``points`` (N, 3) of the real camera's frame, in the virtual camera's."""
        shift = np.array([0, 0, self._distance], np.float32) - self._rotation @ self._target
        return _moved(points, self._rotation, shift)

    def _pixels(self, points: FloatArray) -> FloatArray:
        """``points`` (N, 3) of the real camera's frame, in pixels of the panel (N, 2)."""
        pixels = self._camera().project_clamped(self._turned(points))
        return np.asarray(np.clip(pixels, -4000, 4000), np.float32)

    def _floor(self, image: ImageArray) -> None:
        x, y, z = self._target.tolist()
        # The lines do not move in the world, so that walking can be seen.
        first, last = _FLOOR_LINES + np.array([round(x / GRID) * GRID, y + _PELVIS_HEIGHT, round(z / GRID) * GRID])
        middle = (first + last) / 2
        away = np.hypot(middle[:, 0] - x, middle[:, 2] - z) / _REACH
        level = np.floor(np.clip(1 - away, 0, 0.999) * _LEVELS).astype(int)
        lines = np.round(np.stack([self._pixels(first), self._pixels(last)], 1) * 16).astype(np.int32)
        for bright in range(1, _LEVELS):
            some = lines[level == bright]
            strength = bright / (_LEVELS - 1)
            colour = (46 + 62 * strength, 42 + 56 * strength, 40 + 48 * strength)
            cv2.polylines(image, list(some), False, colour, 1, cv2.LINE_AA, 4)

    def _shadow(self, image: ImageArray, vertices: FloatArray) -> None:
        height, width = image.shape[:2]
        fallen = vertices[::3].copy()
        floor = float(self._target[1]) + _PELVIS_HEIGHT
        lowest = float(vertices[:, 1].max())
        fallen[:, 1] = lowest if lowest > floor + BELOW else floor  # on the floor that they stand on
        spots = np.round(self._pixels(fallen) / _SHADOW).astype(np.int32)
        panel = np.array([-(-width // _SHADOW), -(-height // _SHADOW)])
        spots = spots[((spots >= 0) & (spots < panel)).all(1)]
        if not len(spots):
            return
        low = np.maximum(spots.min(0) - _BLUR_REACH, 0)  # only around the body
        across, down = (np.minimum(spots.max(0) + _BLUR_REACH + 1, panel) - low).tolist()
        left, top = low.tolist()
        small = np.zeros((down, across), np.uint8)
        small[spots[:, 1] - top, spots[:, 0] - left] = 255
        small = cv2.GaussianBlur(cv2.dilate(small, np.ones((3, 3), np.uint8)), (0, 0), _BLUR)
        patch = image[top * _SHADOW : (top + down) * _SHADOW, left * _SHADOW : (left + across) * _SHADOW]
        size = (across * _SHADOW, down * _SHADOW)
        light = cv2.convertScaleAbs(small, alpha=-_DARKEST, beta=255)
        light = cv2.resize(light, size, interpolation=cv2.INTER_LINEAR)[: patch.shape[0], : patch.shape[1]]
        cv2.multiply(patch, cv2.merge([light, light, light]), dst=patch, scale=1 / 255)


def _levelled(body: BodyEstimate, world: WorldFrame) -> BodyEstimate:
    """``body`` in the world's frame, but x right, y down and z away from the camera, the floor at y = 0."""
    level = np.array([1.0, -1.0, -1.0], np.float32)
    turn, shift = level[:, None] * world.world_from_camera[:3, :3], level * world.world_from_camera[:3, 3]
    return replace(body, transl=turn @ body.transl + shift, vertices=_moved(body.vertices, turn, shift))


def _carried(point: FloatArray, before: WorldFrame, now: WorldFrame) -> FloatArray:
    """The levelled ``point`` (3,) of the world of ``before``, in that of ``now``: both are of one still camera."""
    if (before.world_from_camera == now.world_from_camera).all():
        return point
    level = np.array([1.0, -1.0, -1.0])
    turn = now.world_from_camera.astype(np.float64) @ np.linalg.inv(before.world_from_camera.astype(np.float64))
    return np.asarray(level * (turn[:3, :3] @ (level * point) + turn[:3, 3]), np.float32)


def _moved(points: FloatArray, rotation: FloatArray, shift: FloatArray) -> FloatArray:
    """``points`` (N, 3) turned by ``rotation`` (3, 3), then moved by ``shift`` (3,); several times as quick as numpy's."""
    moved = np.empty(points.shape, np.float32)
    own = (np.ascontiguousarray(part, np.float32) for part in (points, rotation, shift))
    kernels().move(*own, moved)
    return moved


def _from_the_front(world: WorldFrame) -> WorldFrame:
    """``world`` turned by a quarter about the vertical, so that a view of it from the side is one from the front."""
    quarter = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]], np.float32)
    return replace(world, world_from_camera=quarter @ world.world_from_camera)


def _ground(height: int, width: int) -> ImageArray:
    """A dark plain ground, a little lighter in the middle."""
    y, x = np.mgrid[-1 : 1 : complex(0, height), -1 : 1 : complex(0, width)]
    glow = np.clip(1 - 0.55 * x**2 - 0.7 * (y - 0.1) ** 2, 0, 1)[..., None]
    noise = np.random.default_rng(0).uniform(0, 1, (height, width, 1))  # noise hides the bands of so slow a gradient
    return np.asarray(np.array([30, 26, 24]) + glow * np.array([30, 27, 24]) + noise, np.uint8)


def _floor_lines() -> FloatArray:
    """(2, N, 3): first and last points of the pieces of the floor's lines around the origin, m."""
    steps = np.arange(round(2 * _REACH / GRID) + 1) * GRID - _REACH
    along = np.linspace(-_REACH, _REACH, _PIECES + 1)
    ends = []
    for edge in (along[:-1], along[1:]):
        across, run = (grid.ravel() for grid in np.meshgrid(steps, edge, indexing="ij"))
        flat = np.zeros_like(across)
        ends.append(np.concatenate([np.stack([across, flat, run], 1), np.stack([run, flat, across], 1)]))
    return np.asarray(np.stack(ends), np.float32)


_FLOOR_LINES: Final = _floor_lines()
