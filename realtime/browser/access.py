"""Who may look: everybody on this machine, or whoever holds the link with its random token.

A web page that the user happens to visit must not be able to watch the camera. Two headers tell: ``Host`` is the name that
the browser looked up, and must be one of this machine's own, so that a foreign name that is made to point here (DNS
rebinding) is refused; ``Origin`` is the page that opens a WebSocket, and must be this server's page.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs, urlsplit

_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_TOKEN_BYTES: Final = 16
_DOCUMENTATION: Final = ("192.0.2.1", 9)
"""An address that nobody has (RFC 5737): asking for the route to it sends nothing."""


class Access:
    """The rules for a server that listens on ``host``.

    On a loopback address nothing but the names of this machine is asked for. On any other, every request for live data
    needs ``token``, which the link carries.
    """

    def __init__(self, host: str) -> None:
        self._host = host.strip("[]").lower()
        self.token: str | None = None if is_loopback(self._host) else secrets.token_urlsafe(_TOKEN_BYTES)
        """Random, for one run; None on loopback, where none is asked for."""

    def link(self, port: int) -> str:
        """What to open in a browser. The token stands after the ``#``: no browser sends that part to anybody."""
        host = self._host
        if host in ("0.0.0.0", "::"):  # all addresses: name one that others can reach
            host = _own_address()
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{port}/" + ("" if self.token is None else f"#{self.token}")

    def refusal(self, path: str, headers: Mapping[str, str], live: bool) -> tuple[int, str] | None:
        """Why a request is refused, as HTTP status and a line that says what to do; None: it is allowed.

        Args:
            path: of the request, with its query.
            headers: of the request, by any case of their names.
            live: it asks for live data or the body, not for the page's own files.
        """
        host = headers.get("Host", "")
        if not self._is_own(_name_of(host)):
            return 421, "Open the link that the program printed: this name is not one of this machine's.\n"
        origin = headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "Only this program's own page may look.\n"
        if live and self.token is not None:
            given = parse_qs(urlsplit(path).query).get("token", [""])[-1]
            if not hmac.compare_digest(given.encode(), self.token.encode()):
                return 403, "The link lacks its token: open the whole link that the program printed.\n"
        return None

    def _is_own(self, name: str) -> bool:
        if name in _LOCAL_NAMES or name == self._host:
            return True
        if self.token is None:
            return False
        own = socket.gethostname().lower()
        return name in (own, f"{own}.local") or _is_address(name)  # an address cannot be made to point elsewhere


def is_loopback(host: str) -> bool:
    """Whether ``host`` is reached from this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """The host of a ``Host`` header, without its port, in lower case; empty where there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_address() -> str:
    """The address of this machine in its network, or its name where it has no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_DOCUMENTATION)
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
