"""Opening a video, decoded by a GPU where PyAV offers that and it works here, and what its format says of times."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from typing import Any, Final

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from realtime.options import DecoderChoice

_LOG = logging.getLogger(__name__)

_KINDS: Final = ("cuda", "vaapi", "videotoolbox", "d3d11va")
"""Decoders by FFmpeg's names; the first that works is taken. Frames come back into ordinary memory by themselves."""
_CLOCKLESS: Final = re.compile(r"mpjpeg|image2.*|.*_pipe")
_RAW_TIME_BASE: Final = Fraction(1, 1_200_000)
"""Of all of FFmpeg's readers of bare codec data: .h264, .hevc, .mjpeg, .m2v, .obu."""


def open_video(address: str, decoder: DecoderChoice, name: str, **arguments: Any) -> InputContainer:
    """``av.open`` of ``address`` with ``arguments``, decoded as ``decoder`` says; ``name`` is for the user.

    Where no GPU decodes, that is logged, and the CPU does. Raises av.FFmpegError and OSError.
    """
    if decoder == "gpu":
        if kind := gpu_decoder():
            # What a GPU has no decoder for, such as an old codec, the CPU decodes.
            arguments["hwaccel"] = HWAccel(kind, allow_software_fallback=True)
        else:
            _LOG.warning(f"{name}: no GPU decodes video here (--decoder gpu): the CPU does")
    container: InputContainer = av.open(address, **arguments)
    return container


def best_stream(streams: Iterable[VideoStream]) -> VideoStream | None:
    """The stream to play of ``streams``: the largest that is more than one image (an animated AVIF has a still one beside its
    frames), no album cover, and has a decoder here; None where there is none."""
    # Streams that no decoder is built in for have no codec context, whatever its type says.
    known = [one for one in streams if getattr(one, "codec_context", None) is not None and not is_cover(one)]
    return max(known, key=lambda one: (one.frames != 1, one.width * one.height), default=None)


def is_cover(stream: VideoStream) -> bool:
    """Whether ``stream`` is the cover image of an album."""
    return bool(stream.disposition & Disposition.attached_pic)


def has_times(container: InputContainer, stream: VideoStream) -> bool:
    """Whether the format of ``container`` stores times; else FFmpeg invents 25 frames a second."""
    return _CLOCKLESS.fullmatch(container.format.name) is None and stream.time_base != _RAW_TIME_BASE


def coded_fps(stream: VideoStream) -> float | None:
    """The frame rate that the codec's own data say, None where they say none."""
    rate = stream.codec_context.framerate
    return float(rate) if rate and 0 < rate <= 1000 else None


def is_empty(packet: Packet[VideoStream]) -> bool:
    """Whether ``packet`` is one of no bytes, which repeats the frame before it (Theora); decoders take none. The packet
    that flushes a decoder has no bytes either, and no time."""
    return not packet.size and (packet.dts is not None or packet.pts is not None)


def duration_of(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds that the frames should last, None where the container's length may be that of its sound."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


@cache
def gpu_decoder() -> str:
    """FFmpeg's name of what decodes H.264 on a GPU here; empty where nothing does."""
    for kind in _KINDS:
        if kind not in hwdevices_available():
            continue
        try:
            HWAccel(kind).create(av.Codec("h264", "r"))
        except (av.FFmpegError, OSError, NotImplementedError, RuntimeError):
            continue  # no driver, or no such device
        return kind
    return ""
