from __future__ import annotations

import gc
import socket
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
from av import VideoFrame
from av.container import InputContainer

from common.arrays import ImageArray
from common.errors import UserError
from realtime.errors import SourceLost
from realtime.outputs.video import VideoRecorder
from realtime.sources import FrameTimestamp, Source, UrlSource, open_source, threaded_capture
from realtime.sources import url as url_module
from realtime.sources.pixels import FrameConverter
from realtime.sources.timing import StreamClock
from tests.conftest import Remarks
from tests.realtime.clips import number, write_video
from tests.realtime.sound import sound_of, times_of, write_tone_video
from tests.realtime.sources.camera_server import Server

pytestmark = pytest.mark.usefixtures("impatient")


def play(source: Source) -> tuple[list[FrameTimestamp], float]:
    """All timestamps, and for how many seconds the source played."""
    buffer, began = source.new_buffer(), time.monotonic()
    timestamps = list(iter(lambda: source.read_into(buffer), None))
    return timestamps, time.monotonic() - began


def test_a_stream(server: Server) -> None:
    with open_source(f"{server.url}/stream") as source:
        assert (source.live, source.size, source.frame_count) == (True, (160, 120), None)
        buffer = source.new_buffer()
        timestamps = []
        for _ in range(20):
            timestamp = source.read_into(buffer)
            assert timestamp is not None
            timestamps.append((timestamp, number(buffer)))
    indexes = [timestamp[0] for timestamp, _ in timestamps]
    assert indexes == sorted(set(indexes))
    times = [timestamp.time_s for timestamp, _ in timestamps]
    assert times == sorted(set(times))
    # The reader of this format would invent 25 frames a second: the server sends about 100.
    assert times[-1] - times[0] < 0.03 * (indexes[-1] - indexes[0])


def test_a_slow_reader_does_not_fall_behind(server: Server) -> None:
    with open_source(f"{server.url}/stream") as source:
        buffer = source.new_buffer()
        first = source.read_into(buffer)
        time.sleep(0.5)
        source.read_into(buffer)
        timestamp = source.read_into(buffer)
        assert first is not None
        assert timestamp is not None
        assert timestamp[0] - first[0] > 10
        assert time.monotonic_ns() - timestamp.captured_ns < 200e6


def test_it_reconnects_until_trying_is_over(server: Server, remarks: Remarks) -> None:
    server.frames, server.connections = 20, 2
    with UrlSource(f"{server.url}/stream", timeout_s=1, retry_s=0.4) as source:
        buffer = source.new_buffer()
        seen: list[FrameTimestamp] = []
        with pytest.raises(SourceLost, match="was lost and did not come back"):
            seen.extend(iter(lambda: source.read_into(buffer), None))
        assert source.state == "lost"
    assert seen[-1][0] > 20, "numbers go on"
    assert [timestamp.time_s for timestamp in seen] == sorted({timestamp.time_s for timestamp in seen})
    assert ["broke off" in line for line in remarks] == [True, False, True]
    assert "connected again after" in remarks[1]


def test_connections_that_break_off_leave_nothing_behind(server: Server) -> None:
    """Neither a decoder's threads nor a frame waits for Python's cycle collector, which may be long in coming."""
    server.frames = 8
    counted = []
    gc.collect()
    gc.disable()
    try:
        with UrlSource(f"{server.url}/stream") as source:
            buffer = source.new_buffer()
            for connection in range(2, 8):
                while server.asked < connection:
                    source.read_into(buffer)
                counted.append(sum(isinstance(thing, (VideoFrame, InputContainer)) for thing in gc.get_objects()))
    finally:
        gc.enable()
    assert max(counted) <= 6, counted  # the first frame of all, and what is being played


def test_a_server_that_is_away_is_waited_for(server: Server) -> None:
    port = int(server.server_address[1])
    server.interval_s = 0.02
    with open_source(f"{server.url}/stream") as source:
        buffer = source.new_buffer()
        first = source.read_into(buffer)
        server.stop()
        states = set()
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            states.add(source.state)
            time.sleep(0.02)
        assert "lost" in states
        again = Server(port)
        try:
            for _ in range(30):
                timestamp = source.read_into(buffer)
            assert first is not None
            assert timestamp is not None
            assert timestamp.time_s - first.time_s > 1.4
            assert source.state == "live"
        finally:
            again.stop()


