"""A web server that streams as a network camera does and sends video files."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time

import cv2

from tests.realtime.clips import numbered_image


class Server(http.server.ThreadingHTTPServer):
    """A network camera at /stream, which breaks off after ``frames``, and video files by their names in ``files``, as a server
    without ranges sends them; those in ``unsized`` without their length, those in ``headers`` with further header lines, those
    in ``takes_s`` in so many seconds."""

    daemon_threads = True
    frames = 10**9
    connections = 10**9
    interval_s = 0.01
    stalls = False
    asked = 0

    def __init__(self, port: int = 0) -> None:
        self.files: dict[str, bytes] = {}
        self.unsized: set[str] = set()
        self.headers: dict[str, dict[str, str]] = {}
        self.takes_s: dict[str, float] = {}
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def stop(self) -> None:
        self.stalls, self.frames = False, 0
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked += 1
        data = self.server.files.get(self.path)
        if data is not None:
            self.send_response(200)
            headers = self.server.headers.get(self.path, {})
            if self.path not in self.server.unsized and "Content-Length" not in headers:
                self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            parts = 40 if self.path in self.server.takes_s else 1
            size = -(-len(data) // parts)
            with contextlib.suppress(OSError):
                for part in range(parts):
                    self.wfile.write(data[part * size : (part + 1) * size])
                    time.sleep(self.server.takes_s.get(self.path, 0.0) / parts)
            return
        if self.path == "/private":
            self.send_error(401)
            return
        if not self.path.startswith("/stream") or self.server.connections <= 0:
            self.send_error(404)
            return
        self.server.connections -= 1
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for index in range(10**9):
                if index >= self.server.frames:
                    break
                data = cv2.imencode(".jpg", numbered_image(index % 256, 160, 120))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(self.server.interval_s)
            while self.server.stalls:
                time.sleep(0.05)
        except OSError:
            pass
