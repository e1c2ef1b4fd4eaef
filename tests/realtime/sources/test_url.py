from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from common.errors import UserError
from realtime.errors import SourceLost
from realtime.sources import FrameTimestamp, UrlSource, open_source
from realtime.sources.timing import StreamClock
from realtime.sources.url import without_password
from tests.conftest import Remarks
from tests.realtime.clips import number, picture, write_video


class Server(http.server.ThreadingHTTPServer):
    """A network camera at /stream, which breaks off after ``pictures``, and a film at /film.mp4."""

    daemon_threads = True
    pictures = 10**9
    connections = 10**9
    interval_s = 0.01
    stalls = False
    film = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/film.mp4":
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.server.film)))
            self.end_headers()
            self.wfile.write(self.server.film)
            return
        if self.path != "/stream" or self.server.connections <= 0:
            self.send_error(404)
            return
        self.server.connections -= 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for index in range(self.server.pictures):
                data = cv2.imencode(".jpg", picture(index % 256, 160, 120))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(self.server.interval_s)
            while self.server.stalls:
                time.sleep(0.05)
        except OSError:
            pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.stalls = False
    server.pictures = 0
    server.shutdown()
    server.server_close()


def test_a_stream(server: Server) -> None:
    with open_source(f"{server.url}/stream") as source:
        assert (source.live, source.size, source.frame_count) == (True, (160, 120), None)
        buffer = source.new_buffer()
        stamps = []
        for _ in range(20):
            stamp = source.read_into(buffer)
            assert stamp is not None
            stamps.append((stamp, number(buffer)))
    indexes = [stamp[0] for stamp, _ in stamps]
    assert indexes == sorted(set(indexes))
    times = [stamp.time_s for stamp, _ in stamps]
    assert times == sorted(set(times))
    # The reader of this format would invent 25 pictures a second: the server sends about 100.
    assert times[-1] - times[0] < 0.03 * (indexes[-1] - indexes[0])


def test_a_slow_reader_does_not_fall_behind(server: Server) -> None:
    with open_source(f"{server.url}/stream") as source:
        buffer = source.new_buffer()
        first = source.read_into(buffer)
        time.sleep(0.5)
        source.read_into(buffer)
        stamp = source.read_into(buffer)
        assert first is not None
        assert stamp is not None
        assert stamp[0] - first[0] > 10
        assert time.monotonic_ns() - stamp.captured_ns < 200e6


def test_it_reconnects(server: Server, remarks: Remarks) -> None:
    server.pictures, server.connections = 20, 2
    with UrlSource(f"{server.url}/stream", timeout_s=1, retry_delays_s=(0.02, 0.05)) as source:
        buffer = source.new_buffer()
        seen: list[FrameTimestamp] = []
        with pytest.raises(SourceLost, match="did not come back after 2 attempts"):
            seen.extend(iter(lambda: source.read_into(buffer), None))
    assert seen[-1][0] > 20, "numbers go on"
    assert [stamp.time_s for stamp in seen] == sorted({stamp.time_s for stamp in seen})
    assert ["broke off" in line for line in remarks] == [True, False, True]
    assert "connected again after" in remarks[1]


def test_close_ends_a_read_from_a_stream_that_stalls(server: Server) -> None:
    server.pictures, server.stalls = 5, True
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


def test_a_film_behind_an_address_plays_at_its_pace_and_ends(server: Server, tmp_path: Path, remarks: Remarks) -> None:
    server.film = write_video(tmp_path / "film.mp4", 30, container={"movflags": "faststart"}).read_bytes()
    with open_source(f"{server.url}/film.mp4") as source:
        buffer = source.new_buffer()
        start, last = time.monotonic(), -1.0
        while (stamp := source.read_into(buffer)) is not None:
            last = stamp.time_s
        assert last == pytest.approx(29 / 30, abs=0.01)
        assert time.monotonic() - start > 0.5
        assert not remarks


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:1/x", "refused"),
        ("rtsp://127.0.0.1:1/x", "refused"),
        ("nonsense://x", "Protocol not found"),
    ],
)
def test_an_address_that_does_not_answer(url: str, why: str) -> None:
    with pytest.raises(UserError, match=why) as caught:
        open_source(url)
    assert url in str(caught.value)
    assert not isinstance(caught.value, SourceLost)


def test_a_wrong_path_on_the_server(server: Server) -> None:
    with pytest.raises(UserError, match="404"):
        open_source(f"{server.url}/nothing")


def test_passwords_are_not_shown() -> None:
    assert without_password("rtsp://me:secret@10.0.0.2/live") == "rtsp://10.0.0.2/live"
    assert without_password("http://10.0.0.2/a@b") == "http://10.0.0.2/a@b"
    with pytest.raises(UserError) as caught:
        open_source("rtsp://me:secret@127.0.0.1:1/x")
    assert "secret" not in str(caught.value)


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
