"""Where pictures come from: cameras, network streams, video files, folders, the demo clip."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from realtime.sources.camera import CameraSource
from realtime.sources.clip import ClipSource
from realtime.sources.demo_clip import fetch_demo_clip
from realtime.sources.file import FileSource
from realtime.sources.folder import PictureSource, is_picture
from realtime.sources.playback import RealtimePlayback
from realtime.sources.source import FrameTimestamp, Source
from realtime.sources.url import UrlSource

_LOG = logging.getLogger(__name__)

__all__ = [
    "CameraSource",
    "ClipSource",
    "FileSource",
    "FrameTimestamp",
    "PictureSource",
    "RealtimePlayback",
    "Source",
    "UrlSource",
    "open_source",
]


def open_source(
    spec: str,
    live: bool = False,
    width: int | None = None,
    height: int | None = None,
    fps: float | None = None,
) -> Source:
    """Open the source that ``spec`` names. The caller closes it; ``with open_source(...) as source`` does.

    ``spec`` is a camera's number ("0") or device path ("/dev/video2"), an address ("rtsp://..."), a folder of pictures, a
    file (video or picture) or "demo". ``live`` plays a file or folder in real time with pictures dropped, as a camera
    would. ``width``, ``height`` (pixels) are wishes to a camera; ``fps`` too, and the rate of a folder's pictures.

    Raises UserError.
    """
    source = _choose(spec.strip(), live, width, height, fps)
    source.open()
    if (width is not None or height is not None) and not isinstance(source, CameraSource):
        _LOG.warning(f"{source.name} keeps its size of {source.size[0]}x{source.size[1]}: only cameras change it")
    return source


def _choose(spec: str, live: bool, width: int | None, height: int | None, fps: float | None) -> Source:
    if spec.isdecimal():
        return CameraSource(int(spec), width, height, fps)
    if re.fullmatch(r"/dev/video\d+", spec):
        return CameraSource(spec, width, height, fps)
    if "://" in spec and not spec.lower().startswith("file://"):
        return UrlSource(spec)
    clip = _choose_clip(spec, fps)
    return RealtimePlayback(clip) if live else clip


def _choose_clip(spec: str, fps: float | None) -> ClipSource:
    if spec == "demo":
        return FileSource(fetch_demo_clip())
    path = Path(unquote(urlsplit(spec).path) if "://" in spec else spec).expanduser()
    if path.is_dir() or (path.is_file() and is_picture(path)):
        return PictureSource(path, fps)
    return FileSource(path)
