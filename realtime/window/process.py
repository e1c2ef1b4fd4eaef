"""The window's own process: Open3D's loop, fed through shared memory.

Open3D holds Python's global lock while it draws and would starve the pipeline's threads, so it lives here, alone.

Measured with Open3D 0.20 and software OpenGL: its newer renderer needs 130 ms a frame and
more without a GPU, the legacy one 26 for a body in 640x480; the video as the texture of a board far behind the people
adds 12 ms. Its 2D image would be cheaper, but Open3D draws it over the bodies. Both views are therefore 3D scenes.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from common.camera import Camera
from realtime.draw.painter import text_line
from realtime.draw.suit import colour_of
from realtime.window.shared_memory import Layout, SceneMemory, WindowScene

if TYPE_CHECKING:
    from multiprocessing.synchronize import Semaphore

READY: Final = "ready"
FAILED: Final = "failed"
COMMAND: Final = "command"

KEYS: Final[dict[str, str]] = {"Q": "q", " ": "space", "R": "r", "S": "s"}
"""Keys that are sent to the pipeline, and their names in its events. ``V`` is the window's own: video or free view."""

PAUSE_S: Final = 0.02
"""The loop handles mouse, keys and closing at least this often, with or without a new scene."""

_BOARD: Final = 40.0  # metres: the video hangs this far away, behind everybody
_FLOOR: Final = 4.0  # metres of grid around the person
_STEP: Final = 0.5  # metres between its lines
_FOLLOW: Final = np.float32(0.15)  # part of the way to the person that the free view goes at each scene
_JUMP: Final = 1.5  # metres: further away it is another person, go there at once
# The free view turns round this point, and people stand at it. Open3D measures mouse and zoom by the distance from the
# eye to the middle of the first geometry, in both views: that point must lie in front of the eye, or it shows nothing.
_STAGE: Final = np.array([0, 0, 3.6], np.float32)
_DARK: Final = (0.10, 0.105, 0.12)
_UNUSED_KEYS: Final = "PDO"  # Open3D would write screenshots and cameras into the working folder


def advice(error: BaseException) -> str:
    """One line that says why there is no window and what to do."""
    text = " ".join(str(error).split()) or type(error).__name__
    if "libusb" in text:
        return "Open3D cannot open a window (libusb-1.0.so.0 missing): apt install libusb-1.0-0, or use --view none"
    if isinstance(error, ModuleNotFoundError):
        return f"Open3D cannot open a window ({text}): pip install open3d, or use --view none"
    if ".so" in text and "cannot open shared object" in text:
        return (
            f"Open3D cannot open a window ({text}): install that library (apt install libgl1 libegl1 libx11-6 libgomp1),"
            " or use --view none"
        )
    return f"Open3D cannot open a window ({text}): use --view none"


def run(
    memory_name: str,
    layout: Layout,
    camera: Camera,
    faces: NDArray[np.int32],
    title: str,
    wake: Semaphore,
    link: Connection,
) -> None:
    """The process: open the window, show scenes until it or the ``link`` to the parent is closed.

    Sends ``(READY, "")`` or ``(FAILED, one line)`` first, then ``(COMMAND, name)`` for keys. ``wake`` is released by
    the parent for each scene in the memory called ``memory_name``.
    """
    # Ctrl-C goes to all processes of the terminal; the parent decides when this one ends, so that it ends in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    if hasattr(os, "nice"):
        os.nice(5)  # where the CPU draws, the pipeline goes first: the window can skip scenes, the pipeline cannot
    try:
        if sys.platform.startswith("linux"):
            _find_display()
        window = Window(faces, layout, camera, title, link)
    except BaseException as error:
        link.send((FAILED, advice(error)))
        return
    memory = SceneMemory(layout, memory_name)
    try:
        link.send((READY, ""))
        _show(window, memory, wake, link)
    except (BrokenPipeError, EOFError, ConnectionResetError):
        pass  # the parent is gone
    finally:
        memory.close()
        window.close()


def _find_display() -> None:
    """Raise ``RuntimeError`` where there is no screen: Open3D would draw all the same, where nobody can see it."""
    if os.environ.get("WAYLAND_DISPLAY"):
        return
    name = os.environ.get("DISPLAY")
    if not name:
        raise RuntimeError("there is no display")
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    display = x11.XOpenDisplay(None)
    if not display:
        raise RuntimeError(f"the display {name} does not answer")
    x11.XCloseDisplay(ctypes.c_void_p(display))


