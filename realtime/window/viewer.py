"""The Open3D window: the video with the bodies painted on it, or the bodies alone on a floor, to look at from all sides.

Measured with Open3D 0.20 and software OpenGL: its newer renderer needs 130 ms a frame and more without a GPU, the legacy one
26 for a body in 640x480. The video view is one image on a board: the same that recordings show.
"""

from __future__ import annotations

import time
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from common.arrays import DoubleArray, FloatArray, ImageArray
from realtime.draw.floor import SOLE_M, drawn_level
from realtime.draw.mannequin import Mannequin
from realtime.window.overlay import VideoPainter, paint_text, text_blocks, text_lines
from realtime.window.person_geometry import PersonGeometry, line_ends
from realtime.window.shared_memory import Layout, SceneBody, WindowScene
from realtime.window.view_state import ARROW_KEYS, HELP, SENT_KEYS, VIEW_KEYS, WindowState, acts

COMMAND: Final = "command"
"""First part of what the window sends for a key; the second is the command's name."""
DEFAULT_SCREEN: Final = (1600, 900)
"""Width and height, pixels, of a screen that does not say its own."""

_FILLED: Final = 0.85  # of the screen is taken, at most
_MIN_WIDTH: Final = 640  # pixels: a smaller image is enlarged to this width
_BOARD: Final = 40.0  # metres from the eye to the video
_FLOOR: Final = 4.0  # metres of grid around the people
_STEP: Final = 0.5  # metres between its lines
_FOLLOW: Final = 0.15  # part of the way to the people that the free view goes at each scene
_WIDEN: Final = 0.3  # the same while it zooms out
_JUMP: Final = 1.5  # metres: further away it is somebody else, go there at once
# The free view turns round this point, and people stand at it. Open3D measures mouse and zoom by the distance from the
# eye to the middle of the first geometry, in both views: that point must lie in front of the eye, or it shows nothing.
_STAGE: Final = np.array([0, 0, 3.6])
_FITS: Final = 2.5  # metres that fit into the free view's height there
_TEXT_M: Final = 0.2  # metres from the eye: the block of text stands in front of everything
_SQUARE: Final = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])  # corners of a rectangle, and its faces
_FACES: Final = np.array([[0, 2, 1], [0, 3, 2]], np.int32)
_DARK: Final = (0.10, 0.105, 0.12)
_UPSIDE_DOWN: Final = np.diag([1.0, -1.0, -1.0])  # from the world, y up, to Open3D's view of a camera frame, y down
_ALL_KEYS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def window_size(width: int, height: int, screen: tuple[int, int]) -> tuple[int, int]:
    """Width and height of the window for images of ``width`` x ``height`` on a ``screen`` of that size, all in pixels."""
    scale = min(_FILLED * screen[0] / width, _FILLED * screen[1] / height, max(1.0, _MIN_WIDTH / width))
    return max(round(width * scale), 1), max(round(height * scale), 1)