def test_a_stream_that_is_not_there_yet_is_waited_for(remarks: Remarks) -> None:
    early = Server()
    port = int(early.server_address[1])
    early.stop()
    source = UrlSource(f"http://127.0.0.1:{port}/stream", timeout_s=1)
    assert source.state == "connecting"
    later: list[Server] = []
    threading.Timer(0.4, lambda: later.append(Server(port))).start()
    with source:
        assert source.size == (160, 120)
    later[0].stop()
    assert ["waiting for it" in line for line in remarks] == [True, False]


def test_a_stream_that_falls_silent_says_so(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded_capture, "_STALLED_S", 0.3)
    server.frames, server.stalls = 5, True
    with open_source(f"{server.url}/stream") as source:
        time.sleep(0.6)
        assert source.state == "stalled"


def test_the_rate_of_a_stream_without_times_is_measured(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(url_module, "_RATE_S", 0.5)
    server.interval_s = 0.05
    with open_source(f"{server.url}/stream") as source:
        buffer = source.new_buffer()
        for _ in range(25):
            source.read_into(buffer)
        assert 2 < source.fps < 22  # and not the 25 that FFmpeg invents; a busy machine sends less than 20


def test_close_ends_a_read_from_a_stream_that_stalls(server: Server) -> None:
    server.frames, server.stalls = 5, True
    source = open_source(f"{server.url}/stream")
    buffer = source.new_buffer()
    answers: list[object] = []

    def read() -> None:
        while source.read_into(buffer) is not None:
            pass
        answers.append(None)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.3)
    start = time.monotonic()
    source.close()
    thread.join(1.0)
    assert answers == [None]
    assert time.monotonic() - start < 1.0


@pytest.mark.parametrize(
    ("name", "container"),
    [
        ("clip.mp4", {"movflags": "faststart"}),
        ("index_at_the_end.mp4", {}),
        ("broadcast.ts", {}),
        ("clip.mkv", {}),
        ("raw.h264", {}),
        ("motion.avi", {}),
    ],
)
@pytest.mark.parametrize("sized", [True, False])
def test_a_film_behind_an_address_plays_once_at_its_pace(
    server: Server, tmp_path: Path, remarks: Remarks, name: str, container: dict[str, str], sized: bool
) -> None:
    server.files[f"/{name}"] = write_video(tmp_path / name, 30, container=container).read_bytes()
    if not sized:
        if name not in ("clip.mp4", "clip.mkv", "motion.avi"):
            pytest.skip("without a length a server can only be believed to stream")
        server.unsized.add(f"/{name}")
    with open_source(f"{server.url}/{name}") as source:
        timestamps, seconds = play(source)
    assert timestamps[-1].time_s == pytest.approx(29 / 30, abs=0.08)
    assert len(timestamps) >= 10
    assert 0.5 < seconds < 4
    assert not [line for line in remarks.warnings if "broke off" not in line]
    assert server.asked <= 4


def test_slow_motion_behind_an_address(server: Server, tmp_path: Path) -> None:
    server.files["/clip.mp4"] = write_video(tmp_path / "a.mp4", 61, container={"movflags": "faststart"}).read_bytes()
    with open_source(f"{server.url}/clip.mp4", fps=120) as source:
        assert source.fps == 120
        assert play(source)[0][-1].time_s == pytest.approx(0.5, abs=0.02)


def test_spaces_in_the_address_of_a_film(server: Server, tmp_path: Path) -> None:
    server.files["/my%20video.ts"] = write_video(tmp_path / "a.ts", 10).read_bytes()
    with open_source(f"{server.url}/my video.ts") as source:
        assert source.size == (64, 48)


def test_a_scheme_in_capitals(server: Server, tmp_path: Path) -> None:
    server.files["/a.ts"] = write_video(tmp_path / "a.ts", 10).read_bytes()
    with open_source(server.url.replace("http", "HTTP") + "/a.ts") as source:
        assert source.size == (64, 48)


