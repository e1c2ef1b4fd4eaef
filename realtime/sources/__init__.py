"""Where frames come from: cameras, network streams, video files, folders, the demo clip."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote

from common.errors import UserError
from common.files import expanded
from realtime.options import DecoderChoice, Options
from realtime.sources.address import check_address, is_address, looks_like_address, public_name
from realtime.sources.animation import WebpSource, is_moving_png, is_moving_webp
from realtime.sources.camera import CameraSource, is_camera
from realtime.sources.clip import ClipSource
from realtime.sources.clip_player import ClipPlayer
from realtime.sources.demo_clip import fetch_demo_clip
from realtime.sources.file import FileSource
from realtime.sources.folder import ImageSource, is_image
from realtime.sources.gstreamer import PipelineSource, check_pipeline, is_pipeline
from realtime.sources.playback import RealtimePlayback
from realtime.sources.source import FrameTimestamp, Source, State
from realtime.sources.turned import TurnedSource
from realtime.sources.url import UrlSource

_LOG = logging.getLogger(__name__)

_EMPTY = "--source is empty: give a camera number, a video file, an address or 'demo'"
_FILE_ADDRESS: Final = re.compile(r"file:(//localhost(?=/)|//)?", re.IGNORECASE)

__all__ = [
    "CameraSource",
    "ClipPlayer",
    "ClipSource",
    "FileSource",
    "FrameTimestamp",
    "ImageSource",
    "PipelineSource",
    "RealtimePlayback",
    "Source",
    "State",
    "TurnedSource",
    "UrlSource",
    "check_source",
    "is_live_source",
    "kind_of_source",
    "open_source",
    "open_source_of",
    "path_of_source",
]


def open_source(
    spec: str,
    live: bool = False,
    width: int | None = None,
    height: int | None = None,
    fps: float | None = None,
    retry_s: float | None = None,
    rotate: int = 0,
    mirror: bool = False,
    decoder: DecoderChoice = "cpu",
    loop: bool = False,
) -> Source:
    """Open the source that ``spec`` names. The caller closes it, best by a ``with`` block.

    ``spec`` is a camera's number ("0") or device ("/dev/video2", "/dev/v4l/by-id/..."), a camera on the CSI connector
    ("csi:0"), a GStreamer pipeline ("gst:videotestsrc"), an address ("rtsp://..."), a folder of images, a file (video or
    image) or "demo". ``live`` plays a file or folder in real time with frames dropped, as a
    camera would. ``width``, ``height`` (pixels) are wishes to a camera; ``fps`` too, and the rate that a folder's images or a
    slow-motion video were taken at. A camera or stream that breaks off, and a stream that is not there yet, is tried for
    ``retry_s`` seconds, None: until it is closed. Frames are turned clockwise by ``rotate`` degrees (90, 180, 270), then
    mirrored. ``decoder`` is what decodes files and streams. ``loop`` plays files and folders again and again.

    Raises UserError.
    """
    spec = _trimmed(spec)
    source = _choose(spec, live, width, height, fps, retry_s, decoder, loop)
    changes_size = isinstance(source, CameraSource) or spec.startswith("csi:")
    if rotate or mirror:
        source = TurnedSource(source, rotate, mirror)
    source.open()
    if (width is not None or height is not None) and not changes_size:
        _LOG.warning(f"{source.name} keeps its size of {source.size[0]}x{source.size[1]}: only cameras change it")
    return source


def open_source_of(options: Options) -> Source:
    """`open_source` with what ``options`` say of the source. Raises UserError."""
    width, height = options.camera_size()
    return open_source(
        options.source,
        options.live,
        width,
        height,
        options.fps,
        options.retry,
        options.rotate,
        options.mirror,
        options.decoder,
        options.loop,
    )


def is_live_source(options: Options) -> bool:
    """Whether the source goes on by itself, so that frames are lost when they are not taken in time; opens nothing."""
    return options.live or kind_of_source(options.source) in ("camera", "pipeline", "address")


def kind_of_source(spec: str) -> Literal["camera", "pipeline", "address", "video", "images"]:
    """What ``spec`` names; opens nothing. A file that is not there counts as a video, a moving image as images."""
    spec = _trimmed(spec)
    if is_pipeline(spec):
        return "pipeline"
    if spec.isdecimal() or is_camera(spec):
        return "camera"
    if is_address(spec):
        return "address"
    if spec in ("", "demo"):
        return "video"
    path = _path(spec)
    return "images" if path.is_dir() or is_image(path) else "video"


def check_source(spec: str) -> None:
    """Refuse the name of a file or folder that is not there, before work begins that takes long.

    Cameras and addresses are asked when they are opened. Raises UserError.
    """
    spec = _trimmed(spec)
    if is_pipeline(spec):
        check_pipeline(spec)
        return
    if not spec:
        raise UserError(_EMPTY)
    if is_address(spec):
        check_address(spec)
        return
    if spec == "demo" or spec.isdecimal() or is_camera(spec):
        return
    if not os.path.exists(_path(spec)):
        _choose_clip(spec, None, "cpu").open()


def path_of_source(spec: str) -> Path | None:
    """The file or folder that ``spec`` names, whether it is there or not; None for cameras, addresses and the demo clip."""
    is_clip = _trimmed(spec) not in ("", "demo") and kind_of_source(spec) in ("video", "images")
    return _path(_trimmed(spec)) if is_clip else None


def _trimmed(spec: str) -> str:
    """``spec`` without white space around it, unless that belongs to a file's name."""
    return spec if spec.strip() and os.path.lexists(spec) else spec.strip()


