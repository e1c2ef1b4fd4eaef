"""Files that are damaged, cut short, or no video at all: what can be read is read, the rest is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.errors import UserError
from realtime.sources import open_source
from tests.conftest import Remarks
from tests.realtime.clips import number, write_sound, write_video
from tests.realtime.sources.reading import read_all, times_of


@pytest.mark.parametrize("faststart", [True, False])
def test_cut_short(tmp_path: Path, faststart: bool, remarks: Remarks) -> None:
    # The table of contents at the front survives the cut; at the end it is lost with it.
    movflags = {"movflags": "faststart"} if faststart else None
    path = write_video(tmp_path / "cut.mp4", 200, options={"g": "10"}, container=movflags)
    data = path.read_bytes()
    start = data.index(b"mdat")
    path.write_bytes(data[: start + (len(data) - start) * 6 // 10])
    if not faststart:
        with pytest.raises(UserError, match=r"cut\.mp4 cannot be read as a video"):
            open_source(str(path))
        return
    with open_source(str(path)) as source:
        timestamps, images = read_all(source)
        assert len(remarks) == 1
        assert "damaged or cut short: it ends after" in remarks[0]
    assert 20 < len(timestamps) < 200
    assert [number(image) for image in images[:20]] == list(range(20))


def test_damage_in_the_middle_is_left_out(tmp_path: Path, remarks: Remarks) -> None:
    path = write_video(tmp_path / "hole.mp4", 60, options={"g": "5", "crf": "1"}, container={"movflags": "faststart"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 10] = b"\xff" * (len(data) // 10)
    path.write_bytes(data)
    with open_source(str(path)) as source:
        timestamps, images = read_all(source)
        assert len(remarks) == 1
        assert "is damaged" in remarks[0]
    assert number(images[-1]) == 59
    assert (np.diff(times_of(timestamps)) > 0).all()


def test_frames_that_change_size_are_fitted(tmp_path: Path, remarks: Remarks) -> None:
    small, large = (
        write_video(tmp_path / name, 3, size=size, codec="mjpeg", pixels="yuvj420p")
        for name, size in (("s.mjpeg", (64, 48)), ("l.mjpeg", (96, 48)))
    )
    path = tmp_path / "both.mjpeg"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    with open_source(str(path), fps=25) as source:
        _, images = read_all(source)
        assert len(remarks) == 1
        assert "change from 64x48 to 96x48" in remarks[0]
    assert len(images) == 6
    assert images[5][:7].max() < 20, "black above"
    assert images[5][24, 60].max() < 60


@pytest.mark.parametrize(
    ("name", "content"), [("text.mp4", b"hello\n" * 200), ("empty.mp4", b""), ("words.txt", b"hello\n" * 200)]
)
def test_what_is_no_video(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        open_source(str(tmp_path / name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sound_without_frames(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no video in it, only audio"):
        open_source(str(write_sound(tmp_path / "song.m4a")))


def test_no_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / "none.mkv", 1)
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # up to the first cluster
    with pytest.raises(UserError, match=r"none\.mkv"):
        open_source(str(path))


def test_titles_in_old_encodings(tmp_path: Path) -> None:
    path = write_video(tmp_path / "umlaut.mp4", 2)
    data = path.read_bytes()
    assert b"Lavf" in data
    path.write_bytes(data.replace(b"Lavf", b"La\xfcf"))
    with open_source(str(path)) as source:
        assert len(read_all(source)[0]) == 2


def test_an_unknown_codec(tmp_path: Path) -> None:
    path = write_video(tmp_path / "new.mkv", 2)
    path.write_bytes(path.read_bytes().replace(b"V_MPEG4/ISO/AVC", b"V_FUTURE/ISO/AV"))
    with pytest.raises(UserError, match=r"cannot be decoded here: convert it to H\.264"):
        open_source(str(path))


def test_no_file() -> None:
    with pytest.raises(UserError, match=r"there is no file nowhere\.mp4"):
        open_source("nowhere.mp4")