class Window:
    """An Open3D window with two views. The free view is left to the mouse: it does not move the eye but the world."""

    def __init__(
        self,
        looks: tuple[Mannequin, Mannequin],
        layout: Layout,
        title: str,
        link: Connection,
        screen: tuple[int, int] = DEFAULT_SCREEN,
        keys: tuple[str, ...] = HELP,
    ) -> None:
        """``looks``: solid and as lines; ``screen`` (width, height) pixels; ``keys``: the help, and only they change the view.

        Raises ``ImportError``, ``OSError`` or ``RuntimeError`` where no window can be had.
        """
        import open3d  # takes seconds, which the parent process must not spend

        self._o3d: Any = open3d
        open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
        self._link, self._looks = link, looks
        self._painter = VideoPainter(*looks)
        self._edges = line_ends(looks[1])
        self._vis: Any = open3d.visualization.VisualizerWithKeyCallback()
        self._window_size = window_size(layout.width, layout.height, screen)
        if not self._vis.create_window(title, *self._window_size, visible=True):
            raise RuntimeError("no OpenGL window can be created on this display")
        options = self._vis.get_render_option()
        options.background_color = np.array(_DARK)
        options.line_width = 2.0
        self._grid = self._floor()
        self._board, self._text = self._textured(1), self._textured(2)
        # The first geometry sets the scale of mouse and zoom: it must be the floor, not the far board.
        self._vis.add_geometry(self._grid)
        self._vis.remove_geometry(self._grid, reset_bounding_box=False)
        self._vis.add_geometry(self._board, reset_bounding_box=False)
        control = self._vis.get_view_control()
        control.set_constant_z_near(0.05)
        control.set_constant_z_far(3 * _BOARD)
        self._bodies: list[PersonGeometry] = []
        self._drawn = ("", 0)
        self._state = WindowState(keys=keys)
        self._scene: WindowScene | None = None
        self._size = layout.height, layout.width
        self._centre: DoubleArray | None = None
        self._ground, self._scale = 0.0, 1.0
        self._screen_ms = float("nan")
        self._eye = np.eye(4)
        self._register()
        self._aim()

    def alive(self) -> bool:
        """Handle mouse and keys, redraw after them. False once the user has closed the window."""
        if not self._vis.poll_events():
            return False
        if not self._state.video and np.abs(self._extrinsic() - self._eye).max() > 1e-6:  # the mouse has turned it
            self._place_text()
            self._vis.update_renderer()
        return True

    def show(self, scene: WindowScene) -> None:
        """Show a scene."""
        self._scene = scene
        if self._state.video:
            self._show_video(scene)
        else:
            self._show_people(scene)
        self._vis.update_renderer()
        if scene.captured_ns:
            age_ms = (time.monotonic_ns() - scene.captured_ns) * 1e-6
            known = np.isfinite(self._screen_ms)
            self._screen_ms = 0.9 * self._screen_ms + 0.1 * age_ms if known else age_ms

    def close(self) -> None:
        """Take the window off the screen."""
        self._vis.destroy_window()

    # Keys

    def _register(self) -> None:
        for key in _ALL_KEYS:  # Open3D's own would write files into the working folder or change the light
            self._vis.register_key_callback(ord(key), lambda _: False)
        for key, command in SENT_KEYS.items():
            self._vis.register_key_callback(ord(key), self._sender(command))
        for number, command in ARROW_KEYS.items():
            self._vis.register_key_callback(number, self._sender(command))
        for key in VIEW_KEYS:
            if acts(key, self._state.keys):
                self._vis.register_key_callback(ord(key), self._changer(key))

    def _sender(self, command: str) -> Any:
        def send(_: Any) -> bool:
            self._link.send((COMMAND, command))
            return False

        return send

    def _changer(self, key: str) -> Any:
        def change(_: Any) -> bool:
            self.press(key)
            return False

        return change

    def press(self, key: str) -> None:
        """What the view key ``key`` does."""
        scene = self._scene
        before, persons = self._state, tuple(body.person for body in scene.bodies) if scene is not None else ()
        self._state = before.pressed(key, persons)
        if self._state.video != before.video:
            self._switch()
        if self._state.followed != before.followed:
            self._centre = None
        if scene is not None:
            self.show(replace(scene, captured_ns=0))  # also while paused, when no new scene comes

    def _switch(self) -> None:
        free = [self._grid, self._text]
        gone, come = (free, [self._board]) if self._state.video else ([self._board], free)
        for geometry in gone:
            self._vis.remove_geometry(geometry, reset_bounding_box=False)
        self._clear()
        for geometry in come:
            self._vis.add_geometry(geometry, reset_bounding_box=False)
        self._centre = None
        self._aim()

    # Views

    def _aim(self) -> None:
        """Video: so wide that the image fills the window. Free: in front and a little above."""
        control = self._vis.get_view_control()
        now = control.convert_to_pinhole_camera_parameters()
        width, height = now.intrinsic.width, now.intrinsic.height
        extrinsic = np.eye(4)
        if not self._state.video:
            focal = 1.2 * height
            extrinsic[:3, :3] = cv2.Rodrigues(np.array([np.radians(12), 0, 0]))[0]
            extrinsic[:3, 3] = _STAGE - extrinsic[:3, :3] @ _STAGE
        else:
            focal = min(width * self._size[0] / self._size[1], height)  # the board is as high as it is far away
        view = self._o3d.camera.PinholeCameraParameters()
        view.intrinsic = self._o3d.camera.PinholeCameraIntrinsic(
            width, height, focal, focal, width / 2 - 0.5, height / 2 - 0.5
        )
        view.extrinsic = extrinsic
        control.convert_from_pinhole_camera_parameters(view, allow_arbitrary=True)

    def _show_video(self, scene: WindowScene) -> None:
        """Put the annotated image on the board, and the board where it fills the window, whatever camera took it."""
        painted = replace(scene, image=scene.image.copy())
        self._painter.paint(painted, self._state)
        image: ImageArray = painted.image
        if image.shape[1] < self._window_size[0]:  # text is as sharp, and as small, as the window allows
            image = np.asarray(cv2.resize(image, self._window_size, interpolation=cv2.INTER_LINEAR), np.uint8)
        paint_text(image, text_lines(scene, self._state, self._screen_ms))
        height, width = image.shape[:2]
        half = 0.5 * width / height
        edges = np.array([[-half, -0.5, 1], [half, -0.5, 1], [half, 0.5, 1], [-half, 0.5, 1]])
        self._hang(self._board, edges * _BOARD, image)
        self._aim()

    def _show_people(self, scene: WindowScene) -> None:
        turn, shift = np.eye(3), np.zeros(3)
        if scene.world is not None:
            turn, shift = _UPSIDE_DOWN @ scene.world[:3, :3], _UPSIDE_DOWN @ scene.world[:3, 3]
        people = [body for body in scene.bodies if np.isfinite(body.joints).all()]
        joints = {body.person: body.joints @ turn.T + shift for body in people}
        lowest = [float(one[:, 1].max()) + SOLE_M for one in joints.values()]
        floor = drawn_level(lowest) if people and scene.world is not None else None
        self._follow([joints[body.person] for body in self._chosen(people)], floor)
        centre = _STAGE if self._centre is None else self._centre
        self._prepare(len(people))

        def place(points: FloatArray) -> DoubleArray:
            return np.asarray((points @ turn.T + shift - centre) * self._scale + _STAGE, np.float64)

        for body, geometry in zip(people, self._bodies, strict=True):
            geometry.update(body, place)
        offset = np.array([-(centre[0] % _STEP), self._ground - centre[1], -(centre[2] % _STEP)])
        self._grid.points = self._o3d.utility.Vector3dVector((self._lines + offset) * self._scale + _STAGE)
        self._vis.update_geometry(self._grid)
        self._place_text()

    def _chosen(self, people: list[SceneBody]) -> list[SceneBody]:
        return [body for body in people if self._state.followed in (-1, body.person)] or people

    def _follow(self, people: list[DoubleArray], floor: float | None) -> None:
        """Move the smoothed centre, scale and floor towards what shows all of ``people``: joints (24, 3) of each, m, y down.
        ``floor``: where it is drawn, m down; None: where their feet are."""
        if not people:
            return
        low, high = np.min([one.min(0) for one in people], 0), np.max([one.max(0) for one in people], 0)
        centre, size = (low + high) / 2, high - low
        # Smaller than life where a group would not fit: the width of the window, and nobody may stand behind the eye.
        scale = min(1.0, _FITS / (size[1] + 0.4), 1.25 * _FITS / (size[0] + 0.8), 1.25 * _FITS / (size[2] + 0.8))
        ground = float(high[1]) + SOLE_M if floor is None else floor
        if self._centre is None or np.abs(centre - self._centre).max() > _JUMP:
            self._centre, self._ground, self._scale = centre, ground, scale
            return
        wider = scale < self._scale  # somebody came, and is to be whole soon
        self._centre = self._centre + (_WIDEN if wider else _FOLLOW) * (centre - self._centre)
        self._scale += (_WIDEN if wider else 0.5 * _FOLLOW) * (scale - self._scale)
        fast = ground > self._ground or floor is not None  # feet are followed up slowly, because people jump
        self._ground += (ground - self._ground) * (0.3 if fast else 0.02)

    def _prepare(self, count: int) -> None:
        """Have one geometry for each of ``count`` people, of the kind that the mode wants."""
        wanted = (self._state.mode, count)
        if wanted != self._drawn:
            self._clear()
            self._drawn = wanted
            about = self._o3d, self._vis, self._looks[0], self._edges, self._state.mode
            self._bodies = [PersonGeometry(*about) for _ in range(count)]

    def _clear(self) -> None:
        while self._bodies:
            self._bodies.pop().remove()
        self._drawn = ("", 0)

    # Boards

    def _textured(self, count: int) -> Any:
        """``count`` rectangles with one image."""
        faces = np.concatenate([_FACES + 4 * number for number in range(count)])
        board = self._o3d.geometry.TriangleMesh(
            self._o3d.utility.Vector3dVector(np.zeros((4 * count, 3))), self._o3d.utility.Vector3iVector(faces)
        )
        board.triangle_uvs = self._o3d.utility.Vector2dVector(np.tile(_SQUARE, (count, 1))[faces.ravel()])
        board.triangle_material_ids = self._o3d.utility.IntVector([0] * len(faces))
        board.textures = [self._o3d.geometry.Image(np.zeros((2, 2, 3), np.uint8))]
        return board

    def _hang(self, board: Any, corners: DoubleArray, image: NDArray[np.uint8]) -> None:
        """Put ``image`` on a board whose ``corners`` (4, 3), or 4 of each rectangle, go round from its top left."""
        board.vertices = self._o3d.utility.Vector3dVector(np.asarray(corners, np.float64))
        board.textures = [self._o3d.geometry.Image(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))]
        self._vis.update_geometry(board)

    def _extrinsic(self) -> DoubleArray:
        control = self._vis.get_view_control()
        return np.array(control.convert_to_pinhole_camera_parameters().extrinsic)

    def _place_text(self) -> None:
        """Hang the blocks of text in the free view's corner, close to the eye, wherever the mouse has turned it."""
        if self._scene is None:
            return
        now = self._vis.get_view_control().convert_to_pinhole_camera_parameters()
        self._eye = np.array(now.extrinsic)
        lines = text_lines(self._scene, self._state, self._screen_ms)
        blocks = text_blocks(lines, max(now.intrinsic.height / 1100, 0.4)) or [np.zeros((1, 1, 3), np.uint8)]
        image = np.zeros((sum(len(block) for block in blocks), max(block.shape[1] for block in blocks), 3), np.uint8)
        corners, top = np.zeros((8, 2)), 0  # of a block that is not there: one point
        for place, block in enumerate(blocks):
            height, width = block.shape[:2]
            image[top : top + height, :width] = block
            corners[4 * place : 4 * place + 4] = _SQUARE * (width, height) + (0, top)
            top += height
        self._text.triangle_uvs = self._o3d.utility.Vector2dVector(
            (corners / (image.shape[1], top))[np.asarray(self._text.triangles).ravel()]
        )
        focal, middle = now.intrinsic.intrinsic_matrix[0, 0], now.intrinsic.intrinsic_matrix[:2, 2]
        seen = np.concatenate([(corners - 0.5 - middle) / focal, np.ones((8, 1))], 1) * _TEXT_M
        back = np.linalg.inv(self._eye)
        self._hang(self._text, seen @ back[:3, :3].T + back[:3, 3], image)

    def _floor(self) -> Any:
        self._lines = grid_points(round(2 * _FLOOR / _STEP) + 1)
        pairs = np.arange(len(self._lines)).reshape(-1, 2)
        middle = self._lines.reshape(-1, 2, 3).mean(1)
        fade = np.clip(1 - np.hypot(middle[:, 0], middle[:, 2]) / _FLOOR, 0, 1)[:, None]
        grid = self._o3d.geometry.LineSet(
            self._o3d.utility.Vector3dVector(self._lines + _STAGE), self._o3d.utility.Vector2iVector(pairs)
        )
        grid.colors = self._o3d.utility.Vector3dVector(np.array(_DARK) + fade * np.array([0.30, 0.33, 0.36]))
        return grid


def grid_points(count: int) -> DoubleArray:
    """(N, 3): ends, two by two, of the pieces of a square grid in the plane y = 0. Each piece has one colour."""
    steps = np.linspace(-_FLOOR, _FLOOR, count)
    first, last = steps[:-1], steps[1:]
    pieces = []
    for across in steps:
        level = np.zeros_like(first)
        side = np.full_like(first, across)
        pieces.append(np.stack([np.stack([side, level, first], 1), np.stack([side, level, last], 1)], 1))
        pieces.append(np.stack([np.stack([first, level, side], 1), np.stack([last, level, side], 1)], 1))
    return np.concatenate(pieces).reshape(-1, 3)