def _path(spec: str) -> Path:
    """The path of ``spec``, which may also be written as file:/path or file:///path, percent-escaped or just as it is."""
    address = _FILE_ADDRESS.match(spec)
    if address is None or os.path.lexists(spec):
        return expanded(spec)
    typed = spec[address.end() :]
    if not typed:
        raise UserError(_EMPTY)
    escaped = expanded(unquote(re.split(r"[?#]", typed, maxsplit=1)[0]))
    as_typed = expanded(typed)
    return as_typed if os.path.lexists(as_typed) and not os.path.lexists(escaped) else escaped


def _choose(
    spec: str,
    live: bool,
    width: int | None,
    height: int | None,
    fps: float | None,
    retry_s: float | None,
    decoder: DecoderChoice,
    loop: bool,
) -> Source:
    if not spec:
        raise UserError(_EMPTY)
    if is_pipeline(spec):
        return PipelineSource(spec, width, height, fps, retry_s)
    if spec.isdecimal():
        return CameraSource(int(spec), width, height, fps, retry_s)
    if is_camera(spec):
        return CameraSource(os.path.expanduser(spec), width, height, fps, retry_s)
    if is_address(spec):
        return UrlSource(spec, retry_s=retry_s, fps=fps, decoder=decoder)
    clip = ClipPlayer(lambda: _choose_clip(spec, fps, decoder), loop)
    return RealtimePlayback(clip) if live else clip


def _choose_clip(spec: str, fps: float | None, decoder: DecoderChoice) -> ClipSource:
    if spec == "demo":
        return FileSource(fetch_demo_clip(), fps, decoder=decoder)
    path = _path(spec)
    is_folder, is_file = os.path.isdir(path), os.path.isfile(path)
    if not is_folder and not is_file and looks_like_address(spec):
        raise UserError(f"{public_name(spec)} is neither a file nor an address: write addresses as rtsp://host/path")
    if is_file and is_moving_webp(path):
        return WebpSource(path, fps)
    if is_folder or (is_file and is_image(path) and not is_moving_png(path)):
        return ImageSource(path, fps)
    return FileSource(path, fps, decoder=decoder)
