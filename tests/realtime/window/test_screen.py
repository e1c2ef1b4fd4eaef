"""A real window on a real X screen, looked at and used: what stands on it in each state, and what its keys do."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from body.lbs import NumpyBody
from body.model import load_body
from realtime.draw.floor import SOLE_M
from realtime.draw.mannequin import mannequin_for
from realtime.draw.painter import Figures
from realtime.records import WorldFrame
from realtime.window.controller import MeshWindow
from realtime.window.overlay import text_block
from realtime.window.view_state import HELP
from tests.realtime.browser.people import CAMERA, person_of
from tests.realtime.shapes import result
from tests.realtime.sources.camera_server import Server
from tests.realtime.window.screen import Screen, has_screen, soon

ROOT = Path(__file__).parents[3]
CLIP = ROOT / "assets" / "synthetic_walk.mp4"

pytestmark = [
    pytest.mark.skipif(not has_screen(), reason="Xvfb, libX11 or libXtst is not installed"),
    pytest.mark.skipif(importlib.util.find_spec("open3d") is None, reason="Open3D is not installed"),
    pytest.mark.timeout(600),  # programs with all networks, on machines that do other things, too
]
NOTICE, ALARM, PLAIN = (90, 210, 255), (90, 110, 255), (240, 240, 240)


@pytest.fixture(scope="module")
def screen() -> Iterator[Screen]:
    with Screen() as one:
        yield one


def says(screen: Screen, words: str, colour: tuple[int, int, int] = NOTICE, height: int = 480) -> bool:
    """Whether ``words`` stand on the screen in a window of that ``height``."""
    block = text_block([(words, colour)], max(height / 1100, 0.4))
    wanted, image = (_ink(picture, colour) for picture in (block, screen.image()))
    rows, columns = wanted.nonzero()
    wanted = wanted[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    return float(cv2.matchTemplate(image, wanted, cv2.TM_SQDIFF).min()) < 0.4 * float((wanted**2).sum())


def _ink(image: Any, colour: tuple[int, int, int]) -> Any:
    """How much each pixel of ``image`` has of ``colour``: float32 (H, W)."""
    away = np.abs(image.astype(np.float32) - colour).max(2)
    return np.clip(1 - away / 120, 0, 1).astype(np.float32)


def looks(screen: Screen, still: bool = True) -> Any:
    """The window's lower part, without text; it is opened at (50, 50). ``still``: not while it is being drawn."""
    image = screen.image()[200:530, 50:690]
    while still:
        time.sleep(0.2)
        before, image = image, screen.image()[200:530, 50:690]
        still = not np.array_equal(before, image)
    return image.astype(int)


def differs(one: Any, other: Any) -> float:
    """Part of the pixels that are clearly not the same."""
    return float((np.abs(one - other).max(-1) > 24).mean())


