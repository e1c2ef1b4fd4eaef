"""Addresses of web pages, documents and nothing are refused in one line instead of being waited for."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.errors import UserError
from realtime.sources import UrlSource, open_source
from realtime.sources.served import request_of, what_is_served
from tests.realtime.sources.camera_server import Server
from tests.realtime.sources.reading import read_all

_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Camera 1</title></head><body>" + b"<p>log in</p>" * 200 + b"</body></html>"
)
_SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="5" height="5"/></svg>'
_PLAYLIST = b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n"


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the path says; /loop leads to itself, /login to a page."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        way = {"/loop": "/loop", "/login": "/200"}.get(self.path)
        self.send_response(302 if way else int(self.path[1:4]))
        if way:
            self.send_header("Location", way)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        if self.path == "/200":
            self.wfile.write(_PAGE)


@pytest.fixture
def answers() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize(
    ("data", "what"),
    [
        (_PAGE, "a web page"),
        (b"<html>404 not found</html>", "a web page"),
        (b'{"error": "no such camera"}', "JSON"),
        (b"[]", "JSON"),
        (b'<?xml version="1.0"?><feed></feed>', "an XML document"),
        (b"%PDF-1.4\n" + bytes(3000), "a PDF document"),
        (b"PK\x03\x04" + bytes(3000), "an archive"),
        (_PLAYLIST + b"#EXTINF:4,\nnot_there.ts\n#EXT-X-ENDLIST\n", "a playlist without a video that can be read"),
    ],
)
def test_what_is_no_video_is_not_waited_for(server: Server, data: bytes, what: str, sized: bool) -> None:
    server.files["/x"] = data
    server.unsized = set() if sized else {"/x"}
    with pytest.raises(UserError, match=what) as caught:
        open_source(f"{server.url}/x")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("/nothing.mp4", b""),
        ("/empty.m3u8", _PLAYLIST + b"#EXT-X-ENDLIST\n"),
        ("/text.txt", b"hello\n" * 100),
        ("/drawing.svg", _SVG),
        ("/bytes", bytes(range(256)) * 9),
    ],
)
def test_nor_are_files_without_a_video(server: Server, name: str, data: bytes) -> None:
    server.files[name] = data
    with pytest.raises(UserError, match="no video"):
        open_source(server.url + name)


@pytest.mark.parametrize(
    ("path", "what"), [("/login", "a web page"), ("/loop", "leads nowhere"), ("/204", "nothing"), ("/410", "410")]
)
def test_other_answers_that_waiting_does_not_change(answers: str, path: str, what: str) -> None:
    with pytest.raises(UserError, match=what):
        open_source(answers + path)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_busy_is_waited_for(answers: str, status: int) -> None:
    assert what_is_served(f"{answers}/{status}", 5.0) is None


def test_a_live_playlist_may_be_empty_at_first(server: Server) -> None:
    server.files["/live.m3u8"] = _PLAYLIST
    assert what_is_served(f"{server.url}/live.m3u8", 5.0) is None


def test_a_server_may_send_byte_by_byte(server: Server) -> None:
    server.files["/live.m3u8"], server.files["/page"] = _PLAYLIST, b"<!DOCTYPE html><html></html>"
    server.takes_s["/live.m3u8"] = server.takes_s["/page"] = 0.4
    assert what_is_served(f"{server.url}/live.m3u8", 5.0) is None
    assert what_is_served(f"{server.url}/page", 5.0) == "a web page"


def test_a_stream_is_no_page(server: Server) -> None:
    assert what_is_served(f"{server.url}/stream", 5.0) is None
    assert what_is_served("http://127.0.0.1:1/", 1.0) is None


def test_an_image_behind_an_address_is_one_frame(server: Server, tmp_path: Path) -> None:
    image = np.full((48, 64, 3), (40, 90, 160), np.uint8)
    server.files["/image.png"] = cv2.imencode(".png", image)[1].tobytes()
    with open_source(f"{server.url}/image.png") as source:
        _, images = read_all(source)
    assert len(images) == 1
    np.testing.assert_allclose(images[0], image, atol=3)


def test_a_password_is_sent_as_http_wants_it() -> None:
    request = request_of("http://me:s%40cret@127.0.0.1:8080/x?y=1")
    assert request.full_url == "http://127.0.0.1:8080/x?y=1"
    assert request.get_header("Authorization") == "Basic bWU6c0BjcmV0"


def test_a_password_is_told_to_nobody_else() -> None:
    """A server may send the reader on to another one, but the password is not for that."""
    told: dict[int, list[str]] = {}

    class Asked(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            port = self.server.server_address[1]
            told.setdefault(port, []).append(self.headers.get("Authorization", "nothing"))
            way = {"/far": f"http://127.0.0.1:{far.server_address[1]}/x", "/near": "/x"}.get(self.path)
            self.send_response(302 if way else 404)
            if way:
                self.send_header("Location", way)
            self.end_headers()

    near, far = (http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked) for _ in range(2))
    for one in (near, far):
        threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        for path in ("near", "far"):
            what_is_served(f"http://me:secret@127.0.0.1:{near.server_address[1]}/{path}", 5.0)
    finally:
        for one in (near, far):
            one.shutdown()
            one.server_close()
    basic = "Basic bWU6c2VjcmV0"
    assert told == {near.server_address[1]: [basic, basic, basic], far.server_address[1]: ["nothing"]}


def test_a_page_in_place_of_a_stream_that_was_live_is_waited_for(server: Server) -> None:
    server.frames, server.connections = 3, 1
    with UrlSource(f"{server.url}/stream", retry_s=0.5) as source:
        source.open()
        server.files["/stream"] = _PAGE
        with pytest.raises(UserError, match="was lost"):
            read_all(source)
