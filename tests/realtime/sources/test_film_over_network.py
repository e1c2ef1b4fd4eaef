"""Films whose server is slow, breaks off, packs what it sends or begins later."""

from __future__ import annotations

import gzip
import io
import itertools
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import pytest

from common.errors import UserError
from realtime.sources import FileSource, FrameTimestamp, open_source
from realtime.sources.packets import Arrival, PacketReader
from realtime.sources.timing import FilmClock
from tests.conftest import Remarks
from tests.realtime.clips import number, write_sound, write_video
from tests.realtime.sources.camera_server import Server
from tests.realtime.sources.reading import read_all, times_of

pytestmark = pytest.mark.usefixtures("impatient")


def _play(url: str) -> tuple[list[FrameTimestamp], list[int]]:
    with open_source(url) as source:
        timestamps, images = read_all(source)
    return timestamps, [number(image) for image in images]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts"])
def test_a_film_from_a_slow_server_has_its_own_times(server: Server, tmp_path: Path, name: str) -> None:
    container = {"movflags": "faststart"} if name == "clip.mp4" else {}
    options = {"crf": "1", "bf": "0"}
    path = write_video(tmp_path / name, 60, size=(320, 240), container=container, options=options)
    server.files[f"/{name}"] = path.read_bytes()
    server.takes_s[f"/{name}"] = 5.0
    timestamps, numbers = _play(f"{server.url}/{name}")
    assert len(numbers) >= 20, "a busy machine may miss some"
    assert numbers[-1] == 59
    assert times_of(timestamps) == pytest.approx([at / 30 for at in numbers], abs=2e-3)
    # None of them came too late for the film's clock, which has waited for the network.
    assert [stamp.index for stamp in timestamps] == numbers


def test_the_clock_of_a_film() -> None:
    clock = FilmClock()
    assert [clock.time_of(pts, 10**9) for pts in (7.0, 7.5, 90.0)] == pytest.approx([0.0, 0.5, 83.0])
    assert clock.time_of(1.0, 0) == pytest.approx(83.0 + 1 / 30), "timestamps that start over go on"
    assert clock.time_of(50_000.0, 0) == pytest.approx(83.0 + 2 / 30), "a gap of half a day is closed"
    assert clock.place_of(50_001.0) == pytest.approx(84.0 + 2 / 30)


def test_a_film_waits_for_its_network_and_nobody_for_hours() -> None:
    clock = FilmClock()
    assert clock.early_by(0.0, 10**9) == pytest.approx(0.0)
    assert clock.early_by(1.0, 10**9) == pytest.approx(1.0)
    clock.wait_for_network(1.0, 5 * 10**9)
    assert clock.early_by(1.0, 5 * 10**9) == pytest.approx(0.0)
    assert clock.early_by(2.0, 5 * 10**9) == pytest.approx(1.0)
    assert clock.early_by(3600.0, 6 * 10**9) == 0.0
    assert clock.early_by(3601.0, 6 * 10**9) == pytest.approx(1.0)