def test_the_window_shows_its_states_and_obeys_its_keys(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", screen.name)
    arrays = load_body()
    people = person_of(NumpyBody(arrays), 0, 3, 0.1), person_of(NumpyBody(arrays), 1, 4, 0.1)
    image = np.full((480, 640, 3), 90, np.uint8)
    heard: list[str] = []
    with MeshWindow(mannequin_for(arrays), (640, 360), wire=mannequin_for(arrays, "wire")) as window:
        window.show_state("connecting")
        assert soon(lambda: says(screen, "connecting", height=360))
        screen.press("h")
        assert soon(lambda: says(screen, HELP[-1], PLAIN, 360))
        screen.press("h")
        assert soon(lambda: not says(screen, HELP[-1], PLAIN, 360))

        window.fit((640, 480), CAMERA)
        assert window.show(result(image))  # through a camera that looks past the middle
        assert soon(lambda: (looks(screen)[:, [0, -1]] == 90).all())
        shown = (
            replace(result(image, *people), camera=CAMERA),
            Figures(29.7, 68, 2),
            "REC 1:02\nlooking for a person",
            "flow\t3.1 ms",
        )
        assert window.show(*shown)
        assert soon(lambda: says(screen, "REC 1:02", ALARM))
        assert says(screen, "looking for a person")
        assert not says(screen, "flow\t3.1 ms", (190, 190, 190))
        screen.press("i")
        assert soon(lambda: says(screen, "flow\t3.1 ms", (190, 190, 190)))
        screen.press("i")
        screen.press("k")
        seen = [looks(screen)]

        def changes(key: str, least: float = 0.01) -> bool:
            """Whether the picture changes after ``key``, and then stays."""
            screen.press(key)
            if not soon(lambda: differs(looks(screen), seen[-1]) > least):
                return False
            seen.append(looks(screen))
            return True

        seen = [looks(screen)]
        assert all(changes("m") for _ in range(3))
        assert differs(seen[-1], np.full_like(seen[-1], 90)) < 0.001  # off: the video alone
        assert changes("m")
        assert changes("v", 0.5)
        free = seen[-1]
        assert all(changes("m") for _ in range(3))
        assert differs(seen[-1], free) < 0.5
        assert changes("m")
        assert changes("1")
        assert says(screen, "following person 1", (190, 190, 190))
        assert changes("2")
        assert changes("0")
        screen.drag((300, 300), (450, 320))
        assert soon(lambda: differs(looks(screen), seen[-1]) > 0.01)
        seen.append(looks(screen))
        screen.wheel(-3)
        assert soon(lambda: differs(looks(screen), seen[-1]) > 0.01)
        assert changes("v", 0.5)
        assert differs(seen[-1], seen[4]) < 0.02  # the video lies where it lay, whatever the mouse did to the free view

        wanted = ["space", "r", "s", "f", "Left", "Right", "q"]
        for key in wanted:
            screen.press(key)
        assert soon(lambda: heard.extend(window.events()) or len(heard) >= len(wanted))
        assert heard == [key.lower() for key in wanted]
        screen.close_window(screen.windows()["motionmesh"])
        assert soon(lambda: window.closed)
        assert not window.crashed
        assert list(window.events()) == ["q"]


def test_the_free_view_has_its_floor_under_somebodys_feet(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", screen.name)
    arrays = load_body()
    people = person_of(NumpyBody(arrays), 0, 3, 0.1), person_of(NumpyBody(arrays), 1, 4, 0.1)
    deepest = max(float(one.joints[:, 1].max()) for one in people) + SOLE_M
    image = np.full((360, 640, 3), 90, np.uint8)

    with MeshWindow(mannequin_for(arrays), (640, 360)) as window:

        def seen(height: float) -> Any:
            """The free view when the soles of whoever stands lowest are so far over the world's floor, m."""
            world = np.diag(np.array([1, -1, -1, 1], np.float32))
            world[1, 3] = deepest + height
            shown = replace(result(image, *people), camera=CAMERA, world=WorldFrame(world, float("nan"), float("nan")))
            for _ in range(30):  # the floor glides there
                window.show(shown)
                time.sleep(0.05)
            return looks(screen)

        seen(0.0)
        screen.press("v")
        on_floor = seen(0.0)
        assert len(np.unique(on_floor)) > 50
        assert differs(seen(-0.3), on_floor) > 0.01  # a little below it: the floor stays where it is
        assert differs(seen(1.0), on_floor) > 0.01  # somebody who jumps
        assert differs(seen(-2.0), on_floor) < 0.005  # so far that the view goes there at once
        assert differs(seen(0.0), on_floor) < 0.005


class Program:
    """run_camera.py with a window, in a folder of its own."""

    def __init__(self, screen: Screen, folder: Path, *options: str) -> None:
        environment = {**os.environ, "DISPLAY": screen.name}
        command = [sys.executable, str(ROOT / "run_camera.py"), "--view", "window", "--quality", "live", *options]
        self.log = folder / "log.txt"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)

    def ends(self) -> int:
        """Its exit status, once it has ended by itself."""
        return self.process.wait(60)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def test_a_film_from_beginning_to_end(screen: Screen, tmp_path: Path) -> None:
    with Program(screen, tmp_path, "--source", str(CLIP), "--persons", "1") as program:
        # It says "starting" first, too briefly for a busy machine to be asked about.
        assert soon(
            lambda: (
                screen.windows() and not says(screen, "starting") and len(np.unique(looks(screen, still=False))) > 50
            ),
            200,
        )
        screen.press("space")
        assert soon(lambda: says(screen, "paused: space goes on"))
        still = looks(screen)
        time.sleep(0.5)
        assert differs(looks(screen), still) == 0
        screen.press("r")
        assert soon(lambda: any(says(screen, f"REC 0:{second:02d}", ALARM) for second in range(20)))
        screen.press("s")
        screen.press("space")
        end = "the end: q closes, --loop plays it again"
        assert soon(lambda: says(screen, end), 200)
        assert len(np.unique(looks(screen))) > 50  # the last frame stays
        screen.press("q")
        assert program.ends() == 0
    (video,) = tmp_path.glob("motionmesh-*.mp4")
    (snapshot,) = tmp_path.glob("motionmesh-*.png")
    with av.open(str(video)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 10
    assert cv2.imread(str(snapshot)).shape == (480, 640, 3)
    assert "Traceback" not in program.log.read_text()


def test_a_camera_that_comes_goes_and_comes_back(screen: Screen, tmp_path: Path) -> None:
    server = Server()
    server.stalls = True
    try:
        with Program(screen, tmp_path, "--source", f"{server.url}/stream") as program:
            assert soon(lambda: says(screen, "looking for a person"), 200)
            server.frames = 0
            stalled, lost = "stalled: no frames are coming", "signal lost: trying again"
            # Three seconds later it is given up, which a busy machine may draw first.
            assert soon(lambda: says(screen, stalled, ALARM) or says(screen, lost, ALARM))
            server.stalls = False
            assert soon(lambda: says(screen, lost, ALARM))
            server.frames = 10**9
            assert soon(lambda: says(screen, "looking for a person"))
            screen.close_window(screen.windows()["motionmesh"])
            assert program.ends() == 0
    finally:
        server.stop()
    assert "Traceback" not in program.log.read_text()


def test_ctrl_c_closes_the_window(screen: Screen, tmp_path: Path) -> None:
    record = tmp_path / "out.mp4"
    with Program(screen, tmp_path, "--source", str(CLIP), "--loop", "--record", str(record)) as program:
        assert soon(lambda: record.exists() and record.stat().st_size > 50_000, 200)
        program.process.send_signal(signal.SIGINT)
        assert program.ends() == 130
        assert screen.windows() == {}
    with av.open(str(record)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 5
    assert "what was recorded is complete" in program.log.read_text()
