"""The rate and the delay of ``--send``, without networks: python -m tools.bench_sending

Results of people who wave are sent 30 times a second by the program's own senders, over loopback, to a receiver in a process of
its own. A frame's time on the way is from the call of the sender to when the receiver has the whole message, before it is
parsed: it includes making the message.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Final, NamedTuple

import numpy as np
import typer

from body.model import BodyArrays, load_body
from common.command_line import run_command
from common.errors import UserError
from realtime.outputs.live import open_sender
from realtime.records import Result, WorldFrame
from tools.waving import RATE, WAVING_CAMERA, waving_results

SCHEMES: Final = ("vmc", "udp", "ws")
_WAIT_S: Final = 30.0
_DATAGRAMS: Final = """
import json, socket, sys, time
stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
stream.bind(("127.0.0.1", 0))
print(stream.getsockname()[1], flush=True)
heard = []
while (message := stream.recv(65535)) != b"end":
    heard.append((time.monotonic_ns(), message))
"""
_WEBSOCKET: Final = """
import json, sys, time
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
heard = []
with connect(sys.argv[1], compression=None) as stream:
    stream.recv()
    print("ready", flush=True)
    try:
        while True:
            message = stream.recv()
            heard.append((time.monotonic_ns(), message.encode()))
    except ConnectionClosed:
        pass
"""
_REPORT: Final = """
import struct
frames = {}
for now, message in heard:
    at = message.find(b"/VMC/Ext/T\\0\\0,f\\0\\0")
    if at >= 0:
        number = round(struct.unpack_from(">f", message, at + 16)[0] * RATE)
    elif message[:1] == b"{":
        said = json.loads(message)
        if said["type"] != "frame":
            continue
        number = said["frame"]
    frames.setdefault(number, []).append((now, len(message)))
print(json.dumps([[number, parts[-1][0], len(parts), sum(size for _, size in parts)] for number, parts in frames.items()]))
"""
"""The rest of a VMC frame follows the datagram with its time: datagrams on loopback keep their order."""


class Heard(NamedTuple):
    """What a receiver got of the frames that were sent."""

    sent: int
    """Number of frames."""
    delay_ms: np.ndarray[tuple[int], np.dtype[np.float64]]
    """(N,) delay of each frame that was heard, milliseconds from the call of the sender."""
    packets: int
    """Datagrams or messages."""
    size: int
    """Bytes of all of them."""
    seconds: float
    """Seconds over which frames were sent."""


def main() -> None:
    """The program's entry."""
    run_command(bench_sending, examples="Example: python -m tools.bench_sending --people 2")


def bench_sending(
    people: Annotated[int, typer.Option(help="people in each frame", min=1, max=6)] = 1,
    seconds: Annotated[float, typer.Option(help="seconds to measure each", min=1)] = 10.0,
) -> None:
    """Measure packets a second and the time on the way of each kind of live output, and print them as a table."""
    arrays = load_body()
    matrix = np.diag(np.array([1, -1, -1, 1], np.float32))
    matrix[1, 3] = 1.0
    results = waving_results(arrays, people, WorldFrame(matrix, 0.02, 0.02))
    print("| --send | frames heard | packets/s | bytes a frame | time on the way p50, ms | p95 | most |")
    print("| --- |" + " --- |" * 6)
    for scheme in SCHEMES:
        heard = measure(scheme, results, arrays, seconds)
        half, most, worst = np.percentile(heard.delay_ms, [50, 95, 100]) if len(heard.delay_ms) else (np.nan,) * 3
        print(
            f"| {scheme}:// | {len(heard.delay_ms)} of {heard.sent} | {heard.packets / heard.seconds:.1f} "
            f"| {heard.size / max(len(heard.delay_ms), 1):.0f} | {half:.2f} | {most:.2f} | {worst:.2f} |",
            flush=True,
        )
    print(f"\n{people} {'person' if people == 1 else 'people'}, {RATE} frames a second, loopback")


def measure(scheme: str, results: list[Result], arrays: BodyArrays, seconds: float) -> Heard:
    """Send ``results`` in turn for so many seconds to a receiver in a process of its own. Raises `UserError` if that one
    does not begin or end."""
    port = _free_port() if scheme == "ws" else 0
    script = f"RATE = {RATE}\n" + (_WEBSOCKET if scheme == "ws" else _DATAGRAMS) + _REPORT
    begin = [sys.executable, "-c", script, f"ws://127.0.0.1:{port}"]
    if scheme == "ws":
        with open_sender(f"ws://127.0.0.1:{port}", WAVING_CAMERA, RATE, "bench", arrays) as sender:
            receiver = subprocess.Popen(begin, stdout=subprocess.PIPE, text=True)
            _first_line(receiver)
            sent, took = _send(sender.send, results, seconds)
    else:
        receiver = subprocess.Popen(begin, stdout=subprocess.PIPE, text=True)
        port = int(_first_line(receiver))
        with open_sender(f"{scheme}://127.0.0.1:{port}", WAVING_CAMERA, RATE, "bench", arrays) as sender:
            sent, took = _send(sender.send, results, seconds)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stream:
            stream.sendto(b"end", ("127.0.0.1", port))
    try:
        rows = json.loads(receiver.communicate(timeout=_WAIT_S)[0])
    except (subprocess.TimeoutExpired, ValueError):
        receiver.kill()
        raise UserError(f"the receiver of {scheme}:// did not end: is the machine busy?") from None
    rows = [row for row in rows if row[0] in sent]
    delays = np.array([(came - sent[number]) / 1e6 for number, came, _, _ in rows])
    return Heard(len(sent), delays, sum(row[2] for row in rows), sum(row[3] for row in rows), took)


def _send(show: Callable[[Result], None], results: list[Result], seconds: float) -> tuple[dict[int, int], float]:
    """When each frame's call began, monotonic nanoseconds, and how many seconds were spent."""
    sent: dict[int, int] = {}
    begin = time.monotonic()
    for number in range(-RATE, round(seconds * RATE)):  # the first second warms up
        one = results[number % len(results)]
        if number == 0:
            begin = time.monotonic()
            sent.clear()
        frame = replace(one.frame, sequence=number, time_s=number / RATE, captured_ns=time.monotonic_ns())
        one = replace(one, frame=frame)
        sent[number] = time.monotonic_ns()
        show(one)
        due = begin + (number + (1 if number >= 0 else 1 + RATE)) / RATE
        time.sleep(max(0.0, due - time.monotonic()))
    return sent, time.monotonic() - begin


def _first_line(receiver: subprocess.Popen[str]) -> str:
    """What the receiver says when it is ready."""
    assert receiver.stdout is not None
    line = receiver.stdout.readline().strip()
    if not line:
        receiver.kill()
        raise UserError("the receiver did not begin: see its error above")
    return line


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
