"""What tests of live output share."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from body.model import BodyArrays, load_body


@pytest.fixture(scope="module")
def arrays() -> BodyArrays:
    return load_body("body_1722")


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        yield receiver
