"""Opens what is behind an address through PyAV, and says in one line why that fails, and whether trying again would help."""

from __future__ import annotations

import re
from typing import Final

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from common.errors import UserError
from realtime.options import DecoderChoice
from realtime.sources.decoding import best_stream, open_video
from realtime.sources.served import what_is_served

_OPTIONS: Final = {
    "flags": "low_delay",
    "rtsp_transport": "tcp",  # lost UDP packets smear over seconds of video
    "probesize": "1000000",
    "analyzeduration": "1000000",  # microseconds
}
# Frames that arrive while a live stream is analysed are old when it is done. Over HTTP there may be a file, whose first
# frames are worth having, and whose connection can be taken up again where it broke off.
_LIVE_OPTIONS: Final = {"fflags": "nobuffer"}
_HTTP_OPTIONS: Final = {"reconnect": "1", "reconnect_delay_max": "4"}
_PLAYLIST: Final = re.compile(r"\.m3u8(\?|#|$)", re.IGNORECASE)
_HOPELESS: Final = (
    av.error.HTTPUnauthorizedError,
    av.error.HTTPForbiddenError,
    av.error.HTTPBadRequestError,
    av.error.ProtocolNotFoundError,
)
_NO_VIDEO: Final = "{} is no video: its server answers with {}; give the address of the stream itself"


class HopelessError(UserError):
    """Trying again would not help."""


def open_stream(
    url: str, name: str, decoder: DecoderChoice, timeout_s: float, first: bool
) -> tuple[InputContainer, VideoStream]:
    """Connect to ``url``, which errors call ``name``; every wait is limited to ``timeout_s`` seconds.

    The ``first`` time a server whose answer is no video is asked what it is. Raises `HopelessError`, and UserError where a
    later try may succeed.
    """
    is_http = url.lower().startswith("http")
    options = _OPTIONS | (_HTTP_OPTIONS if is_http else _LIVE_OPTIONS)
    try:
        container = open_video(
            url, decoder, name, options=options, metadata_errors="replace", timeout=(timeout_s, timeout_s)
        )
    except (av.FFmpegError, OSError) as error:
        is_missing = is_http and isinstance(error, av.error.HTTPNotFoundError)
        # A live stream's playlist is made when its encoder begins.
        hopeless = isinstance(error, _HOPELESS) or (is_missing and not _PLAYLIST.search(url))
        asks = first and is_http and not hopeless and not is_missing
        if asks and (served := what_is_served(url, timeout_s)) is not None:
            raise HopelessError(_NO_VIDEO.format(name, served)) from None
        if isinstance(error, av.error.ProtocolNotFoundError):
            raise HopelessError(
                f"{name} cannot be opened: the FFmpeg that PyAV brings reads no {url.partition(':')[0]} addresses; take rtsp, "
                "http, rtmp, udp or tcp, or gst: and a GStreamer pipeline"
            ) from None
        kind = HopelessError if hopeless else UserError
        raise kind(
            f"{name} cannot be opened ({why_broken(error, timeout_s)}): check the address and that it is on"
        ) from None
    if container.format.name == "tty":  # FFmpeg draws any text as terminals do
        container.close()
        raise HopelessError(_NO_VIDEO.format(name, "text"))
    if not container.streams.video:
        is_empty_list = container.format.name == "hls" and not container.streams
        container.close()
        if first and is_http and (served := what_is_served(url, timeout_s)) is not None:
            raise HopelessError(_NO_VIDEO.format(name, served))
        if is_empty_list:
            raise UserError(f"{name} has no video yet: check that its encoder is on")
        raise HopelessError(f"{name} has no video in it: give the address of a camera's video stream")
    stream = best_stream(container.streams.video)
    if stream is None:
        container.close()
        raise HopelessError(f"{name} has no video that can be decoded here: set the camera to H.264 or MJPEG")
    return container, stream


def why_broken(error: Exception, timeout_s: float) -> str:
    """Why a connection failed, in a few words."""
    if isinstance(error, av.error.ExitError | TimeoutError):
        return f"no answer within {timeout_s:g} s"
    if isinstance(error, av.error.InvalidDataError):
        return "it sends no video"
    return getattr(error, "strerror", None) or "no answer"
