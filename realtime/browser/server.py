"""Serves the page and its viewers from one thread: the newest message of each kind to whoever is ready for it."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from common.errors import UserError
from common.files import JSON_ERRORS
from realtime.browser.access import Access
from realtime.browser.files import Answer, Files, text_answer
from realtime.server_thread import MAX_RECEIVED_BYTES, ServerThread, limit_send_buffer

BODY_PATH: Final = "/body.bin"
LIVE_PATH: Final = "/live"
MAX_VIEWERS: Final = 24
"""More are refused: each costs some processor time."""
AHEAD: Final = 5
"""So many binary messages may be on their way to a viewer, sent but not drawn yet."""
_WAITING_BYTES: Final = 16384
"""A viewer with more than this on its way gets nothing new."""
_REMARKS: Final = 20
"""So many remarks wait for a viewer; older ones are forgotten."""

Message = str | bytes


class Viewer:
    """Messages that one viewer has not been sent yet: the newest of each kind, and remarks in their order.

    A page says how many of the binary messages it has drawn. `AHEAD` may be on their way; while a page draws more slowly than
    frames come, or is hidden, the newest waits here instead of behind older ones in the browser.
    """

    def __init__(self) -> None:
        self.ahead = 0
        self.newest: dict[str, Message] = {}
        self.remarks: deque[str] = deque(maxlen=_REMARKS)
        self.fresh = asyncio.Event()
        self.wants_video = True

    def put(self, kind: str, message: Message) -> None:
        """Leave ``message``; an older one of its kind that still waits is dropped."""
        if kind != "video" or self.wants_video:
            self.newest[kind] = message
            self.fresh.set()

    def take(self) -> Message | None:
        """What to send next: remarks, then the kind that has waited longest."""
        if self.remarks:
            return self.remarks.popleft()
        for kind, message in self.newest.items():
            if isinstance(message, str) or self.ahead < AHEAD:
                self.ahead += isinstance(message, bytes)
                return self.newest.pop(kind)
        return None

    def drawn(self, count: int) -> None:
        """The page has drawn ``count`` more messages."""
        self.ahead = max(0, self.ahead - max(0, count))
        self.fresh.set()


class ViewerServer:
    """Listens on ``host:port`` in a thread of its own.

    Raises `UserError` when it cannot listen there.

    Args:
        host, port: where; port 0 takes any that is free.
        body: what ``/body.bin`` answers.
        hello: the first message of every viewer.
        obey: called in the server's thread with a command that a viewer has given.
    """

    def __init__(self, host: str, port: int, body: bytes, hello: dict[str, Any], obey: Callable[[str], None]) -> None:
        self.access = Access(host)
        self._host = host.strip("[]")
        self._hello = json.dumps(hello)
        self._obey = obey
        self._files = Files()
        self._files.add(BODY_PATH, body)
        self._viewers: frozenset[Viewer] = frozenset()
        self._last: dict[str, Message] = {}
        self._clock_ns = time.monotonic_ns()
        self._someone = threading.Event()
        try:
            self._server = ServerThread("browser", lambda: self._listen(port))
        except OSError as error:
            raise UserError(
                f"--host {self._host} --port {port}: cannot listen there ({error.strerror or error}): "
                "choose another --port, or an own address"
            ) from None

    # From other threads

    @property
    def clock_ns(self) -> int:
        """The monotonic clock when this server's own was 0, nanoseconds."""
        return self._clock_ns

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    @property
    def link(self) -> str:
        """What to open in a browser."""
        return self.access.link(self.port)

    @property
    def viewers(self) -> int:
        """Number of viewers."""
        return len(self._viewers)

    @property
    def wants_video(self) -> bool:
        """Whether a viewer shows the video."""
        return any(viewer.wants_video for viewer in self._viewers)

    def wait_for_viewer(self, timeout: float) -> bool:
        """Wait for the first viewer, for at most ``timeout`` seconds. Returns whether there has been one."""
        return self._someone.wait(timeout)

    def send(self, kind: str, message: Message) -> None:
        """Give every viewer ``message``, in place of an older one of its ``kind``. Never waits. Who comes later gets the
        last one of each kind first."""
        self._server.call(self._hand_out, kind, message)

    def remark(self, text: str) -> None:
        """Show every viewer one line."""
        self._server.call(self._hand_out_remark, json.dumps({"type": "remark", "text": text}))

    def close(self) -> None:
        """End. Viewers see an ordinary end of the connection. Does nothing the second time."""
        self._server.close()

    # In the server's own thread

    def _hand_out(self, kind: str, message: Message) -> None:
        self._last[kind] = message
        for viewer in self._viewers:
            viewer.put(kind, message)

    def _hand_out_remark(self, message: str) -> None:
        for viewer in self._viewers:
            viewer.remarks.append(message)
            viewer.fresh.set()

    def _listen(self, port: int) -> AbstractAsyncContextManager[Server]:
        options: dict[str, Any] = {"compression": None, "max_size": MAX_RECEIVED_BYTES, "write_limit": _WAITING_BYTES}
        options |= {"close_timeout": 2, "open_timeout": 30, "server_header": None}
        return serve(self._attend, self._host, port, process_request=self._answer, **options)

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer requests that are refused or are for files; None lets a viewer's WebSocket through."""
        path = request.path.partition("?")[0]
        # Which of two equal headers counts is not defined.
        if any(len(request.headers.get_all(name)) > 1 for name in ("Host", "Origin")):
            return _response(text_answer(400, "A header is there twice.\n"))
        headers = dict(request.headers.raw_items())
        headers = {name.title(): value for name, value in headers.items()}
        refused = self.access.refusal(request.path, headers, live=path in (LIVE_PATH, BODY_PATH))
        if refused is not None:
            return _response(text_answer(*refused))
        if path != LIVE_PATH:
            return _response(self._files.answer(request.path, headers))
        if len(self._viewers) >= MAX_VIEWERS:
            return _response(text_answer(503, "Too many viewers: close one.\n"))
        return None

    async def _attend(self, connection: ServerConnection) -> None:
        """One viewer, until it leaves."""
        limit_send_buffer(connection)
        viewer = Viewer()
        viewer.newest.update(self._last)
        viewer.fresh.set()
        hearing = asyncio.ensure_future(self._hear(connection, viewer))
        hearing.add_done_callback(lambda _: viewer.fresh.set())  # the viewer has gone: nothing more to wait for
        self._viewers |= {viewer}
        self._someone.set()
        try:
            await connection.send(self._hello)
            while not hearing.done():
                await viewer.fresh.wait()
                viewer.fresh.clear()
                while (message := viewer.take()) is not None:
                    await connection.send(message)
        except ConnectionClosed:
            pass
        finally:
            hearing.cancel()
            self._viewers -= {viewer}

    async def _hear(self, connection: ServerConnection, viewer: Viewer) -> None:
        """Obey a viewer's messages; others than the page's are ignored."""
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                try:
                    message = json.loads(text)
                except JSON_ERRORS:
                    continue
                if not isinstance(message, dict):
                    continue
                if isinstance(command := message.get("command"), str):
                    self._obey(command)
                if isinstance(drawn := message.get("drawn"), int):
                    viewer.drawn(drawn)
                if isinstance(video := message.get("video"), bool):
                    viewer.wants_video = video
                    if video and (last := self._last.get("video")) is not None:  # while paused no other comes
                        viewer.put("video", last)
                if isinstance(ping := message.get("ping"), (int, float)):
                    now_ms = (time.monotonic_ns() - self._clock_ns) / 1e6
                    viewer.put("pong", json.dumps({"type": "pong", "ping": ping, "server_ms": now_ms}))


def _response(answer: Answer) -> Response:
    status = http.HTTPStatus(answer.status)
    return Response(status.value, status.phrase, Headers(answer.headers), answer.body)
