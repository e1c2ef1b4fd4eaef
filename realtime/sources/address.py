"""Addresses as the user types them, and what of them may be shown."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

from common.errors import UserError

_SCHEMES: Final = ("rtsp", "rtsps", "rtspt", "rtmp", "rtmps", "http", "https", "hls", "mms", "mmsh", "mmst", "srt", "rist",
                  "udp", "tcp", "tls", "rtp", "ftp", "ftps", "sftp", "unix")  # fmt: skip
"""What counts as an address although its slashes are mistyped."""

_WITH_HOST: Final = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "ftp", "ftps", "sftp"})
"""With these schemes an address needs a host; with others, an empty host may mean this machine."""

_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.\-]*):(//|\\\\)")
_MISTYPED = re.compile(rf"\s*({'|'.join(_SCHEMES)})(:[/\\]*|[/\\]{{2,}})", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[\w.\-]+)?\]|[^:%\s]*)(:\d+)?")
_QUERY = re.compile(r"([^?#]*)(.*)", re.DOTALL)
_PARAMETER = re.compile(r"\?[\w.\-]+=")
_HIDDEN = "…"


def is_address(spec: str) -> bool:
    """Whether ``spec`` says where something is on a network, rather than in a folder."""
    found = _SCHEME.match(spec)
    return found is not None and found[1].lower() != "file"


def looks_like_address(spec: str) -> bool:
    """Whether ``spec``, which is the name of no file, was meant as an address: "rtsp:/host/live"."""
    return _MISTYPED.match(spec) is not None


def check_address(spec: str) -> None:
    """Raise `UserError` for an address that can be none, which would be waited for in vain: no host, or no such port."""
    found = _SCHEME.match(spec)
    if found is None:
        return
    rest = spec[found.end() :]
    shown = _without_secrets(rest)
    if shown == _HIDDEN and "@" in rest:
        return  # a password with characters that make the address ambiguous
    authority = None if shown == _HIDDEN else _AUTHORITY.fullmatch(re.split(r"[/\\;]", shown, maxsplit=1)[0])
    scheme = found[1].lower()
    is_one = authority is not None and (authority[1] or scheme not in _WITH_HOST)
    if not is_one or (authority is not None and authority[2] and not _is_port(authority[2][1:])):
        raise UserError(f"{public_name(spec)} is no address: write it as {scheme}://host:port/path")


def _is_port(digits: str) -> bool:
    return len(digits) < 10 and 0 < int(digits) < 65536


def escaped(url: str) -> str:
    """``url`` as HTTP wants it: what may not stand in a request, such as spaces, percent-escaped."""
    return re.sub(r"[^\x21-\x7e]", lambda found: quote(found[0], errors="surrogateescape"), url.strip())


def public_name(spec: str) -> str:
    """``spec`` fit for screens and files: of an address the scheme, host, port and path, and nothing that may be secret.

    User names and passwords go, whatever characters are in them, and so do queries and ``name=value`` in paths (some
    cameras want their password there); where it cannot be told what is secret, all but the scheme. What is no address,
    such as a file's name, comes back as it is, unless it looks like an address that was mistyped ("rtsp:/name:password@host",
    "name:password@host").
    """
    found = _SCHEME.match(spec)
    if found is not None and found[1].lower() == "file":
        return spec
    found = found or _MISTYPED.match(spec)
    if found is not None:
        return spec[: found.end()].strip() + _without_secrets(spec[found.end() :])
    if re.search(r":[^@]*@", spec):
        return f"{_HIDDEN}@{_without_secrets(spec)}"
    return re.sub(r"\?.*=.*", f"?{_HIDDEN}", spec, flags=re.DOTALL)


def _without_secrets(rest: str) -> str:
    """Host, port and path of what follows the scheme.

    Passwords are typed as they are, with slashes, question marks and at signs in them.
    """
    head, query = _QUERY.match(rest).groups()  # type: ignore[union-attr]  # it matches everything
    shown = head.rpartition("@")[2]
    if "@" in query and ("/" not in shown or not _PARAMETER.match(query)):
        return _HIDDEN  # a query with an at sign, or the second half of a password?
    shown = re.split(r"\s", shown.strip(), maxsplit=1)[0]
    authority = re.split(r"[/\\;]", shown, maxsplit=1)[0]
    if not _AUTHORITY.fullmatch(authority):
        return _HIDDEN  # a name and the first half of a password
    return authority + re.sub(r"(=|%3D)[^/]*", rf"\1{_HIDDEN}", shown[len(authority) :], flags=re.I)
