"""A small RTSP server: an H.264 camera whose packets come over the connection that asks for them, as MPEG-TS in RTP."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import time
from base64 import b64encode
from pathlib import Path

from tests.faults.servers import transport_stream

_PACKETS = 7
_TS = 188
_MP2T = 33
_CLOCK_HZ = 90_000


class RtspCamera:
    """Serves the clip that comes with the project, over and over. ``folder`` is for a temporary file.

    ``breaks`` ends every connection, ``stalled`` sends nothing; both may change at any time. ``password`` is user:password that
    must be given.
    """

    def __init__(self, folder: Path, port: int = 0, password: str = "") -> None:
        self._data, self._seconds = transport_stream(folder)
        self._password = password
        self.breaks = False
        self.stalled = False
        self.asked: list[str] = []
        """The first line of each request."""
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self, path: str = "/live") -> str:
        """Where it is."""
        return f"rtsp://127.0.0.1:{self.port}{path}"

    def stop(self) -> None:
        """Close."""
        self.breaks = True
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError, IndexError), connection:
            waiting = b""
            while not self.breaks:
                while b"\r\n\r\n" not in waiting:
                    data = connection.recv(4096)
                    if not data:
                        return
                    waiting += data
                head, _, waiting = waiting.partition(b"\r\n\r\n")
                request = head.decode()
                self.asked.append(request.splitlines()[0])
                method = request.split()[0]
                number = re.findall(r"(?im)^CSeq: *(\d+)", request)[0]
                status, lines, body = self._reply(method, request)
                lines = [f"RTSP/1.0 {status}", f"CSeq: {number}", *lines, f"Content-Length: {len(body)}", "", ""]
                connection.sendall("\r\n".join(lines).encode() + body)
                if method == "PLAY" and status == "200 OK":
                    self._send(connection)
                    return

    def _reply(self, method: str, request: str) -> tuple[str, list[str], bytes]:
        wanted = b64encode(self._password.encode()).decode()
        if self._password and method != "OPTIONS" and f"Basic {wanted}" not in request:
            return "401 Unauthorized", ['WWW-Authenticate: Basic realm="camera"'], b""
        if method == "OPTIONS":
            return "200 OK", ["Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN"], b""
        if method == "DESCRIBE":
            sdp = (
                f"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP {_MP2T}\r\na=control:track0\r\n"
            )
            return "200 OK", ["Content-Type: application/sdp"], sdp.encode()
        if method == "SETUP":
            return "200 OK", ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"], b""
        return "200 OK", ["Session: 1"], b""

    def _send(self, connection: socket.socket) -> None:
        step = _TS * _PACKETS
        pause_s = self._seconds / (len(self._data) / step)
        sequence, began_s = 0, time.monotonic()
        while not self.breaks:
            for place in range(0, len(self._data), step):
                while self.stalled and not self.breaks:
                    time.sleep(0.05)
                if self.breaks:
                    return
                stamp = int((time.monotonic() - began_s) * _CLOCK_HZ) & 0xFFFFFFFF
                packet = struct.pack(">BBHII", 0x80, _MP2T, sequence & 0xFFFF, stamp, 1)
                packet += self._data[place : place + step]
                connection.sendall(b"$\x00" + struct.pack(">H", len(packet)) + packet)
                sequence += 1
                time.sleep(pause_s)
