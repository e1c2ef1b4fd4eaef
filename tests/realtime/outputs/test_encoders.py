"""Choosing an encoder: hardware is not here, so a GStreamer element of the CPU stands for a board's, and scripts for its
failures."""

from __future__ import annotations

import re
import shutil
import stat
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from common.errors import UserError
from realtime.outputs import encoders
from realtime.outputs.encoders import choose_encoder, software_encoder
from realtime.outputs.video import VideoRecorder
from realtime.outputs.yuv import YuvFrame
from tests.conftest import Remarks
from tests.realtime.clips import numbered_image
from tests.realtime.outputs.test_video import read

X264 = {"x264enc": "x264enc tune=zerolatency bitrate={kbits} key-int-max=60"}


def gstreamer_encodes() -> bool:
    """Whether GStreamer's own x264 and H.264 parser are installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders, "_CHAINS", X264)
        return not encoders.why_no_element("x264enc")


def program(folder: Path, text: str) -> None:
    """A ``gst-launch-1.0`` in ``folder``."""
    path = folder / "gst-launch-1.0"
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.skipif(not gstreamer_encodes(), reason="GStreamer's x264enc and h264parse are not installed")
def test_a_gstreamer_element_records_every_frame_with_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "_CHAINS", X264)
    times = [10.0, 10.033, 10.04, 10.5, 10.51, 12.0, *(12.1 + 0.03 * index for index in range(90))]
    with VideoRecorder(tmp_path / "out.mp4", encoder="gst") as out:
        assert out._encoder.name == "x264enc"
        for index, time_s in enumerate(times):
            out.write(numbered_image(index, 160, 118), time_s)
    seen, numbers = read(tmp_path / "out.mp4")
    np.testing.assert_allclose(seen, np.array(times) - 10.0, atol=1e-4)
    assert numbers == list(range(len(times)))
    with av.open(str(tmp_path / "out.mp4")) as container:
        stream = container.streams.video[0]
        keys = [packet.is_keyframe for packet in container.demux(stream) if packet.size]
        assert stream.codec_context.name == "h264"
    assert keys[0]
    assert 2 <= sum(keys) <= 4, "players can seek"


@pytest.mark.parametrize("choice", ["nvenc", "gst"])
def test_where_there_is_no_hardware_x264_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remarks: Remarks, choice: encoders.EncoderChoice
) -> None:
    monkeypatch.setattr(encoders, "why_no_nvenc", lambda: "no driver")
    monkeypatch.setattr(encoders, "why_no_element", lambda element: f"no {element}")
    with VideoRecorder(tmp_path / "out.mp4", encoder=choice) as out:
        for index in range(5):
            out.write(numbered_image(index), index / 30)
    assert read(tmp_path / "out.mp4")[1] == list(range(5))
    (line,) = remarks.warnings
    assert line.startswith(f"--encoder {choice} does not work here (no ")
    assert line.endswith(": recording with x264")


def test_x264_keeps_fine_detail_and_noise(tmp_path: Path) -> None:
    """One quantiser for all: what is hard to encode, a textured image with a camera's noise that moves, is not made coarser."""
    rng = np.random.default_rng(2)
    texture = cv2.resize(rng.integers(0, 256, (120, 160, 3), np.uint8), (640, 480), interpolation=cv2.INTER_CUBIC)
    shifted = [np.roll(texture, 5 * step, 1).astype(np.int16) for step in range(12)]
    images = [np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8) for image in shifted]
    path = tmp_path / "out.mp4"
    with VideoRecorder(path) as recorder:
        for number, image in enumerate(images):
            recorder.write(image, number / 30)
    frame = YuvFrame(640, 480)
    errors = []
    with av.open(str(path)) as container:
        for image, recorded in zip(images, container.decode(video=0), strict=True):
            frame.fill(image)
            luma = (each.to_ndarray()[:480].astype(np.float64) for each in (frame.frame, recorded))
            errors.append(np.mean(np.subtract(*luma) ** 2))
    assert 10 * np.log10(255**2 / max(errors)) > 38.6


