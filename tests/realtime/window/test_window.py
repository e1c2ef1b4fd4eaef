"""The window without a screen: the shared memory, a process that fails or dies; and the real one where there is a screen."""

from __future__ import annotations

import gc
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.arrays import FloatArray
from common.camera import Camera
from common.errors import UserError
from realtime.draw.mannequin import Mannequin
from realtime.draw.painter import Figures
from realtime.window.controller import MeshWindow
from realtime.window.process import FAILED, LAYOUT, READY, advice
from realtime.window.shared_memory import Layout, SceneBody, SceneMemory, WindowScene
from realtime.window.viewer import COMMAND, grid_points, window_size
from tests.realtime.shapes import CAMERA, HEIGHT, WIDTH, person, result, sphere

BALL, FACES = sphere((0, 0, 2), 0.35, rings=12)
LOOK = Mannequin(FACES)
IMAGE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
PATIENCE_S = 20.0


def scene_body(number: int, vertices: FloatArray) -> SceneBody:
    joints, keypoints = np.full((24, 3), number, np.float32), np.full((17, 3), -number, np.float32)
    return SceneBody(number, joints, vertices, keypoints)


def _soon(condition: Any) -> bool:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def test_a_scene_comes_out_as_it_went_in() -> None:
    writer = SceneMemory(Layout(len(BALL), HEIGHT, WIDTH, people=2))
    reader = SceneMemory(writer.layout, writer.name)
    try:
        assert reader.read(0) is None
        image = np.random.default_rng(0).integers(0, 255, IMAGE.shape, np.uint8)
        bodies = [scene_body(number, BALL + np.float32(number)) for number in (4, 9, 11)]
        world = np.arange(16, dtype=np.float32).reshape(4, 4)
        assert writer.write(image, CAMERA, bodies, "30 meshes/s — ok", "REC 0:01\npaused", "flow 3 ms", 77, world) == 1
        scene = reader.read(0)
        assert scene is not None
        assert (scene.number, scene.camera, scene.text) == (1, CAMERA, "30 meshes/s ? ok")
        np.testing.assert_array_equal(scene.image, image)
        assert (scene.state, scene.details, scene.captured_ns) == ("REC 0:01\npaused", "flow 3 ms", 77)
        np.testing.assert_array_equal(scene.world, world)
        assert [body.person for body in scene.bodies] == [4, 9]  # the layout has room for two
        for name in ("joints", "vertices", "keypoints"):
            np.testing.assert_array_equal(getattr(scene.bodies[1], name), getattr(bodies[1], name))
        assert reader.read(1) is None
        writer.write(image, CAMERA, [], "x" * 500)
        second = reader.read(1)
        assert second is not None
        assert (second.bodies, len(second.text)) == ((), 120)
        assert (second.world, second.state, second.captured_ns) == (None, "", 0)
        with pytest.raises(ValueError, match="made for images"):
            writer.write(image[1:], CAMERA, [])
    finally:
        reader.close()
        writer.close()
        writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(IMAGE, CAMERA, [])
    with pytest.raises(FileNotFoundError):
        SceneMemory(writer.layout, writer.name)


class _Overtaken(SceneMemory):
    """A reader that lets the writer go round all slots while it copies."""

    writer: SceneMemory
    times = 0

    def _copy(self, number: int, slot: Any) -> WindowScene:
        scene = super()._copy(number, slot)
        for _ in range(3 if self.times else 0):
            self.writer.write(IMAGE, CAMERA, [])
        self.times = max(self.times - 1, 0)
        return scene


def test_a_torn_scene_is_thrown_away() -> None:
    writer = SceneMemory(Layout(4, HEIGHT, WIDTH))
    reader = _Overtaken(writer.layout, writer.name)
    reader.writer = writer
    try:
        writer.write(IMAGE, CAMERA, [])
        reader.times = 2
        scene = reader.read(0)
        assert scene is not None
        assert scene.number == 7  # two tries were torn, the third was whole and the newest
        reader.times = 100
        assert reader.read(0) is None
    finally:
        reader.close()
        writer.close()


def test_no_scene_is_ever_mixed_under_a_fast_writer() -> None:
    layout = Layout(300, 60, 80)
    writer = SceneMemory(layout)
    reader = SceneMemory(layout, writer.name)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            value = number % 251
            writer.write(
                np.full((60, 80, 3), value, np.uint8),
                Camera(value, value, value, value),
                [scene_body(value, np.full((300, 3), value, np.float32))] * (1 + number % 3),
                str(value),
            )

    thread = threading.Thread(target=write)
    thread.start()
    seen = whole = 0
    try:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            scene = reader.read(seen)
            if scene is None:
                continue
            assert scene.number > seen
            seen, whole = scene.number, whole + 1
            value = seen % 251
            assert (scene.image == value).all()
            assert scene.camera.cy == value
            assert scene.text == str(value)
            assert len(scene.bodies) == 1 + seen % 3
            assert all((body.vertices == value).all() and body.person == value for body in scene.bodies)
    finally:
        stop.set()
        thread.join()
        reader.close()
        writer.close()
    assert whole > 3


def _failing(*arguments: Any) -> None:
    link: Connection = arguments[5]
    link.send((FAILED, advice(ImportError("libusb-1.0.so.0: cannot open shared object file: No such file"))))


def _crashing(*arguments: Any) -> None:
    os._exit(3)


def _obedient(*arguments: Any) -> None:
    link: Connection = arguments[5]
    memory = SceneMemory(arguments[1], arguments[0])
    link.send((READY, ""))
    arguments[4].acquire()
    scene = memory.read(0)
    assert scene is not None
    for key in ("space", f"{len(scene.bodies)} {scene.text}"):
        link.send((COMMAND, key))
    link.recv()
    memory.close()


