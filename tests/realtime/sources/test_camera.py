from __future__ import annotations

import itertools
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from common.arrays import ImageArray
from common.errors import UserError
from realtime.errors import SourceLost
from realtime.sources import CameraSource, camera, open_source, threaded_capture
from tests.conftest import Remarks
from tests.realtime.clips import number, numbered_image


class FakeCapture:
    """Stands in for cv2.VideoCapture. Class attributes say how the camera behaves."""

    is_there = True
    size = (640, 480)
    fps = 30.0
    interval_s = 0.002
    frames = 10**9
    hangs: threading.Event | None = None
    made: list[FakeCapture]

    def __init__(self, device: int | str, backend: int) -> None:
        self.device = device
        self.asked: dict[int, float] = {}
        self.count = 0
        self.released = False
        self.made.append(self)

    def isOpened(self) -> bool:
        return self.is_there

    def set(self, key: int, value: float) -> bool:
        self.asked[key] = value
        return True

    def get(self, key: int) -> float:
        return self.fps if key == cv2.CAP_PROP_FPS else 0.0

    def grab(self) -> bool:
        if self.hangs is not None:
            self.hangs.wait()
        time.sleep(self.interval_s)
        self.count += 1
        return self.count <= self.frames

    def retrieve(self, image: ImageArray | None = None) -> tuple[bool, ImageArray]:
        made = numbered_image((self.count - 1) % 256, *self.size)
        if image is not None and image.shape == made.shape:  # OpenCV makes a new array where sizes differ
            np.copyto(image, made)
            made = image
        return True, made

    def release(self) -> None:
        self.released = True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Fake(FakeCapture):
        made: list[FakeCapture] = []  # noqa: RUF012

    monkeypatch.setattr(cv2, "VideoCapture", Fake)
    monkeypatch.setattr(camera, "_RETRY_S", 0.01)
    return Fake


def test_the_newest_frame_wins(fake: Any) -> None:
    with open_source("0") as source:
        assert (source.live, source.size, source.fps, source.frame_count) == (True, (640, 480), 30.0, None)
        buffer = source.new_buffer()
        timestamps = []
        for _ in range(5):
            timestamp = source.read_into(buffer)
            assert timestamp is not None
            assert number(buffer) == timestamp[0] % 256
            timestamps.append(timestamp)
            made = fake.made[0].count
            while fake.made[0].count < made + 5:
                time.sleep(0.002)
    assert all(later[0] - timestamp[0] > 2 for timestamp, later in itertools.pairwise(timestamps))
    for timestamp, later in itertools.pairwise(timestamps):
        assert later.time_s - timestamp.time_s == pytest.approx((later.captured_ns - timestamp.captured_ns) * 1e-9)
    assert fake.made[0].released
    assert fake.made[0].device == 0


def test_wishes_are_passed_on_and_differences_told(fake: Any, remarks: Remarks) -> None:
    fake.fps = 15.0
    with open_source("1", width=1280, height=720) as source:
        assert source.size == (640, 480)
        assert source.fps == 15.0
        assert remarks == ["camera 1 delivers 640x480 at 15 fps, asked for 1280x720 at 30"]
    asked = fake.made[0].asked
    assert asked[cv2.CAP_PROP_FRAME_WIDTH] == 1280
    assert asked[cv2.CAP_PROP_BUFFERSIZE] == 1
    assert next(iter(asked)) == cv2.CAP_PROP_FOURCC, "the pixel format has to come first"


def test_a_slow_camera_is_told(fake: Any, monkeypatch: pytest.MonkeyPatch, remarks: Remarks) -> None:
    monkeypatch.setattr(camera, "_RATE_S", 0.3)
    fake.interval_s = 0.1
    with open_source("0") as source:
        buffer = source.new_buffer()
        for _ in range(10):
            source.read_into(buffer)
        assert len(remarks) == 1
        assert "in fact delivers" in remarks[0]
        assert 2 < source.fps < 11  # a busy machine makes it slower still


def test_no_camera(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.is_there = False
    monkeypatch.setattr(camera, "camera_devices", lambda: [])
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(UserError, match=r"camera 7 does not open: there is no camera.*--source demo"):
        open_source("7")
    monkeypatch.setattr(camera, "camera_devices", lambda: ["/dev/video2", "/dev/video3"])
    with pytest.raises(UserError, match=r"there is /dev/video2, /dev/video3.*--source demo"):
        open_source("/dev/video7")


def test_a_real_missing_camera_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="camera 97"):
        open_source("97")
    assert capfd.readouterr() == ("", "")


