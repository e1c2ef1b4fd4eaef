"""A WebSocket server in a thread of its own, for owners that call it from other threads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from websockets.asyncio.server import Server, ServerConnection

logging.getLogger("websockets").addHandler(logging.NullHandler())

MAX_RECEIVED_BYTES: Final = 1024
"""Clients send short messages, if any: longer ones close the connection."""
_SEND_BUFFER_BYTES: Final = 1 << 16
"""Of a client's messages that the system holds: its default of megabytes would be seconds of old motion."""
_CLOSE_S: Final = 10.0


class ServerThread:
    """Runs a server on an event loop of its own, from construction to `close`.

    Args:
        name: of the thread.
        listen: called once in that thread; returns a server (`websockets.asyncio.server.serve`) to enter.

    Raises OSError when the server cannot listen.
    """

    port: int
    """Where it listens, once it is constructed."""

    def __init__(self, name: str, listen: Callable[[], AbstractAsyncContextManager[Server]]) -> None:
        self._listen = listen
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._started = threading.Event()
        self._error: OSError | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self._started.wait()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._error is not None:
            self._thread.join()
            raise self._error

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Run ``function`` in the server's thread, soon. Never waits; does nothing after the end."""
        if not self._closed:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(function, *arguments)

    def close(self) -> None:
        """End. Clients see an ordinary end of the connection. Does nothing the second time."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._error = error
        except UnicodeError:  # "a..b", or a part of more than 63 characters
            self._error = OSError("no name that a host can have")
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self) -> None:
        async with self._listen() as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            self._started.set()
            await self._ended.wait()


def limit_send_buffer(connection: ServerConnection) -> None:
    """Let the system hold little of what is sent to a client, so that a slow one gets new messages instead of old ones."""
    own: socket.socket = connection.transport.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
