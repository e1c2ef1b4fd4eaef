"""Serves the page and its viewers from one thread: the newest message of each kind to whoever is ready for it."""

from __future__ import annotations

import asyncio
import contextlib
import http
import json
import logging
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from common.errors import UserError
from common.files import JSON_ERRORS
from realtime.browser.access import Access
from realtime.browser.files import Answer, Files, text_answer

logging.getLogger("websockets").addHandler(logging.NullHandler())

BODY_PATH: Final = "/body.bin"
LIVE_PATH: Final = "/live"
MOST_VIEWERS: Final = 24
"""More are turned away: each costs a little, and nobody has so many screens."""
AHEAD: Final = 5
"""Binary messages on their way to a viewer that it has not drawn yet."""
_SAID_BYTES: Final = 1024
"""Viewers say a word at a time: longer messages close the connection."""
_WAITING_BYTES: Final = 16384
"""A viewer with more than this on its way gets nothing new."""
_SYSTEM_BYTES: Final = 1 << 16
"""Of a viewer's messages, the system keeps so much: left alone it takes megabytes, which are seconds of old motion."""
_START_S: Final = 10.0
_REMARKS: Final = 20
"""So many remarks wait for a viewer; older ones are forgotten."""

Message = str | bytes


class Viewer:
    """What one viewer has not got yet: the newest of each kind, and remarks in their order.

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
        self._host, self.port = host.strip("[]"), port
        self._hello = json.dumps(hello)
        self._obey = obey
        self._files = Files()
        self._files.add(BODY_PATH, body)
        self._viewers: frozenset[Viewer] = frozenset()
        self._last: dict[str, Message] = {}
        self._clock_ns = time.monotonic_ns()
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._started = threading.Event()
        self._someone = threading.Event()
        self._error: OSError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="browser", daemon=True)
        self._thread.start()
        self._started.wait(_START_S)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._error is not None:
            self._thread.join()
            where = f"--host {self._host} --port {self.port}"
            reason = self._error.strerror or str(self._error)
            raise UserError(f"{where}: cannot listen there ({reason}): choose another --port, or an own address")

    # From other threads

    @property
    def clock_ns(self) -> int:
        """The monotonic clock when this server's own was 0, nanoseconds."""
        return self._clock_ns

    @property
    def link(self) -> str:
        """What to open in a browser."""
        return self.access.link(self.port)

    @property
    def viewers(self) -> int:
        """How many look on."""
        return len(self._viewers)

    @property
    def wants_video(self) -> bool:
        """Whether anybody looks at the video."""
        return any(viewer.wants_video for viewer in self._viewers)

    def wait_for_viewer(self, timeout: float) -> bool:
        """Wait until somebody has looked on, for at most ``timeout`` seconds. Returns whether somebody has."""
        return self._someone.wait(timeout)

    def send(self, kind: str, message: Message) -> None:
        """Give every viewer ``message``, in place of an older one of its ``kind``. Never waits. Who comes later gets the
        last one of each kind first."""
        self._call(self._hand_out, kind, message)

    def remark(self, text: str) -> None:
        """Show every viewer one line."""
        self._call(self._hand_out_remark, json.dumps({"type": "remark", "text": text}))

    def close(self) -> None:
        """End. Viewers see an ordinary end of the connection. Does nothing the second time."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_START_S)

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._closed:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(function, *arguments)

    # In the server's own thread

    def _hand_out(self, kind: str, message: Message) -> None:
        self._last[kind] = message
        for viewer in self._viewers:
            viewer.put(kind, message)

    def _hand_out_remark(self, message: str) -> None:
        for viewer in self._viewers:
            viewer.remarks.append(message)
            viewer.fresh.set()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._listen())
        except OSError as error:
            self._error = error
        finally:
            self._started.set()
            self._loop.close()

    async def _listen(self) -> None:
        options: dict[str, Any] = {"compression": None, "max_size": _SAID_BYTES, "write_limit": _WAITING_BYTES}
        options |= {"close_timeout": 2, "open_timeout": 30, "server_header": None}
        async with serve(self._attend, self._host, self.port, process_request=self._answer, **options) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            self._started.set()
            await self._ended.wait()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer what is no WebSocket of somebody who may look."""
        path = request.path.partition("?")[0]
        # A header that is there twice tells two stories.
        if any(len(request.headers.get_all(name)) > 1 for name in ("Host", "Origin")):
            return _response(text_answer(400, "A header is there twice.\n"))
        headers = dict(request.headers.raw_items())
        headers = {name.title(): value for name, value in headers.items()}
        refused = self.access.refusal(request.path, headers, live=path in (LIVE_PATH, BODY_PATH))
        if refused is not None:
            return _response(text_answer(*refused))
        if path != LIVE_PATH:
            return _response(self._files.answer(request.path, headers))
        if len(self._viewers) >= MOST_VIEWERS:
            return _response(text_answer(503, "Too many viewers: close one.\n"))
        return None

    async def _attend(self, connection: ServerConnection) -> None:
        """One viewer, until it leaves."""
        own: socket.socket = connection.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SYSTEM_BYTES)
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
        """Obey what a viewer says; what is no message of the page's is left out."""
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                try:
                    said = json.loads(text)
                except JSON_ERRORS:
                    continue
                if not isinstance(said, dict):
                    continue
                if isinstance(command := said.get("command"), str):
                    self._obey(command)
                if isinstance(drawn := said.get("drawn"), int):
                    viewer.drawn(drawn)
                if isinstance(video := said.get("video"), bool):
                    viewer.wants_video = video
                    if video and (last := self._last.get("video")) is not None:  # while paused no other comes
                        viewer.put("video", last)
                if isinstance(ping := said.get("ping"), (int, float)):
                    now_ms = (time.monotonic_ns() - self._clock_ns) / 1e6
                    viewer.put("pong", json.dumps({"type": "pong", "ping": ping, "server_ms": now_ms}))


def _response(answer: Answer) -> Response:
    status = http.HTTPStatus(answer.status)
    return Response(status.value, status.phrase, Headers(answer.headers), answer.body)
