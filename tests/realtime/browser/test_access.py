"""Who may look, and who may not."""

from __future__ import annotations

import socket

import pytest

from realtime.browser.access import Access


def ask(
    access: Access, host: str = "127.0.0.1:8787", origin: str | None = None, path: str = "/live", live: bool = True
) -> int | None:
    headers = {"Host": host} if origin is None else {"Host": host, "Origin": origin}
    refused = access.refusal(path, headers, live)
    return None if refused is None else refused[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.0.0.2"])
def test_on_this_machine_nobody_is_asked_for_a_token(host: str) -> None:
    access = Access(host)
    assert access.token is None
    assert "#" not in access.link(8787)
    assert ask(access, "localhost:8787", "http://localhost:8787") is None
    assert ask(access, "127.0.0.1:9999") is None, "through a tunnel, at another port"
    assert ask(access, "[::1]:8787", "http://[::1]:8787") is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "camera.example", "10.0.0.1"])
def test_elsewhere_live_data_needs_the_token_of_the_link(host: str) -> None:
    access = Access(host)
    token = access.token
    assert token is not None
    assert len(token) >= 20
    assert access.link(8787).endswith(f":8787/#{token}")
    assert Access(host).token != token, "random, for each run"
    for path in ("/live", "/live?token=", "/live?token=x", f"/live?token={token[:-1]}", f"/live?tok={token}"):
        assert ask(access, "192.168.1.5:8787", path=path) == 403
    assert ask(access, "192.168.1.5:8787", path=f"/live?token={token}") is None
    assert ask(access, "192.168.1.5:8787", path="/", live=False) is None, "the page itself tells nothing"


def test_a_name_that_is_made_to_point_here_is_refused() -> None:
    for access in (Access("127.0.0.1"), Access("0.0.0.0")):
        token = f"?token={access.token}"
        for host in ("evil.example:8787", "evil.example", "127.0.0.1.evil.example", "", "[", "localhost.evil.example"):
            assert ask(access, host, path=f"/live{token}") == 421, host
            assert ask(access, host, path="/", live=False) == 421, host
    assert ask(Access("127.0.0.1"), "192.168.1.5:8787") == 421
    own = Access("camera.example")
    assert ask(own, "CAMERA.example:8787", path=f"/live?token={own.token}") is None
    everywhere = Access("0.0.0.0")
    for name in (socket.gethostname(), f"{socket.gethostname()}.local", "10.1.2.3", "[fe80::1]"):
        assert ask(everywhere, f"{name}:8787", path=f"/live?token={everywhere.token}") is None


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://localhost:8787", "file://", ""]
)
def test_other_pages_may_not_look(origin: str) -> None:
    assert ask(Access("127.0.0.1"), "127.0.0.1:8787", origin) == 403


def test_the_link_names_an_address_that_others_can_reach() -> None:
    assert Access("192.168.1.5").link(80).startswith("http://192.168.1.5:80/#")
    assert Access("fd00::5").link(80).startswith("http://[fd00::5]:80/#")
    assert "0.0.0.0" not in Access("0.0.0.0").link(80)
