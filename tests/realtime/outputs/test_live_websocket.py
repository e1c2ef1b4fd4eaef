"""WebSocket clients get the motion while it is estimated."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from body.model import BodyArrays
from common.errors import UserError
from tests.realtime.outputs.live_results import free_port, open_to, received, result


def test_several_clients_get_every_frame(arrays: BodyArrays) -> None:
    port = free_port()
    with open_to("ws", port, arrays) as sender:
        with connect(f"ws://127.0.0.1:{port}") as one, connect(f"ws://127.0.0.1:{port}") as two:
            assert received(one)["type"] == received(two)["type"] == "header"
            for sequence in range(5):
                sender.send(result(arrays, sequence, 1))
                assert received(one)["frame"] == received(two)["frame"] == sequence
        with connect(f"ws://127.0.0.1:{port}") as late:  # comes again
            assert received(late)["type"] == "header"
            time.sleep(0.05)
            sender.send(result(arrays, 9, 1))
            assert received(late)["frame"] == 9


def test_a_slow_client_misses_frames_and_holds_nobody_up(arrays: BodyArrays) -> None:
    port = free_port()
    with (
        open_to("ws", port, arrays) as sender,
        connect(f"ws://127.0.0.1:{port}", max_queue=1) as slow,
        connect(f"ws://127.0.0.1:{port}") as quick,
    ):
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        received(slow), received(quick)
        message = result(arrays, 0, *range(6))
        sent, began = 100, time.monotonic()
        for _ in range(sent):  # 2 MB, which nobody buffers
            sender.send(message)
            quick.recv(timeout=5)
        assert time.monotonic() - began < 10
        sender.send(result(arrays, 1000, 1))
        assert received(quick)["frame"] == 1000
        read = 0
        while received(slow)["frame"] != 1000:  # it gets the newest in the end, and not all of those before
            read += 1
        assert read < sent - 10


def test_pages_of_other_sites_may_not_watch(arrays: BodyArrays) -> None:
    port = free_port()
    with open_to("ws", port, arrays):
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{port}", origin="https://example.org")  # type: ignore[arg-type]
        with connect(f"ws://127.0.0.1:{port}", origin="http://localhost:3000") as client:  # type: ignore[arg-type]
            assert received(client)["type"] == "header"


def test_a_taken_port_is_told(arrays: BodyArrays) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="cannot listen there"):
            open_to("ws", taken.getsockname()[1], arrays)


def test_closing_ends_the_clients(arrays: BodyArrays) -> None:
    port = free_port()
    sender = open_to("ws", port, arrays)

    async def watch() -> list[str]:
        from websockets.asyncio.client import connect as connect_async

        async with connect_async(f"ws://127.0.0.1:{port}") as client:
            asyncio.get_running_loop().call_later(0.1, closing.start)
            return [str(message) async for message in client]

    closing = threading.Thread(target=sender.close)
    assert len(asyncio.run(asyncio.wait_for(watch(), 10))) == 1  # the header, then an ordinary end
    closing.join(10)
    assert f"ws 127.0.0.1:{port}" not in [thread.name for thread in threading.enumerate()]