def _resized(*arguments: Any) -> None:
    link: Connection = arguments[5]
    memory = SceneMemory(arguments[1], arguments[0])
    link.send((READY, ""))
    arguments[4].acquire()
    first = memory.read(0)
    assert first is not None
    memory.close()
    kind, (name, layout) = link.recv()
    arguments[4].acquire()
    memory = SceneMemory(layout, name)
    second = memory.read(0)
    assert second is not None
    link.send((COMMAND, f"{first.state} {first.image.shape} {kind == LAYOUT} {second.image.shape} {second.state}"))
    link.recv()
    memory.close()


def _stubborn(*arguments: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    arguments[5].send((READY, ""))
    time.sleep(60)


def _memories() -> set[str]:
    return {str(file) for file in Path("/dev/shm").glob("psm_*")}


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (
            _failing,
            "Open3D cannot open a window (libusb-1.0.so.0 missing): apt install libusb-1.0-0, or use --view none",
        ),
        (_crashing, "the window's process ended at once (exit code 3): use --view none"),
    ],
)
def test_a_window_that_cannot_open_says_why_in_one_line(target: Any, line: str) -> None:
    before = _memories()
    with pytest.raises(UserError) as caught:
        MeshWindow(LOOK, (WIDTH, HEIGHT), target=target)
    assert str(caught.value) == line
    assert _memories() == before


def test_results_go_in_and_commands_come_out() -> None:
    before = _memories()
    heard: list[str] = []

    def listen() -> int:
        heard.extend(window.events())
        return len(heard)

    with MeshWindow(LOOK, (WIDTH, HEIGHT), target=_obedient) as window:
        assert list(window.events()) == []
        assert window.show(result(IMAGE, person(BALL), person(BALL, 1)), Figures(30, 50, 2))
        assert _soon(lambda: listen() == 2)
        assert heard == ["space", "2 30.0 meshes/s    50 ms    2 people"]
        assert not window.closed
    closed: bool = window.closed
    assert closed
    assert not window.show(result(IMAGE))
    assert list(window.events()) == []  # closing it oneself is no command
    assert _memories() == before


def test_the_window_speaks_before_the_source_is_there_and_fits_it_then() -> None:
    before = _memories()
    heard: list[str] = []
    with MeshWindow(LOOK, (64, 48), target=_resized) as window:
        window.show_state("connecting")
        window.fit((WIDTH, HEIGHT), CAMERA)
        window.show(result(IMAGE, person(BALL)), Figures(30, 50, 1), "looking")

        def listen() -> int:
            heard.extend(window.events())
            return len(heard)

        assert _soon(lambda: listen() == 1)
    assert heard == [f"connecting (48, 64, 3) True ({HEIGHT}, {WIDTH}, 3) looking"]
    assert _memories() == before


@pytest.mark.parametrize(
    ("image", "wanted"),
    [((1280, 720), (1280, 720)), ((3840, 2160), (1632, 918)), ((320, 240), (640, 480)), ((1080, 1920), (516, 918))],
)
def test_the_window_fits_the_screen(image: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert window_size(*image, (1920, 1080)) == wanted


def test_a_killed_window_only_becomes_closed() -> None:
    before = _memories()
    window = MeshWindow(LOOK, (WIDTH, HEIGHT), target=_stubborn)
    pid = window._process.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert _soon(lambda: window.closed)
    assert not window.show(result(IMAGE, person(BALL)))
    assert _soon(lambda: list(window.events()) == ["q"])
    window.close()
    window.close()
    assert _memories() == before


def test_a_forgotten_window_leaves_nothing_behind(tmp_path: Path) -> None:
    """The program ends without close(): no process, no memory, not a word from the resource tracker."""
    before = _memories()
    script = tmp_path / "program.py"
    script.write_text(
        "import numpy as np\n"
        "from realtime.draw.mannequin import Mannequin\n"
        "from realtime.window.controller import MeshWindow\n"
        "from tests.realtime.window.test_window import _obedient\n"
        "if __name__ == '__main__':\n"
        "    window = MeshWindow(Mannequin(np.array([[0, 1, 2]])), (64, 48), target=_obedient)\n"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=root, env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert _memories() == before


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (ModuleNotFoundError("No module named 'open3d'"), "pip install open3d"),
        (OSError("libGL.so.1: cannot open shared object file"), "libgl1"),
        (RuntimeError("there is\nno display"), "(there is no display): use --view none"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_advice_is_one_line(error: BaseException, wanted: str) -> None:
    line = advice(error)
    assert wanted in line
    assert "\n" not in line
    assert "--view none" in line


def test_no_display_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux has displays that may be missing")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UserError, match="there is no display"):
        MeshWindow(LOOK, (WIDTH, HEIGHT))


def test_floor_grid_comes_in_pairs_one_step_long() -> None:
    ends = grid_points(17).reshape(-1, 2, 3)
    np.testing.assert_allclose(np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1), 0.5)


@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="there is no display: DISPLAY is not set")
@pytest.mark.skipif(importlib.util.find_spec("open3d") is None, reason="Open3D is not installed")
def test_a_real_window_opens_shows_and_closes() -> None:
    before = _memories()
    with MeshWindow(LOOK, (64, 48), CAMERA) as window:
        window.show_state("connecting")
        window.fit((WIDTH, HEIGHT), CAMERA)
        for step in range(20):
            people = [person(BALL + np.array([0.01 * step, 0, 0], np.float32), i) for i in range(step % 3)]
            assert window.show(result(IMAGE, *people), Figures(30, 50, len(people)))
            time.sleep(0.03)
        assert not window.closed
    assert window._process.exitcode == 0
    gc.collect()
    assert _memories() == before