def test_auto_takes_what_works_and_says_nothing(monkeypatch: pytest.MonkeyPatch, remarks: Remarks) -> None:
    asked: list[str] = []

    def missing(element: str) -> str:
        asked.append(element)
        return "not here"

    monkeypatch.setattr(encoders, "why_no_element", missing)
    monkeypatch.setattr(encoders, "_BOARDS", (Path("/nowhere"),))
    monkeypatch.setattr(encoders, "why_no_nvenc", lambda: "no driver")
    assert choose_encoder("auto").name == "x264"
    assert not asked, "a PC is not asked for a board's element"
    monkeypatch.setattr(encoders, "_BOARDS", (Path("/nowhere"), Path("/")))
    assert choose_encoder("auto").name == "x264"
    assert asked == ["nvv4l2h264enc", "v4l2h264enc"]
    monkeypatch.setattr(encoders, "why_no_nvenc", lambda: "")
    assert choose_encoder("auto").name == "h264_nvenc"
    assert not remarks


def test_an_encoder_that_refuses_the_size_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remarks: Remarks
) -> None:
    def refuse(*arguments: object) -> None:
        raise av.error.InvalidDataError(1, "Invalid data")

    monkeypatch.setattr(encoders, "why_no_nvenc", lambda: "")
    with VideoRecorder(tmp_path / "out.mp4", encoder="nvenc") as out:
        monkeypatch.setattr(out._encoder, "open", refuse)
        for index in range(4):
            out.write(numbered_image(index), index / 30)
    assert read(tmp_path / "out.mp4")[1] == list(range(4))
    assert "h264_nvenc does not encode 64x48" in remarks.warnings[0]


def test_nvidias_encoder_is_tried_and_not_believed() -> None:
    """On a machine without its driver the probe says so, and with it a recording works."""
    if reason := encoders.why_no_nvenc():
        assert reason == "no NVIDIA driver with its encoder"
    else:
        assert choose_encoder("nvenc").name == "h264_nvenc"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            "echo 'WARNING: erroneous pipeline: no element \"nvv4l2h264enc\"' >&2; exit 1",
            "GStreamer has no nvv4l2h264enc",
        ),
        (
            "echo 'ERROR: from element /GstPipeline:pipeline0/nvv4l2h264enc0: Cannot open /dev/v4l2-nvenc.' >&2; exit 1",
            r"does not run \(Cannot open /dev/v4l2-nvenc\): an Orin Nano has no encoder",
        ),
        (
            "echo 'WARNING: erroneous pipeline: no element \"h264parse\"' >&2; exit 1",
            "^nvv4l2h264enc needs h264parse: sudo apt install gstreamer1.0-plugins-bad$",
        ),
        ("exit 0", "^$"),
    ],
)
def test_why_a_boards_element_does_not_encode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    program(tmp_path, f"#!/bin/sh\n{script}\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert re.search(reason, encoders.why_no_element("nvv4l2h264enc"))


def test_without_gstreamer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "sudo apt install gstreamer1.0-tools" in encoders.why_no_element("nvv4l2h264enc")


def test_an_encoder_that_dies_ends_the_recording_with_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = f"#!/bin/sh\n{shutil.which('head')} -c 20000 > /dev/null\n"
    program(tmp_path, f"{head}echo 'ERROR: from element /e: the board is hot.' >&2\nexit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(encoders, "why_no_element", lambda element: "")
    out = VideoRecorder(tmp_path / "out.mp4", encoder="gst")
    with pytest.raises(UserError, match=r"recording stopped: nvv4l2h264enc has ended \(the board is hot\)"):
        for index in range(500):
            out.write(numbered_image(index, 320, 240), index / 30)
    out.close()
    assert software_encoder().name == "x264"
