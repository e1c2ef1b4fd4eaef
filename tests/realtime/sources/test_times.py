"""Times and rates of files whose format says them wrong, or not at all."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from realtime.sources import open_source
from realtime.sources.timing import FileClock
from tests.conftest import Remarks
from tests.realtime.clips import numbered_image, write_video
from tests.realtime.sources.camera_server import Server
from tests.realtime.sources.reading import read_all, times_of


def test_joined_files_go_on_where_the_first_one_ended(tmp_path: Path) -> None:
    """Timestamps of a joined MPEG-TS start over, here by less than a second."""
    first, second = (write_video(tmp_path / name, 25, options={"bf": "0"}) for name in ("a.ts", "b.ts"))
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    with open_source(str(joined)) as source:
        times = times_of(read_all(source)[0])
    assert len(times) == 50
    np.testing.assert_allclose(times, np.arange(50) / 30, atol=1e-3)


@pytest.mark.parametrize("back_s", [0.15, 0.5, 0.97, 1.0, 400.0])
def test_timestamps_that_start_over(back_s: float) -> None:
    clock = FileClock(30.0)
    pts = np.concatenate([np.arange(40) / 30, np.arange(40) / 30 + 40 / 30 - back_s])
    times = [clock.time_of(float(one)) for one in pts]
    np.testing.assert_allclose(times, np.arange(80) / 30, atol=1e-9)


def test_timestamps_that_tell_no_frames_apart_are_not_used(tmp_path: Path, remarks: Remarks) -> None:
    with av.open(str(tmp_path / "ticks.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90000)
        for index in range(20):
            frame = av.VideoFrame.from_ndarray(numbered_image(index), format="bgr24")
            frame.pts, frame.time_base = index, Fraction(1, 90000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with open_source(str(tmp_path / "ticks.mp4")) as source:
        times = times_of(read_all(source)[0])
    np.testing.assert_allclose(times, np.arange(20) / 25, atol=1e-6)
    assert "does not say its frame rate" in remarks[0]
    with open_source(str(tmp_path / "ticks.mp4"), fps=10) as source:
        np.testing.assert_allclose(times_of(read_all(source)[0]), np.arange(20) / 10, atol=1e-6)


def test_one_stray_timestamp_moves_nothing_after_it() -> None:
    clock = FileClock(30.0)
    pts = np.arange(40) / 30
    stray = pts.copy()
    stray[20] -= 0.4
    np.testing.assert_allclose([clock.time_of(float(one)) for one in stray], pts, atol=1e-9)


@pytest.mark.parametrize("name", ["a.h264", "a.m2v"])
def test_bare_codec_data_play_at_the_rate_in_them(tmp_path: Path, remarks: Remarks, name: str) -> None:
    codec = "libx264" if name.endswith("h264") else "mpeg2video"
    with open_source(str(write_video(tmp_path / name, 31, codec=codec, rate=50))) as source:
        times = times_of(read_all(source)[0])
        assert source.fps == 50
    assert times[-1] == pytest.approx(30 / 50)
    assert not remarks.warnings


def test_a_rate_that_nothing_says_is_said(tmp_path: Path, remarks: Remarks) -> None:
    path = str(write_video(tmp_path / "a.mjpeg", 11, codec="mjpeg", pixels="yuvj420p"))
    with open_source(path) as source:
        assert source.fps == 25
    assert "does not say its frame rate" in remarks.warnings[0]
    remarks.warnings.clear()
    with open_source(path, fps=50) as source:
        assert times_of(read_all(source)[0])[-1] == pytest.approx(0.2)
        assert source.fps == 50
    assert not remarks.warnings


@pytest.mark.parametrize(("name", "claimed"), [("a.mkv", 1000), ("a.webm", 1000), ("a.avi", 30), ("a.h264", 30)])
def test_the_rate_of_a_recording_behind_an_address_comes_from_its_timestamps(
    tmp_path: Path, name: str, claimed: int
) -> None:
    server = Server()
    times_ms = [round(1000 * index / 30) for index in range(40)] if claimed == 1000 else None
    codec = "libvpx" if name.endswith("webm") else "libx264"
    path = write_video(tmp_path / name, 40, codec=codec, times_ms=times_ms, rate=claimed)
    server.files[f"/{name}"] = path.read_bytes()
    try:
        with open_source(f"{server.url}/{name}") as source:
            assert source.fps == pytest.approx(30, rel=0.05)
    finally:
        server.stop()


def test_frames_are_played_rather_than_a_still_image_beside_them(tmp_path: Path) -> None:
    """As in an animated AVIF, or where a cover is not marked as one."""
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as out:
        still = out.add_stream("mjpeg", rate=30)
        moving = out.add_stream("libx264", rate=30)
        assert isinstance(still, av.VideoStream)
        assert isinstance(moving, av.VideoStream)
        still.width, still.height, still.pix_fmt = 128, 96, "yuvj420p"
        moving.width, moving.height, moving.pix_fmt = 64, 48, "yuv420p"
        image = av.VideoFrame.from_ndarray(np.zeros((96, 128, 3), np.uint8), "bgr24")
        out.mux(still.encode(image.reformat(format="yuvj420p")))
        out.mux(still.encode(None))
        for _ in range(12):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), "bgr24")
            out.mux(moving.encode(frame.reformat(format="yuv420p")))
        out.mux(moving.encode(None))
    with open_source(str(path)) as source:
        assert source.size == (64, 48)
