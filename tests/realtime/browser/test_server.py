"""The server and its viewers: what is answered, who is refused, and that nobody waits for a slow one."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
import re
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import cv2
import numpy as np
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from body.model import BodyArrays, load_body
from common.errors import UserError
from realtime.browser import server as servers
from realtime.browser.files import CONTENT_SECURITY_POLICY, STATIC
from realtime.browser.protocol import POSE, VIDEO
from realtime.browser.qr import qr_text
from realtime.browser.server import Viewer, ViewerServer
from realtime.browser.video import FRAMES_PER_S, LONGEST_PX, VideoEncoder
from realtime.browser.view import BrowserState, BrowserView
from realtime.draw.mannequin import mannequin_for
from tests.realtime.browser.people import result_of


@pytest.fixture(scope="module")
def arrays() -> BodyArrays:
    return load_body("body_1722")


@pytest.fixture
def view(arrays: BodyArrays) -> Iterator[BrowserView]:
    with BrowserView("127.0.0.1", 0, arrays, mannequin_for(arrays), "camera 0", 30.0, True, (640, 480)) as opened:
        yield opened


@contextmanager
def look(view: BrowserView, **options: Any) -> Iterator[ClientConnection]:
    """A viewer that has been told who it looks at."""
    url = view.link.replace("http", "ws").partition("#")[0] + "live"
    with connect(url, compression=None, **options) as viewer:
        assert json.loads(viewer.recv(10))["type"] == "hello"
        yield viewer


def next_of(viewer: ClientConnection, kind: int | str) -> Any:
    """The next message of a kind: bytes, or what a text says."""
    while True:
        message = viewer.recv(10)
        if isinstance(message, bytes):
            viewer.send('{"drawn": 1}')
            if struct.unpack_from("<I", message)[0] == kind:
                return message
        elif json.loads(message)["type"] == kind:
            return json.loads(message)


def get(view: BrowserView, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    request = urllib.request.Request(view.link.partition("#")[0] + path, headers=headers)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_the_page_comes_from_the_package_and_names_nothing_outside(view: BrowserView) -> None:
    for path in STATIC.iterdir():
        if path.suffix in (".html", ".js", ".css", ".svg"):
            status, headers, body = get(view, "" if path.name == "index.html" else path.name)
            assert (status, body) == (200, path.read_bytes()), path
            assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
            if not path.name.startswith("three."):
                addresses = re.findall(rb"https?://[^\"'\s]+", body)
                assert set(addresses) <= {b"http://www.w3.org/2000/svg"}, path
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "http" not in CONTENT_SECURITY_POLICY


def test_what_is_not_of_the_page_is_not_served(view: BrowserView) -> None:
    for path in ("nothing", "manifest.json", "../view.py", "%2e%2e/view.py", "static/app.js", "LICENSE.three.txt"):
        assert get(view, path)[0] == 404, path


def test_files_are_compressed_and_asked_for_once(view: BrowserView) -> None:
    status, headers, body = get(view, "app.js", **{"Accept-Encoding": "gzip"})
    assert status == 200
    assert gzip.decompress(body) == (STATIC / "app.js").read_bytes()
    assert get(view, "app.js", **{"If-None-Match": headers["ETag"]})[0] == 304


def test_vendored_files_are_those_of_the_manifest() -> None:
    manifest = json.loads((STATIC / "manifest.json").read_text())
    vendored = {path.name for path in STATIC.iterdir() if "three" in path.name}
    assert vendored == manifest.keys()
    for name, row in manifest.items():
        assert hashlib.sha256((STATIC / name).read_bytes()).hexdigest() == row["sha256"], name
        assert {"origin", "licence", "command"} <= row.keys()


def test_foreign_pages_and_names_are_refused(view: BrowserView) -> None:
    url = view.link.replace("http", "ws") + "live"
    for headers, code in (({"Origin": "http://evil.example"}, 403), ({"Origin": "null"}, 403)):
        with pytest.raises(InvalidStatus) as refused, connect(url, additional_headers=headers):
            pass
        assert refused.value.response.status_code == code
    assert get(view, "", Host="evil.example")[0] == 421
    assert get(view, "body.bin", Host="evil.example")[0] == 421


def test_a_repeated_header_is_refused(view: BrowserView) -> None:
    host, port = view.link.removeprefix("http://").strip("/").split(":")
    with socket.create_connection((host, int(port))) as plain:
        plain.sendall(f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nHost: evil.example\r\n\r\n".encode())
        assert plain.recv(100).startswith(b"HTTP/1.1 400")


def test_elsewhere_only_the_token_lets_in(arrays: BodyArrays) -> None:
    with BrowserView("0.0.0.0", 0, arrays, mannequin_for(arrays), "camera 0", 30.0, True, (640, 480)) as view:
        address, _, token = view.link.partition("#")
        port = address.strip("/").rpartition(":")[2]
        for given in ("", "?token=wrong"):
            with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{port}/live{given}"):
                pass
            assert refused.value.response.status_code == 403
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(f"http://127.0.0.1:{port}/body.bin{given}")
        with connect(f"ws://127.0.0.1:{port}/live?token={token}") as viewer:
            assert json.loads(viewer.recv(10))["type"] == "hello"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/body.bin?token={token}") as body:
            assert len(body.read()) > 100_000


def test_a_port_that_is_taken_is_said_in_one_line(arrays: BodyArrays, view: BrowserView) -> None:
    port = int(view.link.strip("/").rpartition(":")[2])
    with pytest.raises(UserError, match=rf"--port {port}: cannot listen there"):
        BrowserView("127.0.0.1", port, arrays, mannequin_for(arrays), "camera 0", 30.0, True, (640, 480))


def test_four_viewers_get_poses_video_and_state(arrays: BodyArrays, view: BrowserView) -> None:
    with ExitStack() as stack:
        viewers = [stack.enter_context(look(view)) for _ in range(4)]
        result = result_of(arrays, 5, 2)
        view.show(result)
        view.tell(BrowserState("live", mesh_rate=24.0, frames=9, stages={"flow": 2.5}))
        poses = {next_of(viewer, POSE) for viewer in viewers}
        (pose,) = poses
        assert struct.unpack_from("<3I", pose) == (POSE, 5, 2)
        for viewer in viewers:
            state = next_of(viewer, "state")
            assert (state["mesh_rate"], state["frames"], state["stages"]) == (24.0, 9, {"flow": 2.5})
        assert view.viewers == 4


def test_who_comes_later_sees_at_once_what_was_last(arrays: BodyArrays, view: BrowserView) -> None:
    """As when the run is paused and the page is loaded anew."""
    with look(view) as first:
        view.show(result_of(arrays, 5, 1))
        next_of(first, VIDEO)
    with look(view) as second:
        assert struct.unpack_from("<2I", next_of(second, POSE)) == (POSE, 5)
        assert struct.unpack_from("<2I", next_of(second, VIDEO)) == (VIDEO, 5)


def test_viewers_command_what_a_window_does_and_nothing_else(view: BrowserView) -> None:
    with look(view) as viewer:
        for said in ("space", "left", "right", "v", "r", "s", "", "x" * 100, "q"):
            viewer.send(json.dumps({"command": said}))
        for nonsense in (
            "",
            "[]",
            "{}",
            "1",
            '{"drawn": -5}',
            '{"drawn": "x"}',
            '{"command": 5}',
            '{"video": "yes"}',
            '{"ping": [1]}',
            "\x00",
        ):
            viewer.send(nonsense)
        viewer.send(b"\x00\xff")
        viewer.send(json.dumps({"ping": 12.5}))
        assert next_of(viewer, "pong")["ping"] == 12.5
        assert list(view.events()) == ["space", "left", "right", "r", "s", "q"]
        assert list(view.events(timeout=0.01)) == []


def test_a_flood_of_commands_is_cut(view: BrowserView) -> None:
    with look(view) as viewer:
        for _ in range(500):
            viewer.send(json.dumps({"command": "space"}))
        viewer.send(json.dumps({"ping": 1}))
        next_of(viewer, "pong")
        assert len(list(view.events())) <= 32


def test_remarks_reach_viewers_but_not_the_link(view: BrowserView) -> None:
    with look(view) as viewer:
        log = logging.getLogger("realtime.views.commands")
        log.setLevel(logging.INFO)
        view.announce()
        log.info("recording to out.mp4")
        assert next_of(viewer, "remark")["text"] == "recording to out.mp4"
        log.setLevel(logging.NOTSET)


def test_a_slow_viewer_gets_the_newest_and_delays_nobody(arrays: BodyArrays, view: BrowserView) -> None:
    """One reads nothing for a while; the other gets every frame meanwhile."""
    result = result_of(arrays, 0, 1)
    frames = 400
    with look(view, max_queue=1) as slow, look(view) as quick:
        own = slow.socket
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for sequence in range(1, frames + 1):
            object.__setattr__(result.frame, "sequence", sequence)
            view.show(result)
            view._server.send("filler", bytes([9, 0, 0, 0]) * 4096)
            assert struct.unpack_from("<2I", next_of(quick, POSE)) == (POSE, sequence)
        seen = []
        while not seen or seen[-1] < frames:
            seen.append(struct.unpack_from("<2I", next_of(slow, POSE))[1])
        assert len(seen) < frames / 2, "most frames were left out"
        assert seen == sorted(set(seen))


def test_a_page_that_does_not_draw_gets_no_more_than_it_can_hold(arrays: BodyArrays, view: BrowserView) -> None:
    """As one in a hidden tab: when it is looked at again, it goes on with the newest frame at once."""
    result = result_of(arrays, 0, 1)
    with look(view) as hidden, look(view) as shown:
        hidden.send('{"video": false, "ping": 1}')
        next_of(hidden, "pong")
        for sequence in range(1, 51):
            object.__setattr__(result.frame, "sequence", sequence)
            view.show(result)
            next_of(shown, POSE)
        view.tell(BrowserState("ended"))
        got = []
        while (message := hidden.recv(10)) is not None and isinstance(message, bytes):
            got.append(struct.unpack_from("<2I", message)[1])
        assert json.loads(message)["source"] == "ended", "texts still come"
        assert len(got) == servers.AHEAD
        hidden.send(json.dumps({"drawn": len(got)}))
        assert struct.unpack_from("<2I", next_of(hidden, POSE))[1] == 50


def test_what_waits_for_a_viewer_is_bounded() -> None:
    viewer = Viewer()
    for number in range(1000):
        viewer.put("pose", bytes([number % 256]))
        viewer.put("video", b"v")
        viewer.remarks.append(str(number))
    waiting = []
    while (message := viewer.take()) is not None:
        waiting.append(message)
    assert waiting[-2:] == [bytes([999 % 256]), b"v"]
    assert len(waiting) == 22


def test_too_many_viewers_are_turned_away(view: BrowserView, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "MAX_VIEWERS", 2)
    with look(view), look(view), pytest.raises(InvalidStatus) as refused, look(view):
        pass
    assert refused.value.response.status_code == 503


def test_no_video_is_encoded_for_nobody(arrays: BodyArrays, view: BrowserView, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded: list[int] = []
    plain = VideoEncoder.encode

    def encode(self: VideoEncoder, image: Any) -> Any:
        encoded.append(1)
        return plain(self, image)

    monkeypatch.setattr(VideoEncoder, "encode", encode)
    view.show(result_of(arrays, 1, 1))
    assert not encoded
    with look(view) as viewer:
        viewer.send(json.dumps({"video": False, "ping": 1}))
        next_of(viewer, "pong")
        view.show(result_of(arrays, 2, 1))
        assert struct.unpack_from("<2I", next_of(viewer, POSE)) == (POSE, 2)
        assert not encoded
        viewer.send(json.dumps({"video": True, "ping": 2}))
        next_of(viewer, "pong")
        view.show(result_of(arrays, 3, 1))
        assert struct.unpack_from("<2I", next_of(viewer, VIDEO)) == (VIDEO, 3)
        assert encoded


def test_video_frames_are_small_and_not_too_many(arrays: BodyArrays) -> None:
    now = [0.0]
    encoder = VideoEncoder(lambda: now[0])
    image = result_of(arrays, 1, 0).frame.image.repeat(3, 0).repeat(3, 1)
    sent = 0
    for step in range(120):  # four seconds at 30 frames/s
        now[0] = step / 30
        if encoder.due:
            sent += 1
            if sent == 1:
                jpeg, width, height = encoder.encode(image)
                assert (width, height) == (LONGEST_PX, LONGEST_PX * 3 // 4)
                assert jpeg[:2] == b"\xff\xd8"
            else:
                encoder.encode(image[:8, :8])
    assert sent == pytest.approx(4 * FRAMES_PER_S, abs=2)


def test_closing_ends_viewers_in_order_and_may_be_done_twice(arrays: BodyArrays) -> None:
    view = BrowserView("127.0.0.1", 0, arrays, mannequin_for(arrays), "camera 0", 30.0, True, (640, 480))
    threads = threading.active_count()
    with look(view) as viewer:
        view.close()
        with pytest.raises(Exception, match="1001"):
            while True:
                viewer.recv(10)
    view.close()
    view.show(result_of(arrays, 1, 1))
    view.tell(BrowserState("live"))
    assert threading.active_count() <= threads


def test_waiting_for_the_first_viewer_and_for_the_last_to_leave(view: BrowserView) -> None:
    assert not view.wait_for_viewer(0.01)
    with look(view):
        assert view.wait_for_viewer(10)
        assert view.left_for() < 1
    deadline = time.monotonic() + 10
    while view.viewers and time.monotonic() < deadline:
        time.sleep(0.01)
    view.left_for()
    time.sleep(0.05)
    assert view.left_for() >= 0.05


def test_the_qr_code_is_the_link() -> None:
    link = "http://192.168.1.5:8787/#pJ3kq9VtZ0sX2mQ8w7Yb1A"
    lines = qr_text(link).split("\n")
    halves = {" ": (0, 0), "▄": (0, 1), "▀": (1, 0), "█": (1, 1)}
    rows = [[halves[mark][half] for mark in line] for line in lines for half in (0, 1)]
    image = (255 * (1 - np.array(rows, np.uint8))).repeat(8, 0).repeat(8, 1)
    assert cv2.QRCodeDetector().detectAndDecode(np.pad(image, 32, constant_values=255))[0] == link


def test_a_server_that_cannot_open_leaves_no_thread(view: BrowserView) -> None:
    port = int(view.link.strip("/").rpartition(":")[2])
    before = threading.active_count()
    with pytest.raises(UserError):
        ViewerServer("127.0.0.1", port, b"", {}, lambda command: None)
    assert threading.active_count() == before
