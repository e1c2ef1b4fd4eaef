"""What the server answers to ``GET``: the page's own files and the body, nothing else, and nothing from elsewhere."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

STATIC: Final = Path(__file__).parent / "static"
"""The page: HTML, style, scripts and three.js, as the manifest beside them lists."""

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The page may load nothing from anywhere but this server, and nobody may put it into a frame."""

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".bin": "application/octet-stream",
}
_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",  # may be kept, but is asked for each time: an ETag answers in a few bytes
    "Connection": "close",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    status: int
    """HTTP status code."""
    headers: Mapping[str, str]
    """Names and values."""
    body: bytes = b""
    """What follows the headers."""


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the page, as it is sent."""

    kind: str
    """MIME type."""
    packed: bytes
    """Compressed with gzip."""
    tag: str
    """Entity tag, changed with the contents: browsers ask whether their copy still holds."""


class Files:
    """The files by their paths, compressed and kept in memory: together less than 2 MB."""

    def __init__(self) -> None:
        self._files: dict[str, _File] = {}
        for path in sorted(STATIC.iterdir()):
            if path.suffix in _TYPES:
                self.add("/" if path.name == "index.html" else f"/{path.name}", path.read_bytes())

    def add(self, path: str, content: bytes) -> None:
        """Also answer ``path``, whose ending says what it is."""
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        kind = _TYPES[Path(path).suffix or ".html"]
        self._files[path] = _File(kind, gzip.compress(content, 6, mtime=0), tag)

    def answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        """The answer to ``GET path`` with these request ``headers``."""
        file = self._files.get(urlsplit(path).path)
        if file is None:
            return text_answer(404, "There is nothing here. The page is at /\n")
        common = {**_HEADERS, "ETag": file.tag, "Vary": "Accept-Encoding"}
        if headers.get("If-None-Match") == file.tag:
            return Answer(304, common)
        body = file.packed
        if "gzip" in headers.get("Accept-Encoding", ""):
            common["Content-Encoding"] = "gzip"
        else:
            body = gzip.decompress(body)
        return Answer(200, {**common, "Content-Type": file.kind, "Content-Length": str(len(body))}, body)


def text_answer(status: int, text: str) -> Answer:
    """An answer that says in one line of ``text`` what is wrong."""
    body = text.encode()
    return Answer(
        status, {**_HEADERS, "Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}, body
    )