def test_a_metadata_device_gives_no_frames(fake: Any) -> None:
    fake.frames = 0
    with pytest.raises(UserError, match="opens but delivers no frames") as caught:
        open_source("1")
    assert not isinstance(caught.value, SourceLost)


def test_unplugged(fake: Any, remarks: Remarks) -> None:
    fake.frames = 20
    with open_source("0", retry_s=0.05) as source:
        buffer = source.new_buffer()
        fake.is_there = False
        with pytest.raises(SourceLost, match="camera 0 stopped delivering frames and did not come back"):
            all(iter(lambda: source.read_into(buffer), None))
        assert source.state == "lost"
    assert fake.made[0].count == 20 + 6, "it tries again for a moment"


def test_plugged_in_again(fake: Any, monkeypatch: pytest.MonkeyPatch, remarks: Remarks) -> None:
    monkeypatch.setattr(threaded_capture, "_FIRST_GAP_S", 0.05)
    fake.frames = 20
    with open_source("0") as source:
        buffer = source.new_buffer()
        timestamps = [source.read_into(buffer)]
        while len(fake.made) < 2:
            time.sleep(0.01)
        timestamps += [source.read_into(buffer) for _ in range(3)]
    indexes = [timestamp.index for timestamp in timestamps if timestamp is not None]
    assert indexes[-1] >= 20
    assert indexes == sorted(set(indexes))
    assert ["trying again" in remarks[0], "is there again" in remarks[1]] == [True, True]


@pytest.mark.parametrize("name", ["/dev/v4l/by-id/usb-Camera-video-index0", "/dev/video7", "/dev/null", "link"])
def test_devices_by_all_their_names(fake: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("/dev/null")  # udev gives cameras names by such links
    with open_source(name) as source:
        assert isinstance(source, CameraSource)
        assert source.size == (640, 480)
    assert fake.made[0].device == name


def test_a_device_that_is_no_camera_is_called_so() -> None:
    with pytest.raises(UserError, match="/dev/null does not open: it is no camera"):
        open_source("/dev/null")


def test_close_ends_a_read_from_a_camera_that_hangs(fake: Any) -> None:
    source = open_source("0")
    buffer = source.new_buffer()
    fake.hangs = threading.Event()
    answers: list[object] = []

    def read() -> None:
        timestamp: object = ()
        while timestamp is not None:
            timestamp = source.read_into(buffer)
        answers.append(timestamp)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.05)
    start = time.monotonic()
    source.close()
    thread.join(1.0)
    assert time.monotonic() - start < 1.0
    assert answers == [None]
    assert not fake.made[0].released, "its own thread has to let it go"
    fake.hangs.set()
    deadline = time.monotonic() + 2
    while not fake.made[0].released and time.monotonic() < deadline:
        time.sleep(0.01)
    assert fake.made[0].released


def test_a_camera_that_never_answers(fake: Any) -> None:
    fake.hangs = threading.Event()
    source = CameraSource(0)
    source._open_timeout_s = 0.1
    with pytest.raises(UserError, match="camera 0 delivers no frames"):
        source.open()
    fake.hangs.set()


def test_frames_of_another_size(fake: Any, remarks: Remarks) -> None:
    with open_source("0") as source:
        buffer = source.new_buffer()
        fake.size = (320, 240)
        for _ in range(20):
            source.read_into(buffer)
        assert ["changes from 640x480 to 320x240" in line for line in remarks] == [True]
        assert buffer.shape == (480, 640, 3)


def test_a_sensors_raw_data_are_refused_with_the_csi_number(fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = {"/dev/video0": "RG10", "/dev/video2": "RG10"}
    monkeypatch.setattr(camera, "raw_format", lambda path: raw.get(path, ""))
    monkeypatch.setattr(camera, "camera_devices", lambda: ["/dev/video0", "/dev/video1", "/dev/video2"])
    with pytest.raises(UserError, match=r"on the CSI connector .*\(RG10\): try --source csi:1"):
        open_source("2")
    assert not fake.made
