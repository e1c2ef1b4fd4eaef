"""What a web server sends where FFmpeg finds no video: a page, a document, nothing. None of them becomes a video by waiting."""

from __future__ import annotations

import base64
import re
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

_HEAD_BYTES: Final = 4096
_LATER: Final = frozenset({408, 425, 429})
"""Refusals of a server that may answer the same request later."""
_KINDS: Final = (
    (re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL), "a web page"),
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
_PLAYLIST_END: Final = b"#EXT-X-ENDLIST"


def request_of(url: str) -> urllib.request.Request:
    """``url`` with its user name and password where HTTP wants them."""
    parts = urlsplit(url)
    user, _, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=host)))
    if user:
        request.add_header("Authorization", "Basic " + base64.b64encode(unquote(user).encode()).decode())
    return request


def what_is_served(url: str, timeout_s: float) -> str | None:
    """What the http(s) ``url`` answers, as "a web page", where that is no video and will not become one.

    None where the server cannot be asked, and where its answer may be a stream that has not begun. Reads the first bytes
    only.
    """
    try:
        with urllib.request.urlopen(request_of(url), timeout=timeout_s) as answer:
            kind, length = answer.headers.get_content_type(), answer.headers.get("Content-Length")
            head = answer.read1(_HEAD_BYTES)
            status = answer.status
    except urllib.error.HTTPError as error:
        if 300 <= error.code < 400:
            return "a redirection that leads nowhere"
        return f"an error ({error.code})" if 400 <= error.code < 500 and error.code not in _LATER else None
    except (OSError, ValueError, HTTPException):
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
    # A camera's stream has no length: what has one is a file, and FFmpeg could not read it.
    return named or ("a file that is no video" if length is not None else None)