def test_narrow_pixels_of_a_stream(server: Server, tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", 10, size=(48, 48), options={"aspect": "4:3", "x264-params": "sar=4/3"})
    server.files["/a.ts"] = path.read_bytes()
    with open_source(f"{server.url}/a.ts") as source:
        assert source.size == (64, 48)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:1/x", "refused"),
        ("rtsp://127.0.0.1:1/x", "refused"),
        ("nonsense://x", "reads no nonsense addresses; take rtsp"),
    ],
)
def test_an_address_that_does_not_answer(url: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as caught:
        open_source(url, retry_s=0)
    assert url in str(caught.value)
    assert not isinstance(caught.value, SourceLost)


def test_silence_is_called_by_its_name() -> None:
    with socket.create_server(("127.0.0.1", 0)) as quiet:
        for scheme in ("tcp", "http"):
            source = UrlSource(f"{scheme}://127.0.0.1:{quiet.getsockname()[1]}", timeout_s=0.3, retry_s=0)
            with pytest.raises(UserError, match=r"no answer within 0\.3 s"):
                source.open()


@pytest.mark.parametrize(("path", "why"), [("nothing", "404"), ("private", "401")])
def test_what_trying_again_does_not_help(server: Server, path: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        open_source(f"{server.url}/{path}")


def test_passwords_are_not_shown(server: Server) -> None:
    with pytest.raises(UserError) as caught:
        open_source("rtsp://me:secret@127.0.0.1:1/x", retry_s=0)
    assert "secret" not in str(caught.value)
    with open_source(f"{server.url}/stream?pwd=secret".replace("http://", "http://me:secret@")) as source:
        assert source.name == f"{server.url}/stream"


def test_a_stream_too_large_to_decode_stays_young(
    server: Server, monkeypatch: pytest.MonkeyPatch, remarks: Remarks
) -> None:
    convert = FrameConverter.convert

    def slow(self: FrameConverter, frame: av.VideoFrame, buffer: ImageArray) -> None:
        time.sleep(0.1)
        convert(self, frame, buffer)

    monkeypatch.setattr(FrameConverter, "convert", slow)
    with open_source(f"{server.url}/stream") as source:
        buffer = source.new_buffer()
        ages_ms, indexes = [], []
        for _ in range(12):
            timestamp = source.read_into(buffer)
            assert timestamp is not None
            ages_ms.append((time.monotonic_ns() - timestamp.captured_ns) / 1e6)
            indexes.append(timestamp.index)
    assert max(ages_ms[3:]) < 450
    assert max(ages_ms[3:]) > 90, "the age counts from the arrival"
    assert indexes[-1] - indexes[0] > 60, "what was dropped is counted"
    assert sum("more than can be decoded" in line for line in remarks) == 1


def test_stream_clock() -> None:
    clock = StreamClock()
    arrivals_ms = [0, 45, 60, 110, 3000, 3040]
    sent_s = [100.0, 100.033, 100.067, 100.1, 100.133, 100.167]
    times = [clock.time_of(pts, ms * 1_000_000 + 5) for pts, ms in zip(sent_s, arrivals_ms, strict=True)]
    # Jitter is taken out; after a gap of 3 s that the sender does not know of, the arrival counts.
    assert times == pytest.approx([0, 0.033, 0.067, 0.1, 3.0, 3.034])
    assert clock.early_by(4.0, 3_000_000_005) == pytest.approx(0.75)
    clock.reset()
    assert clock.time_of(7.0, 5_000_000_005) == pytest.approx(5.0)
    assert clock.time_of(None, 5_000_000_005) > 5.0


def test_the_sound_of_a_file_behind_an_address_comes_with_its_frames(server: Server, tmp_path: Path) -> None:
    clip = write_tone_video(tmp_path / "clip.mkv", 30, video_from_s=0.5, tone_s=1.5)
    server.files["/clip.mkv"] = clip.read_bytes()
    with open_source(f"{server.url}/clip.mkv") as source, VideoRecorder(tmp_path / "out.mp4", zero_s=0.0) as out:
        out.add_audio(source.open_audio())
        buffer = source.new_buffer()
        while (stamp := source.read_into(buffer)) is not None:
            out.write(buffer, stamp.time_s)
    found = sound_of(tmp_path / "out.mp4")
    expected = [(time_s - 0.5, data) for time_s, data in sound_of(clip) if time_s > 0.48][: len(found)]
    assert found[-1][0] > times_of(clip)[-1] - 0.6
    assert [data for _, data in found] == [data for _, data in expected]
    np.testing.assert_allclose([time_s for time_s, _ in found], [time_s for time_s, _ in expected], atol=2e-3)