def _show(window: Window, memory: SceneMemory, wake: Semaphore, link: Connection) -> None:
    seen = 0
    while window.alive():
        if wake.acquire(timeout=PAUSE_S):
            while wake.acquire(False):
                pass  # several scenes came while the last was drawn: only the newest is read
        if link.poll():
            link.recv()  # the parent only ever closes its end, or asks to stop
            return
        scene = memory.read(seen)
        if scene is not None:
            seen = scene.number
            window.show(scene)


class Window:
    """An Open3D window with two views: the video with the bodies on it, and a free view that follows the person.

    The free view is left to the mouse: it does not move the eye but the world, keeping the person in one place.
    """

    def __init__(self, faces: NDArray[np.int32], layout: Layout, camera: Camera, title: str, link: Connection) -> None:
        """``faces`` (F, 3), ``camera`` in pixels of the layout's images until a scene brings its own.

        Raises ``ImportError``, ``OSError`` or ``RuntimeError`` where no window can be had.
        """
        import open3d  # late: seconds, and the parent process must never pay for it

        self._o3d: Any = open3d
        open3d.utility.set_verbosity_level(open3d.utility.VerbosityLevel.Error)
        self._link = link
        self._faces = open3d.utility.Vector3iVector(np.asarray(faces, np.int32))
        self._vis: Any = open3d.visualization.VisualizerWithKeyCallback()
        if not self._vis.create_window(title, layout.width, layout.height, visible=True):
            raise RuntimeError("no OpenGL window can be created on this display")
        options = self._vis.get_render_option()
        options.mesh_shade_option = open3d.visualization.MeshShadeOption.Color  # smooth: the default shows triangles
        options.background_color = np.array(_DARK)
        self._grid = self._floor()
        self._board = self._video_board()
        # The first geometry sets the scale of mouse and zoom: it must be the floor, not the far board.
        self._vis.add_geometry(self._grid)
        self._vis.remove_geometry(self._grid, reset_bounding_box=False)
        self._vis.add_geometry(self._board, reset_bounding_box=False)
        control = self._vis.get_view_control()
        control.set_constant_z_near(0.05)
        control.set_constant_z_far(3 * _BOARD)
        self._bodies: list[tuple[int, Any]] = []
        self._video = True
        self._scene: WindowScene | None = None
        self._size = layout.height, layout.width
        self._camera = camera
        self._centre: NDArray[np.float32] | None = None
        self._ground = np.float32(0)
        for key, command in KEYS.items():
            self._vis.register_key_callback(ord(key), self._sender(command))
        for key in _UNUSED_KEYS:
            self._vis.register_key_callback(ord(key), lambda _: False)
        self._vis.register_key_callback(ord("V"), self._toggle)
        self._aim()

    def alive(self) -> bool:
        """Handle mouse and keys, redraw after them. False once the user has closed the window."""
        return bool(self._vis.poll_events())

    def show(self, scene: WindowScene) -> None:
        """Show a scene."""
        self._scene, self._camera = scene, scene.camera
        self._follow(scene)
        shift = np.zeros(3, np.float32) if self._video or self._centre is None else self._centre - _STAGE
        self._pose(scene, shift)
        if self._video:
            self._hang(scene)
            self._aim()
        elif self._centre is not None:
            self._lay(self._centre)
        self._vis.update_renderer()

    def close(self) -> None:
        """Take the window off the screen."""
        self._vis.destroy_window()

    def _sender(self, command: str) -> Any:
        def send(_: Any) -> bool:
            self._link.send((COMMAND, command))
            return False

        return send

    def _toggle(self, _: Any) -> bool:
        self._video = not self._video
        gone, come = (self._grid, self._board) if self._video else (self._board, self._grid)
        self._vis.remove_geometry(gone, reset_bounding_box=False)
        self._vis.add_geometry(come, reset_bounding_box=False)
        self._aim()
        if self._scene is not None:
            self.show(self._scene)  # also while paused, when no new scene comes
        return False

    def _aim(self) -> None:
        """Video: the camera's own view, so wide that the image fills the window. Free: in front and a little above.

        Bodies lie on the video by construction, since both hang in the camera's own frame; the focal length only
        decides how much of it the window shows. So Open3D's centred, square-pixel camera does for any intrinsics.
        """
        control = self._vis.get_view_control()
        now = control.convert_to_pinhole_camera_parameters()
        width, height = now.intrinsic.width, now.intrinsic.height
        extrinsic = np.eye(4)
        if not self._video:
            focal = 1.2 * height
            tilt = np.radians(12)
            extrinsic[:3, :3] = cv2.Rodrigues(np.array([tilt, 0, 0]))[0]
            extrinsic[:3, 3] = _STAGE - extrinsic[:3, :3] @ _STAGE
        else:
            focal = min(self._camera.fx * width / self._size[1], self._camera.fy * height / self._size[0])
        view = self._o3d.camera.PinholeCameraParameters()
        view.intrinsic = self._o3d.camera.PinholeCameraIntrinsic(
            width, height, focal, focal, width / 2 - 0.5, height / 2 - 0.5
        )
        view.extrinsic = extrinsic
        control.convert_from_pinhole_camera_parameters(view, allow_arbitrary=True)

    def _follow(self, scene: WindowScene) -> None:
        """Move the smoothed pelvis and floor towards those of the first person."""
        if not scene.bodies or not np.isfinite(scene.bodies[0][2]).all():
            return
        _, pelvis, vertices = scene.bodies[0]
        ground = np.float32(vertices[:, 1].max())
        if self._centre is None or np.abs(pelvis - self._centre).max() > _JUMP:
            self._centre, self._ground = pelvis.copy(), ground
            return
        self._centre += _FOLLOW * (pelvis - self._centre)
        self._ground += (ground - self._ground) * np.float32(0.3 if ground > self._ground else 0.02)

    def _pose(self, scene: WindowScene, shift: NDArray[np.float32]) -> None:
        """Bring the meshes to the scene's people: colours are set when a person comes, vertices every time."""
        while len(self._bodies) > len(scene.bodies):
            self._vis.remove_geometry(self._bodies.pop()[1], reset_bounding_box=False)
        for index, (person, _, vertices) in enumerate(scene.bodies):
            fresh = index == len(self._bodies)
            if fresh:
                self._bodies.append((-1, self._o3d.geometry.TriangleMesh()))
            known, mesh = self._bodies[index]
            mesh.vertices = self._o3d.utility.Vector3dVector((vertices - shift).astype(np.float64))
            if fresh:
                mesh.triangles = self._faces
            mesh.compute_vertex_normals()
            if known != person:
                mesh.paint_uniform_color(np.array(colour_of(person)[::-1]) / 255)
                self._bodies[index] = person, mesh
            if fresh:
                self._vis.add_geometry(mesh, reset_bounding_box=False)
            else:
                self._vis.update_geometry(mesh)

    def _video_board(self) -> Any:
        # Without normals, on purpose: Open3D then leaves the image's colours alone, and would light them otherwise.
        board = self._o3d.geometry.TriangleMesh(
            self._o3d.utility.Vector3dVector(np.zeros((4, 3))),
            self._o3d.utility.Vector3iVector(np.array([[0, 2, 1], [0, 3, 2]], np.int32)),
        )
        corners = np.array([[0, 0], [1, 1], [1, 0], [0, 0], [0, 1], [1, 1]], np.float64)
        board.triangle_uvs = self._o3d.utility.Vector2dVector(corners)
        board.triangle_material_ids = self._o3d.utility.IntVector([0, 0])
        board.textures = [self._o3d.geometry.Image(np.zeros((2, 2, 3), np.uint8))]
        return board

    def _hang(self, scene: WindowScene) -> None:
        """Put the scene's image on the board, and the board where it fills the camera's view."""
        image = scene.image  # a copy: it may be written on
        if scene.text:
            text_line(image, scene.text)
        height, width = image.shape[:2]
        edges = np.array([[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]])
        self._board.vertices = self._o3d.utility.Vector3dVector(scene.camera.rays(edges) * _BOARD)
        self._board.textures = [self._o3d.geometry.Image(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))]
        self._vis.update_geometry(self._board)

    def _floor(self) -> Any:
        count = round(2 * _FLOOR / _STEP) + 1
        self._lines = _grid_points(count)
        pairs = np.arange(len(self._lines)).reshape(-1, 2)
        middle = self._lines.reshape(-1, 2, 3).mean(1)
        fade = np.clip(1 - np.hypot(middle[:, 0], middle[:, 2]) / _FLOOR, 0, 1)[:, None]
        grid = self._o3d.geometry.LineSet(
            self._o3d.utility.Vector3dVector(self._lines + _STAGE), self._o3d.utility.Vector2iVector(pairs)
        )
        grid.colors = self._o3d.utility.Vector3dVector(np.array(_DARK) + fade * np.array([0.30, 0.33, 0.36]))
        return grid

    def _lay(self, centre: NDArray[np.float32]) -> None:
        """Put the floor under the feet; its lines do not move in the world, so that walking can be seen."""
        offset = np.array([-(centre[0] % _STEP), self._ground - centre[1], -(centre[2] % _STEP)])
        self._grid.points = self._o3d.utility.Vector3dVector(self._lines + _STAGE + offset)
        self._vis.update_geometry(self._grid)


def _grid_points(count: int) -> NDArray[np.float64]:
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
