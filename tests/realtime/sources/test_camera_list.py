"""Listing cameras, with a driver that the test plays."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from realtime.sources.camera_list import CameraDevice, CameraMode, describe_cameras, list_cameras, raw_format

MJPG, YUYV = (int.from_bytes(name, "little") for name in (b"MJPG", b"YUYV"))
SIZES = {MJPG: [(1280, 720), (640, 480)], YUYV: [(640, 480)]}
RATES = {1280: [(1, 30), (1001, 30000)], 640: [(1, 60)]}


def driver(captures: bool = True) -> object:
    """An ioctl that answers as a webcam does: layouts of linux/videodev2.h."""

    def ioctl(descriptor: int, request: int, buffer: bytearray) -> None:
        number = request & 0xFF
        assert len(buffer) == request >> 16 & 0x3FFF, "the request holds the size of its structure"
        (index,) = struct.unpack_from("<I", buffer)
        try:
            if number == 0:
                own = 1 if captures else 0x00800000  # metadata
                struct.pack_into("<16s32s32sIII", buffer, 0, b"uvc", b"Webcam: HD", b"usb-1", 0, 0x80000001, own)
            elif number == 2:
                assert struct.unpack_from("<I", buffer, 4) == (1,)
                struct.pack_into("<I32sI", buffer, 8, 0, b"format", list(SIZES)[index])
            elif number == 74:
                (code,) = struct.unpack_from("<I", buffer, 4)
                struct.pack_into("<3I", buffer, 8, 1, *SIZES[code][index])
            else:
                assert number == 75
                _, width, height = struct.unpack_from("<3I", buffer, 4)
                assert (width, height) in SIZES[MJPG]
                struct.pack_into("<3I", buffer, 16, 1, *RATES[width][index])
        except IndexError:
            raise OSError(22, "Invalid argument") from None

    return ioctl


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    for name in ("video10", "video2", "videocard"):
        (tmp_path / name).touch()
    (tmp_path / "v4l" / "by-id").mkdir(parents=True)
    (tmp_path / "v4l" / "by-id" / "usb-HD-index0").symlink_to(tmp_path / "video2")
    return tmp_path


def test_name_link_sizes_and_rates(dev: Path) -> None:
    first, second = list_cameras(dev, driver())  # type: ignore[arg-type]
    assert (first.path, second.path) == (str(dev / "video2"), str(dev / "video10"))
    assert first.name == "Webcam: HD"
    assert first.links == (str(dev / "v4l" / "by-id" / "usb-HD-index0"),)
    assert first.modes == (
        CameraMode("MJPG", 1280, 720, (30.0, 29.97)),
        CameraMode("MJPG", 640, 480, (60.0,)),
        CameraMode("YUYV", 640, 480, (60.0,)),
    )
    lines = describe_cameras([first]).splitlines()
    assert lines[0] == f"2  Webcam: HD  {dev / 'video2'}"
    assert lines[2] == "   MJPG  1280x720  30, 29.97 frames/s"


def test_a_device_of_metadata_is_no_camera(dev: Path) -> None:
    assert list_cameras(dev, driver(captures=False)) == []  # type: ignore[arg-type]


def test_what_cannot_be_asked_is_listed_with_the_reason(dev: Path) -> None:
    def dead(descriptor: int, request: int, buffer: bytearray) -> None:
        raise OSError(19, "No such device")

    assert [camera.problem for camera in list_cameras(dev, dead)] == ["does not answer (No such device)"] * 2


@pytest.mark.parametrize(
    ("formats", "raw"),
    [([b"RG10"], "RG10"), ([b"pBAA", b"BG12"], "pBAA"), ([b"RG10", b"YUYV"], ""), ([b"MJPG"], ""), ([], "")],
)
def test_a_sensors_raw_data_are_told_from_a_webcams_images(dev: Path, formats: list[bytes], raw: str) -> None:
    def ioctl(descriptor: int, request: int, buffer: bytearray) -> None:
        (index,) = struct.unpack_from("<I", buffer)
        if request & 0xFF != 2 or index >= len(formats):
            raise OSError(22, "Invalid argument")
        struct.pack_into("<I32sI", buffer, 8, 0, b"format", int.from_bytes(formats[index], "little"))

    assert raw_format(str(dev / "video2"), ioctl) == raw
    assert raw_format(str(dev / "video77"), ioctl) == ""


def test_raw_cameras_are_listed_with_their_csi_number() -> None:
    names = {"/dev/video0": "RG10", "/dev/video1": "MJPG", "/dev/video2": "BA81"}
    cameras = [CameraDevice(path, "", modes=(CameraMode(name, 64, 48, ()),)) for path, name in names.items()]
    text = describe_cameras(cameras)
    assert [line.rpartition(" ")[2] for line in text.splitlines() if "Bayer" in line] == ["csi:0", "csi:1"]


def test_none_is_said_plainly() -> None:
    assert "there is no camera" in describe_cameras([])
    assert describe_cameras([CameraDevice("/dev/video3", "")]) == "3  camera without a name  /dev/video3"
