"""A WebSocket server that sends every client the newest frame it is ready for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import threading
from typing import Any, Final

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from common.errors import UserError
from formats.json_lines import line_of
from realtime.outputs.live import ClosingSender, frame_message
from realtime.records import Result

logging.getLogger("websockets").addHandler(logging.NullHandler())

_LOCAL_PAGE: Final = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
"""Web pages that may connect: without this, any page that the user visits could watch. Other programs send no origin."""
_SAID_BYTES: Final = 1024
"""Clients have nothing to say: longer messages close the connection."""
_WAITING_BYTES: Final = 4096
"""A client with more than this on its way gets nothing new: about one message."""
_SYSTEM_BYTES: Final = 1 << 16
"""Of a client's messages, the system keeps so much: left alone it takes megabytes, which are seconds of old motion."""
_START_S: Final = 10.0


class _Client:
    """The newest message that one client has not got yet."""

    def __init__(self) -> None:
        self.message: str | None = None
        self.fresh = asyncio.Event()


class WebSocketSender(ClosingSender):
    """Listens on ``host:port`` in a thread of its own. A client gets ``header`` first, then one message a frame; one that
    reads too slowly gets fewer frames, and delays no other. ``world``: whether messages have the world's frame, too.

    Raises `UserError` when it cannot listen there.
    """

    def __init__(self, host: str, port: int, header: dict[str, Any], world: bool = True) -> None:
        self._host, self._port, self._header, self._world = host, port, line_of(header), world
        self._loop = asyncio.new_event_loop()
        self._clients: set[_Client] = set()
        self._ended = asyncio.Event()
        self._started = threading.Event()
        self._error: OSError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name=f"ws {host}:{port}", daemon=True)
        self._thread.start()
        self._started.wait(_START_S)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._error is not None:
            self._thread.join()
            reason = self._error.strerror or str(self._error)
            raise UserError(
                f"--send ws://{self._host}:{self._port}: cannot listen there ({reason}): choose another port"
            )

    def send(self, result: Result) -> None:
        """See `realtime.outputs.live.Sender`."""
        if not self._clients or self._closed:  # nobody listens: nothing to do
            return
        message = line_of(frame_message(result, self._world))
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._hand_out, message)

    def close(self) -> None:
        """See `realtime.outputs.live.Sender`. Clients see an ordinary end of the connection."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_START_S)

    def _hand_out(self, message: str) -> None:
        for client in self._clients:
            client.message = message
            client.fresh.set()

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
        options: dict[str, Any] = {"compression": None, "max_size": _SAID_BYTES, "close_timeout": 1}
        options["write_limit"] = _WAITING_BYTES
        async with serve(self._attend, self._host, self._port, origins=[None, _LOCAL_PAGE], **options):
            self._started.set()
            await self._ended.wait()

    async def _attend(self, connection: ServerConnection) -> None:
        client = _Client()
        own: socket.socket = connection.transport.get_extra_info("socket")
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SYSTEM_BYTES)
        self._clients.add(client)
        hearing = asyncio.ensure_future(_hear(connection))
        try:
            await connection.send(self._header)
            hearing.add_done_callback(lambda _: client.fresh.set())  # the client has gone: nothing more to wait for
            while not hearing.done():
                await client.fresh.wait()
                client.fresh.clear()
                if client.message is not None:
                    await connection.send(client.message)
        except ConnectionClosed:
            pass
        finally:
            hearing.cancel()
            self._clients.discard(client)


async def _hear(connection: ServerConnection) -> None:
    """Drop what a client says, so that its buffer does not fill."""
    with contextlib.suppress(ConnectionClosed):
        async for _ in connection:
            pass