@pytest.mark.parametrize("sized", [True, False])
def test_a_film_that_breaks_off_says_so(server: Server, tmp_path: Path, remarks: Remarks, sized: bool) -> None:
    path = write_video(tmp_path / "clip.mp4", 60, container={"movflags": "faststart"}, options={"bf": "0"})
    data = path.read_bytes()
    server.files["/clip.mp4"] = data[: len(data) * 2 // 3]
    if sized:
        server.headers["/clip.mp4"] = {"Content-Length": str(len(data))}
    else:
        server.unsized.add("/clip.mp4")
    _, numbers = _play(f"{server.url}/clip.mp4")
    assert 0 < len(numbers) < 55
    assert sum("the connection broke off" in line for line in remarks.warnings) == 1


def _emptied(packet: Any, count: int) -> Any:
    """``packet``, or one of no bytes in its place where it is the fourth or the eighth."""
    if count not in (3, 7):
        return packet
    empty = av.Packet(0)
    empty.stream, empty.pts, empty.dts, empty.time_base = packet.stream, packet.pts, packet.dts, packet.time_base
    return empty


@pytest.mark.parametrize("over_network", [False, True])
def test_packets_of_no_bytes_are_no_damage(
    server: Server, tmp_path: Path, remarks: Remarks, monkeypatch: pytest.MonkeyPatch, over_network: bool
) -> None:
    """Theora stores a frame that is the one before again so; FFmpeg's writers of other formats leave such packets out."""
    read, take, counter = FileSource._packets, PacketReader.take, itertools.count()

    def from_file(self: FileSource, *about: Any) -> Iterator[Any]:
        return (_emptied(packet, count) for count, packet in enumerate(read(self, *about)))

    def from_network(self: PacketReader) -> Arrival | None:
        arrival = take(self)
        return None if arrival is None else Arrival(_emptied(arrival.packet, next(counter)), arrival.arrived_ns)

    monkeypatch.setattr(FileSource, "_packets", from_file)
    monkeypatch.setattr(PacketReader, "take", from_network)
    path = write_video(tmp_path / "clip.mkv", 10, codec="mjpeg", pixels="yuvj420p")
    server.files["/clip.mkv"] = path.read_bytes()
    timestamps, numbers = _play(f"{server.url}/clip.mkv" if over_network else str(path))
    assert numbers[-1] == 9
    assert set(numbers) <= {0, 1, 2, 4, 5, 6, 8, 9}
    assert over_network or len(numbers) == 8  # a busy machine may miss one that is played at its pace
    assert times_of(timestamps) == pytest.approx([at / 30 for at in numbers], abs=2e-3)
    assert not remarks.warnings


def _large(path: Path) -> Path:
    """More than FFmpeg reads at a time, so that the index at its end cannot be had without reading on."""
    write_video(path, 30, size=(640, 480), codec="mjpeg", pixels="yuvj420p")
    assert path.stat().st_size > 100_000
    return path


def _playlist(ended: bool) -> bytes:
    lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", "#EXT-X-MEDIA-SEQUENCE:0"]
    return "\n".join([*lines, *(("#EXTINF:1.0,", "a.ts", "#EXT-X-ENDLIST") if ended else ()), ""]).encode()


@pytest.mark.parametrize("at_first", ["nothing", "an empty list"])
def test_an_encoder_that_begins_later_is_waited_for(
    server: Server, tmp_path: Path, remarks: Remarks, at_first: str
) -> None:
    server.files["/a.ts"] = write_video(tmp_path / "a.ts", 30).read_bytes()
    if at_first == "an empty list":
        server.files["/live.m3u8?token=S3cret"] = _playlist(False)
    threading.Timer(0.4, lambda: server.files.update({"/live.m3u8?token=S3cret": _playlist(True)})).start()
    _, numbers = _play(f"{server.url}/live.m3u8?token=S3cret")
    assert numbers[-1] == 29
    assert "waiting for it" in remarks.warnings[0]
    assert not any("S3cret" in line for line in remarks)


def test_what_a_server_packs_is_unpacked(server: Server, tmp_path: Path) -> None:
    server.files["/clip.mp4"] = gzip.compress(_large(tmp_path / "clip.mp4").read_bytes())
    server.files["/page"] = gzip.compress(b"<!DOCTYPE html><html><body>log in</body></html>")
    server.headers["/clip.mp4"] = server.headers["/page"] = {"Content-Encoding": "gzip"}
    assert _play(f"{server.url}/clip.mp4")[1][-1] == 29
    with pytest.raises(UserError, match="a web page"):
        open_source(f"{server.url}/page")


@pytest.mark.parametrize("typed", [True, False])
def test_sound_alone_is_called_so(server: Server, tmp_path: Path, typed: bool) -> None:
    server.files["/a.mp3"] = write_sound(tmp_path / "a.m4a").read_bytes()
    server.headers["/a.mp3"] = {"Content-Type": "audio/mp4"} if typed else {}
    with pytest.raises(UserError, match="sound alone" if typed else "a file that is no video"):
        open_source(f"{server.url}/a.mp3")


def test_a_dash_playlist_is_named(server: Server) -> None:
    server.files["/a.mpd"] = (
        b'<?xml version="1.0" encoding="utf-8"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>'
    )
    with pytest.raises(UserError, match=r"DASH playlist.*HLS"):
        open_source(f"{server.url}/a.mpd")


def test_a_temporary_folder_that_is_full_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    server.files["/clip.mp4"] = _large(tmp_path / "clip.mp4").read_bytes()
    with pytest.raises(UserError, match=r"is full.*TMPDIR"):
        open_source(f"{server.url}/clip.mp4")


def test_a_gap_of_many_hours_is_closed_and_is_no_end(server: Server, tmp_path: Path, remarks: Remarks) -> None:
    times_ms = [33 * index + (30_000_000 if index >= 10 else 0) for index in range(20)]
    server.files["/gap.mkv"] = write_video(tmp_path / "gap.mkv", 20, times_ms=times_ms).read_bytes()
    timestamps, numbers = _play(f"{server.url}/gap.mkv")
    assert numbers[-1] == 19
    assert times_of(timestamps)[-1] < 1
    assert ["gap of 30000 s" in line for line in remarks] == [True]
