"""Cameras on the loopback interface that misbehave as they are told."""

from __future__ import annotations

import contextlib
import functools
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2

from tests.faults.program import CLIP


@functools.lru_cache(maxsize=1)
def jpegs() -> tuple[bytes, ...]:
    """The frames of the clip that comes with the project, as JPEG files."""
    with av.open(str(CLIP)) as video:
        frames = [frame.to_ndarray(format="bgr24") for frame in video.decode(video=0)]
    return tuple(cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames)


class Camera(http.server.ThreadingHTTPServer):
    """An MJPEG camera at /stream. Its attributes may be changed at any time."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        self.interval_s = 1 / 30
        self.stalled = False
        self.breaks = False
        """End every connection."""
        self.garbage = False
        self.small = False
        self.password = False
        self.burst = False
        self.files: dict[str, bytes] = {}
        self.takes_s = 0.0
        """Seconds that a file takes."""
        super().__init__(("127.0.0.1", port), _Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/stream"

    def stop(self) -> None:
        self.breaks = True
        self.shutdown()
        self.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Camera

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        camera = self.server
        if camera.password:
            self.send_error(401)
            return
        data = camera.files.get(self.path)
        if data is not None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            step = max(1, len(data) // 50)
            with contextlib.suppress(OSError):
                for place in range(0, len(data), step):
                    self.wfile.write(data[place : place + step])
                    time.sleep(camera.takes_s / 50)
            return
        if not self.path.startswith("/stream"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):
            self._stream(camera)

    def _stream(self, camera: Camera) -> None:
        number = 0
        while not camera.breaks:
            if camera.stalled:
                time.sleep(0.05)
                continue
            data = jpegs()[number % len(jpegs())]
            number += 1
            if camera.small:
                image = cv2.imdecode(__import__("numpy").frombuffer(data, "uint8"), cv2.IMREAD_COLOR)
                data = cv2.imencode(".jpg", cv2.resize(image, (320, 240)))[1].tobytes()
            if camera.garbage:
                data = bytes(255 - byte for byte in data[: len(data) // 2])
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")
            time.sleep(1 / 300 if camera.burst else camera.interval_s)


def transport_stream(folder: Path) -> tuple[bytes, float]:
    """The clip that comes with the project as live encoders send it, in MPEG-TS, and its seconds."""
    path = folder / "live.ts"
    with av.open(str(CLIP)) as video:
        images = [frame.reformat(format="yuv420p") for frame in video.decode(video=0)]
    with av.open(str(path), "w", format="mpegts") as out:
        stream = out.add_stream("libx264", rate=30, options={"tune": "zerolatency", "preset": "ultrafast", "g": "15"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for index, image in enumerate(images):
            image.pts, image.time_base = index, Fraction(1, 30)
            out.mux(stream.encode(image))
        out.mux(stream.encode(None))
    return path.read_bytes(), len(images) / 30


class TransportStream:
    """MPEG-TS over TCP, as an encoder sends it. ``jumps`` seconds are taken off the timestamps after each second."""

    def __init__(self, folder: Path, jumps: float = 0.0, garbage: bool = False) -> None:
        self._data, self._seconds = transport_stream(folder)
        self._garbage = garbage
        self.breaks = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._send, args=(connection,), daemon=True).start()

    def _send(self, connection: socket.socket) -> None:
        # The same file over and over: at each start its timestamps jump back.
        step = 188 * 20
        pause_s = self._seconds / (len(self._data) / step)
        with contextlib.suppress(OSError), connection:
            while not self.breaks:
                for place in range(0, len(self._data), step):
                    if self.breaks:
                        return
                    piece = self._data[place : place + step]
                    connection.sendall(bytes(step) if self._garbage and place // step % 10 == 5 else piece)
                    time.sleep(pause_s)

    def stop(self) -> None:
        """Close."""
        self.breaks = True
        self._listener.close()


@contextlib.contextmanager
def camera(port: int = 0) -> Iterator[Camera]:
    """A `Camera` that is stopped with the block."""
    server = Camera(port)
    try:
        yield server
    finally:
        if not server.breaks:
            server.stop()


def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
