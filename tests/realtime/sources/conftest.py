"""A server of videos on this machine, and sources that try again at once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from realtime.sources import threaded_capture
from tests.realtime.sources.camera_server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded_capture, "_FIRST_GAP_S", 0.05)
