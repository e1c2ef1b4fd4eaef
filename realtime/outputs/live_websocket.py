"""A WebSocket server that sends every client the newest frame it is ready for."""

from __future__ import annotations

import asyncio
import contextlib
import re
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from common.errors import UserError
from formats.json_lines import line_of
from realtime.outputs.live_messages import ClosingSender, frame_message
from realtime.records import Result
from realtime.server_thread import MAX_RECEIVED_BYTES, ServerThread, limit_send_buffer

_LOCAL_PAGE: Final = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d+)?")
"""Web pages that may connect: without this, any page that the user visits could watch. Other programs send no origin."""
_WAITING_BYTES: Final = 4096
"""A client with more than this on its way gets nothing new: about one message."""


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
        self._clients: set[_Client] = set()
        try:
            self._server = ServerThread(f"ws {host}:{port}", self._listen)
        except OSError as error:
            raise UserError(
                f"--send ws://{host}:{port}: cannot listen there ({error.strerror or error}): choose another port"
            ) from None

    def send(self, result: Result) -> None:
        """See `realtime.outputs.live_messages.Sender`."""
        if self._clients and not self._server.closed:
            self._server.call(self._hand_out, line_of(frame_message(result, self._world)))

    def close(self) -> None:
        """See `realtime.outputs.live_messages.Sender`. Clients see an ordinary end of the connection."""
        self._server.close()

    def _hand_out(self, message: str) -> None:
        for client in self._clients:
            client.message = message
            client.fresh.set()

    def _listen(self) -> AbstractAsyncContextManager[Server]:
        options: dict[str, Any] = {"compression": None, "max_size": MAX_RECEIVED_BYTES, "close_timeout": 1}
        options["write_limit"] = _WAITING_BYTES
        return serve(self._attend, self._host, self._port, origins=[None, _LOCAL_PAGE], **options)

    async def _attend(self, connection: ServerConnection) -> None:
        client = _Client()
        limit_send_buffer(connection)
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
