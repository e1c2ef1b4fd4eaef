"""Whatever bytes a video file holds, it is read or refused with one line, in little memory, and the process lives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.foreign import MAX_BYTES, damaged, few
from tests.realtime.clips import write_video
from tests.realtime.sources.video_reader import VideoReader

_KINDS = {".mp4": "mpeg4", ".mkv": "libx264", ".avi": "mjpeg", ".webm": "libvpx", ".ts": "mpeg2video"}
_WORDS = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\x80", b"moov", b"mdat", b"stsz", b"stts", b"avcC",
          b"LIST", b"idx1", b"\x1f\x43\xb6\x75", b"\xa3", b"\0\0\1\xb3")  # fmt: skip
"""Sizes, counts and names of parts, as the containers write them."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A small video in each container, which most bytes of its headers are damaged in."""
    folder = tmp_path_factory.mktemp("videos")
    return {
        ending: write_video(
            folder / f"whole{ending}", 8, codec=codec, pixels="yuvj420p" if codec == "mjpeg" else "yuv420p"
        ).read_bytes()
        for ending, codec in _KINDS.items()
    }


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
        assert answer["frames"] == 8, ending
    return float(answer["mb"])


@few
@pytest.mark.parametrize("ending", _KINDS)
@given(data=st.data())
def test_damaged_videos(
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
