from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from realtime.sources.address import check_address, escaped, is_address, looks_like_address, public_name


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("http://camera/stream.mjpg", "http://camera/stream.mjpg"),
        ("rtsp://admin:pw@camera:554/live/1", "rtsp://camera:554/live/1"),
        ("rtsp://admin:p@S3cret@127.0.0.1:1/live", "rtsp://127.0.0.1:1/live"),
        ("rtsp://admin:pa/S3cret@10.0.0.2/live", "rtsp://10.0.0.2/live"),
        ("rtsp://admin:S3?cret@10.0.0.2/live", "rtsp://…"),
        ("rtsp://admin:S3#cret@10.0.0.2/live", "rtsp://…"),
        ("rtsp://admin:S3 cret@10.0.0.2/live", "rtsp://10.0.0.2/live"),
        ("rtsp://S3cret@10.0.0.2/live", "rtsp://10.0.0.2/live"),
        ("RTSP://admin:S3cret@[::1]:554/live", "RTSP://[::1]:554/live"),
        ("http://camera:80/video?user=admin&pwd=S3cret", "http://camera:80/video"),
        ("http://camera/video?user=a@b.c&pwd=S3cret", "http://camera/video"),
        ("http://camera?pwd=S3cret", "http://camera"),
        ("http://camera/x#S3cret", "http://camera/x"),
        ("rtsp://camera/user=admin_password=S3cret_channel=1.sdp", "rtsp://camera/user=…"),
        ("rtsp://camera/live;pwd=S3cret/2", "rtsp://camera/live;pwd=…/2"),
        ("rtsp:/bob:S3cret@camera/live", "rtsp:/camera/live"),
        ("rtsp:bob:S3cret@camera/live", "rtsp:camera/live"),
        ("rtsp//bob:S3cret@camera/live", "rtsp//camera/live"),
        ("bob:S3cret@camera/live", "…@camera/live"),
        ("camera/video?user=bob&pwd=S3cret", "camera/video?…"),
        ("rtsp://bob:S3cret", "rtsp://…"),
        ("rtmp://host/app playpath=x pubPasswd=S3cret", "rtmp://host/app"),
        ("srt://host:99?passphrase=S3cret", "srt://host:99"),
        ("udp://@239.0.0.1:1234", "udp://239.0.0.1:1234"),
        ("walk.mp4", "walk.mp4"),
        ("folder/12:30:05.mp4", "folder/12:30:05.mp4"),
        ("photo@2x.png", "photo@2x.png"),
        ("file:///a/b@c.mp4", "file:///a/b@c.mp4"),
        ("", ""),
    ],
)
def test_what_is_shown_of_an_address(typed: str, shown: str) -> None:
    assert public_name(typed) == shown


@given(
    st.sampled_from(["rtsp://", "http://", "RTSP://", "rtsp:/", "srt://", "rtmp:"]),
    st.text("ab:@/?# %=&;\\", max_size=12),
    st.text("ab:@/?# %=&;\\", max_size=12),
    st.sampled_from(["cam", "cam:554", "[::1]:8080"]),
)
def test_no_password_is_ever_shown(scheme: str, before: str, after: str, host: str) -> None:
    assert "S3cret" not in public_name(f"{scheme}admin:{before}S3cret{after}@{host}/live")


def test_percent_escapes_hide_nothing() -> None:
    for typed in (
        "rtsp://admin%3AS3cret%40cam/live",
        "http://cam/live%3Fpwd%3DS3cret",
        "http://cam/live%3fpwd%3dS3cret",
    ):
        assert "S3cret" not in public_name(typed)


@given(st.text(max_size=12))
def test_no_query_is_ever_shown(text: str) -> None:
    assert "S3cret" not in public_name(f"http://cam/live?pwd={text}S3cret")


@given(st.text(max_size=40))
def test_any_text_has_a_public_name(text: str) -> None:
    assert isinstance(public_name(text), str)


def test_what_an_address_is() -> None:
    assert is_address("rtsp://x")
    assert not is_address("file:///x")
    assert not is_address("a/b.mp4")
    assert looks_like_address("rtsp:/x")
    assert not looks_like_address("12:30:05.mp4")


@pytest.mark.parametrize(
    "typed",
    ["http://", "rtsp:///live", "http://cam:99999/x", "http://cam:0/x", "rtsp://cam:554x/live", "rtsp://[::1/live",
     "http://::1/x", "http://http://cam/x", "http://bob:pw@/x", "tcp://cam:" + "9" * 9000],
)  # fmt: skip
def test_what_can_be_no_address_is_not_waited_for(typed: str) -> None:
    with pytest.raises(UserError, match="is no address") as caught:
        check_address(typed)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "typed",
    ["http://cam", "rtsp://[::1]:554/live", "rtsp://[fe80::1%25eth0]/live", "udp://:1234", "udp://@239.0.0.1:1234",
     "srt://:99?mode=listener", "tcp://:1234?listen", "rtsp://a:p@s/w#d@cam:554/x", "https://cam/my video.mp4",
     "http://münchen.example/x"],
)  # fmt: skip
def test_what_may_be_an_address_is_tried(typed: str) -> None:
    check_address(typed)


@given(st.sampled_from(["http://", "rtsp://", "udp://", ""]), st.text(max_size=40))
def test_any_text_is_checked(scheme: str, text: str) -> None:
    with contextlib.suppress(UserError):
        check_address(scheme + text)


def test_what_may_not_stand_in_a_request_is_escaped() -> None:
    assert escaped(" http://cam/my video é.mp4?a=%20+b ") == "http://cam/my%20video%20%C3%A9.mp4?a=%20+b"
