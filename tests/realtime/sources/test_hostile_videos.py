"""Whatever bytes a video or image holds, it is read or refused with one line, in little memory, and the process lives."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from realtime.sources import open_source
from tests.foreign import MAX_BYTES, damaged, few
from tests.realtime.clips import numbered_image, write_video
from tests.realtime.sources.video_reader import VideoReader

_KINDS = {".mp4": "mpeg4", ".mkv": "libx264", ".avi": "mjpeg", ".webm": "libvpx", ".ts": "mpeg2video"}
_IMAGES = (".gif", ".jpg", ".png", ".tiff", ".webp")
"""All but the JPEG with as many frames or pages as the videos."""
_FRAMES = 8
_WORDS = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80", b"moov", b"mdat", b"stsz", b"stts", b"avcC",
          b"LIST", b"idx1", b"\x1f\x43\xb6\x75", b"\xa3", b"\0\0\1\xb3", b"IHDR", b"fdAT",
          b"ANMF", b"VP8 ", b"\xff\xda")  # fmt: skip
"""Sizes, counts and names of parts, as the formats write them."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small video in each container, and an image of each kind, which most bytes of its headers are damaged in."""
    folder = tmp_path_factory.mktemp("videos")
    for ending, codec in _KINDS.items():
        pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        write_video(folder / f"whole{ending}", _FRAMES, codec=codec, pixels=pixels)
    moving = cv2.Animation()
    moving.frames = [numbered_image(index) for index in range(_FRAMES)]
    moving.durations = [100] * _FRAMES
    for ending in _IMAGES:
        name = str(folder / f"whole{ending}")
        if ending in (".jpg", ".tiff"):
            assert cv2.imwritemulti(name, moving.frames[: 1 if ending == ".jpg" else _FRAMES])
        else:
            assert cv2.imwriteanimation(name, moving)
    return {ending: (folder / f"whole{ending}").read_bytes() for ending in (*_KINDS, *_IMAGES)}


@pytest.fixture(scope="module")
def reader() -> Iterator[VideoReader]:
    """Reads in another process."""
    reader = VideoReader()
    yield reader
    reader.close()


@pytest.fixture(scope="module")
def min_mb(reader: VideoReader, whole: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> float:
    """What the process takes for videos that are whole."""
    for ending, content in whole.items():
        path = tmp_path_factory.mktemp("whole") / f"x{ending}"
        path.write_bytes(content)
        answer = reader.read(path)
        assert answer["outcome"] == "read"
        assert answer["frames"] == (1 if ending == ".jpg" else _FRAMES), ending
    return float(answer["mb"])


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.ffconcat", "list.mkv", "list.sdp"])
def test_a_playlist_in_a_file_leads_to_no_network(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:{port}/x.ts\n#EXT-X-ENDLIST\n"
        if name in ("list.ffconcat", "list.mkv"):
            playlist = f"ffconcat version 1.0\nfile 'http://127.0.0.1:{port}/x.ts'\n"
        elif name == "list.sdp":
            playlist = f"v=0\ns=x\nc=IN IP4 127.0.0.1\na=control:rtsp://127.0.0.1:{port}/x\nm=video {port} RTP/AVP 26\n"
        (tmp_path / name).write_text(playlist)
        with pytest.raises(UserError, match="cannot be read as a video"):
            open_source(str(tmp_path / name))
        with pytest.raises(BlockingIOError):
            server.accept()


@few
@pytest.mark.parametrize("ending", [*_KINDS, *_IMAGES])
@given(data=st.data())
def test_damaged_videos_and_images(
    tmp_path: Path,
    whole: dict[str, bytes],
    reader: VideoReader,
    min_mb: float,
    ending: str,
    data: st.DataObject,
) -> None:
    path = tmp_path / f"x{ending}"
    path.write_bytes(data.draw(damaged(whole[ending], _WORDS)))
    answer = reader.read(path)
    assert not answer["outcome"].startswith("fault"), answer
    assert len(answer["outcome"]) < 600
    assert answer["mb"] - min_mb < MAX_BYTES / 1e6
