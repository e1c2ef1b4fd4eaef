"""The annotated image as a webcam, against a stand-in with pyvirtualcam's interface: no device is needed."""

from __future__ import annotations

import sys
import threading
from enum import Enum
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from common.camera import Camera
from common.errors import UserError
from realtime.options import Options
from realtime.outputs.virtual_camera import VirtualCamera, check_virtual_camera
from realtime.records import Frame, Result
from realtime.session import Session
from tests.conftest import Remarks

CLIP = Path(__file__).resolve().parents[3] / "assets" / "synthetic_walk.mp4"
NO_DEVICE = (
    "'v4l2loopback' backend: No v4l2 loopback device found at /dev/video[0-99].\nDid you run 'modprobe v4l2loopback'?"
)


class PixelFormat(Enum):
    RGB = "raw "
    BGR = "24BG"


class Webcam:
    """Takes what pyvirtualcam.Camera takes and refuses what it refuses."""

    opened: list[Webcam]
    failure: str | None = None
    held: threading.Event | None = None

    def __init__(
        self, width: int, height: int, fps: float, *, fmt: PixelFormat = PixelFormat.RGB, device: str | None = None
    ) -> None:
        if self.failure is not None:
            raise RuntimeError(self.failure)
        self.width, self.height, self.fps, self.fmt = width, height, fps, fmt
        self.device = device or "/dev/video9"
        self.shown: list[NDArray[np.uint8]] = []
        self.threads: set[int] = set()
        self.is_closed = False
        self.breaks = False
        self.opened.append(self)

    def send(self, frame: NDArray[np.uint8]) -> None:
        assert not self.is_closed
        if frame.dtype != np.uint8:
            raise TypeError(f"unexpected frame dtype: {frame.dtype} != uint8")
        if frame.shape != (self.height, self.width, 3):
            raise ValueError(f"unexpected frame shape: {frame.shape}")
        if self.breaks:
            raise RuntimeError("error writing frame")
        assert self.held is None or self.held.wait(60)
        self.threads.add(threading.get_ident())
        self.shown.append(frame.copy())

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def webcams(monkeypatch: pytest.MonkeyPatch) -> list[Webcam]:
    """Those that were opened; the package is there."""
    package = ModuleType("pyvirtualcam")
    monkeypatch.setitem(package.__dict__, "Camera", Webcam)
    monkeypatch.setitem(package.__dict__, "PixelFormat", PixelFormat)
    monkeypatch.setitem(sys.modules, "pyvirtualcam", package)
    monkeypatch.setattr(Webcam, "opened", [], raising=False)
    return Webcam.opened


def result(image: NDArray[np.uint8]) -> Result:
    return Result(Frame(0, 0, 0.0, image), Camera(500.0, 500.0, 3.0, 3.0), (), 0)


def annotate(result: Result) -> NDArray[np.uint8]:
    return result.frame.image


def test_images_arrive_as_they_are(webcams: list[Webcam], remarks: Remarks) -> None:
    image = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    with VirtualCamera(annotate, (8, 6), 25.0) as camera:
        camera.send(result(image))
    (webcam,) = webcams
    assert (webcam.width, webcam.height, webcam.fps, webcam.fmt) == (8, 6, 25.0, PixelFormat.BGR)
    np.testing.assert_array_equal(webcam.shown, [image])
    assert webcam.is_closed
    assert remarks == ["virtual camera: /dev/video9, 8x6"]


def test_an_odd_size_loses_its_last_row_and_column(webcams: list[Webcam]) -> None:
    image = np.random.default_rng(1).integers(0, 255, (7, 9, 3), np.uint8)
    with VirtualCamera(annotate, (9, 7), 25.0) as camera:
        camera.send(result(image))
        assert camera.size == (8, 6)
    np.testing.assert_array_equal(webcams[0].shown, [image[:6, :8]])


@pytest.mark.parametrize(
    ("system", "hint"),
    [
        ("linux", "sudo apt install v4l2loopback-dkms && sudo modprobe v4l2loopback"),
        ("darwin", "OBS"),
        ("win32", "OBS"),
        ("freebsd14", "documentation"),
    ],
)
def test_without_a_device_one_line_says_what_to_do(
    webcams: list[Webcam], monkeypatch: pytest.MonkeyPatch, system: str, hint: str
) -> None:
    monkeypatch.setattr(Webcam, "failure", NO_DEVICE)
    monkeypatch.setattr(sys, "platform", system)
    with pytest.raises(UserError) as caught:
        VirtualCamera(annotate, (8, 6), 25.0)
    assert hint in str(caught.value)
    assert "No v4l2 loopback device found" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_package_nothing_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyvirtualcam", None)
    with pytest.raises(UserError, match="pip install pyvirtualcam"):
        check_virtual_camera()
    video = tmp_path / "never.mp4"
    with pytest.raises(UserError, match="pip install pyvirtualcam"):
        Session(Options(source=str(tmp_path / "missing.mp4"), view="none", virtual_camera=True, record=video)).run()


def test_a_device_that_goes_away_is_told(webcams: list[Webcam]) -> None:
    with VirtualCamera(annotate, (8, 6), 25.0) as camera:
        webcams[0].breaks = True
        with pytest.raises(UserError, match="virtual camera stopped: error writing frame"):
            camera.send(result(np.zeros((6, 8, 3), np.uint8)))


def test_a_run_is_shown_and_a_webcam_that_hangs_delays_nothing(
    webcams: list[Webcam], monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(Webcam, "held", released)

    def progress(done: int, total: int | None, rate: float, latency: float) -> None:
        if done == 30:  # while the first image hangs
            released.set()

    options = Options(source=str(CLIP), view="none", quality="live", persons=1, frames=30, virtual_camera=True)
    report = Session(options, progress).run()
    assert (report.meshes, report.frames_dropped) == (30, 0), "every frame was processed"
    (webcam,) = webcams
    assert 2 <= len(webcam.shown) <= 10, "the newest were shown, the others left out"
    assert webcam.shown[-1].std() > 10, "an image, not an empty one"
    assert len(webcam.threads) == 1
    assert threading.get_ident() not in webcam.threads
    assert webcam.is_closed
    assert report.stages["virtual camera"].count == len(webcam.shown)
