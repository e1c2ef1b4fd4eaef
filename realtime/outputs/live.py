"""Live output: motion to other programs while it is estimated, ``--send vmc://``, ``udp://`` and ``ws://`` ``HOST:PORT``.

Each sender is a sink that takes the newest result and drops the rest (``add_sink(every=False)``), so a slow receiver gets fewer
frames and delays nothing.
"""

from __future__ import annotations

import socket
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from body.model import BodyArrays
from common.camera import Camera
from common.errors import UserError
from formats.endings import ReferenceFrame
from formats.json_lines import header_of
from realtime.outputs.live_datagrams import UdpSender, VmcSender
from realtime.outputs.live_messages import Sender
from realtime.sources.address import public_name

_SCHEMES: Final = ("vmc", "udp", "ws")


def open_sender(
    url: str, camera: Camera, fps: float, source: str, arrays: BodyArrays, frame: ReferenceFrame | None = None
) -> Sender:
    """A sender to ``url``, one of `_SCHEMES`.

    Args:
        url: ``vmc://HOST:PORT[?person=N]`` and ``udp://HOST:PORT`` send there; ``ws://HOST:PORT`` listens there for clients.
        camera: of the frames that results belong to.
        fps: nominal rate of the source.
        source: the name it is told by.
        arrays: the body that is estimated.
        frame: of reference. None: JSON has the world's beside the camera's, and VMC is in the world's, where it is known.

    Raises `UserError` for a URL that is none of these, a host that is not known and a port that is taken.
    """
    scheme, host, port, person = _parts_of(url)
    if scheme == "vmc":
        return VmcSender(_address_of(url, host, port), arrays, person, frame)
    header = header_of(source, fps, camera.matrix, arrays.sha256)
    if scheme == "udp":
        return UdpSender(_address_of(url, host, port), header, frame != "camera")
    from realtime.outputs.live_websocket import WebSocketSender  # loads asyncio, so only on demand

    return WebSocketSender(host, port, header, frame != "camera")


def check_send(url: str) -> None:
    """Raise `UserError` unless ``url`` is one that `open_sender` knows."""
    _parts_of(url)


def _parts_of(url: str) -> tuple[str, str, int, int | None]:
    """Scheme, host, port and the person that is asked for."""
    try:
        parts = urlsplit(url)
        port = parts.port
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        person = int(query.pop("person")[0]) if parts.scheme == "vmc" and "person" in query else None
    except ValueError:
        raise UserError(_usage(url)) from None
    if parts.scheme not in _SCHEMES or not parts.hostname or not port or query or parts.path.strip("/"):
        raise UserError(_usage(url))
    return parts.scheme, parts.hostname, port, person


def _usage(url: str) -> str:
    """What to give instead of ``url``. Its query is not repeated, as of no address, so the message says what it may be."""
    forms = "vmc://HOST:PORT[?person=NUMBER], udp://HOST:PORT or ws://HOST:PORT"
    return f"--send {public_name(url)}{' with ?...' if '?' in url else ''}: give it as {forms}"


def _address_of(url: str, host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except (OSError, UnicodeError) as error:  # UnicodeError: "a..b", or a part of more than 63 characters
        why = error.strerror if isinstance(error, OSError) else "no name that a host can have"
        raise UserError(f"--send {public_name(url)}: there is no host {host} ({why}): check it") from None
    return family, address
