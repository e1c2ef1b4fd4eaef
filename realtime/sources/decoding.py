"""Opening a video so that a GPU decodes it, where PyAV offers that and it works here."""

from __future__ import annotations

import logging
from functools import cache
from typing import Any, Final

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.container import InputContainer

from realtime.options import DecoderChoice

_LOG = logging.getLogger(__name__)

_KINDS: Final = ("cuda", "vaapi", "videotoolbox", "d3d11va")
"""Decoders by FFmpeg's names; the first that works is taken. Frames come back into ordinary memory by themselves."""


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
