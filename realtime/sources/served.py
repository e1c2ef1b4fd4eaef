"""What a web server sends where FFmpeg finds no video: a page, a document, nothing. None of them becomes a video by waiting."""

from __future__ import annotations

import base64
import gzip
import re
import time
import urllib.error
import urllib.request
import zlib
from http.client import HTTPException, HTTPMessage, HTTPResponse
from typing import IO, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from typing_extensions import override

_HEAD_BYTES: Final = 4096
_LATER: Final = frozenset({408, 425, 429})
"""Refusals of a server that may answer the same request later."""
_KINDS: Final = (
    (re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL), "a web page"),
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?<MPD\b"), "a DASH playlist, which is not read here, unlike HLS (.m3u8)"),
    (re.compile(rb"\s*<(\?xml|svg|rss|feed)\b", re.IGNORECASE), "an XML document"),
    (re.compile(rb"\s*[{\[]\s*[\"{\[\]}]"), "JSON"),
    (re.compile(rb"%PDF-"), "a PDF document"),
    (re.compile(rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!"), "an archive"),
    (re.compile(rb"\s*#EXTM3U"), "a playlist without a video that can be read"),
)
_TYPES: Final = {
    "text/html": "a web page",
    "application/xhtml+xml": "a web page",
    "application/json": "JSON",
    "application/pdf": "a PDF document",
    "application/zip": "an archive",
}
_GZIP: Final = 16 + zlib.MAX_WBITS
_PLAYLIST_END: Final = b"#EXT-X-ENDLIST"


def request_of(url: str) -> urllib.request.Request:
    """``url`` with its user name and password where HTTP wants them."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)))
    if user:
        request.add_unredirected_header("Authorization", "Basic " + base64.b64encode(unquote(user).encode()).decode())
    return request


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections, and gives the password to nobody but the server that it is for."""

    @override
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        after = super().redirect_request(req, fp, code, msg, headers, newurl)
        password = req.get_header("Authorization")
        if after is not None and password and urlsplit(req.full_url)[:2] == urlsplit(after.full_url)[:2]:
            after.add_unredirected_header("Authorization", password)
        return after


def ask(url: str, timeout_s: float) -> HTTPResponse:
    """Ask the http(s) ``url``, with its password; the caller closes the answer. Raises OSError and ValueError."""
    answer: HTTPResponse = urllib.request.build_opener(_Redirects()).open(request_of(url), timeout=timeout_s)
    return answer


def _is_gzipped(answer: HTTPResponse) -> bool:
    """Whether the server packs what it sends, asked or not."""
    return answer.headers.get("Content-Encoding", "").strip().lower() in ("gzip", "x-gzip")


def unpacked(answer: HTTPResponse) -> IO[bytes]:
    """What ``answer`` holds, unpacked where the server has packed it."""
    return gzip.GzipFile(fileobj=answer) if _is_gzipped(answer) else answer  # type: ignore[return-value]  # read() is all


def _head_of(answer: HTTPResponse, timeout_s: float) -> bytes:
    """The first bytes, which some servers send one by one: what comes in time."""
    head, deadline = b"", time.monotonic() + timeout_s
    while len(head) < _HEAD_BYTES and time.monotonic() < deadline:
        try:
            data = answer.read1(_HEAD_BYTES - len(head))
        except TimeoutError:
            break
        if not data:
            break
        head += data
    return head


def what_is_served(url: str, timeout_s: float) -> str | None:
    """What the http(s) ``url`` answers, as "a web page", where that is no video and will not become one.

    None where the server cannot be asked, and where its answer may be a stream that has not begun. Reads the first bytes
    only.
    """
    try:
        with ask(url, timeout_s) as answer:
            kind = answer.headers.get_content_type() if "Content-Type" in answer.headers else ""
            length, status = answer.headers.get("Content-Length"), answer.status
            head = _head_of(answer, timeout_s)
            if _is_gzipped(answer):
                head = zlib.decompressobj(_GZIP).decompress(head, _HEAD_BYTES)
    except urllib.error.HTTPError as error:
        if 300 <= error.code < 400:
            return "a redirection that leads nowhere"
        return f"an error ({error.code})" if 400 <= error.code < 500 and error.code not in _LATER else None
    except (OSError, ValueError, HTTPException, zlib.error):
        return None
    if status in (204, 205) or (length is not None and length.strip() == "0"):
        return "nothing"
    named = next((name for pattern, name in _KINDS if pattern.match(head)), None)
    if head.lstrip().startswith(b"#EXTM3U") and _PLAYLIST_END not in head:
        return None  # the encoder may not have begun
    if named is None:
        named = _TYPES.get(kind)
    if named is None and kind.startswith("text/"):
        named = "text"
    if named is None and kind.startswith("audio/"):
        named = "sound alone"
    # A camera's stream has no length: what has one is a file, and FFmpeg could not read it.
    return named or ("a file that is no video, or cut short" if length is not None else None)
