"""The cameras of a Linux machine and what they can deliver, asked of the Video4Linux driver itself."""

from __future__ import annotations

import os
import re
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

Ioctl = Callable[[int, int, bytearray], object]
"""As ``fcntl.ioctl``: descriptor, request and a buffer that the driver fills. Raises OSError at the end of a list."""

# linux/videodev2.h: the requests, with the size of the structure that each of them fills.
_QUERY_CAPABILITIES: Final = 0x80685600, 104
_ENUMERATE_FORMATS: Final = 0xC0405602, 64
_ENUMERATE_SIZES: Final = 0xC02C564A, 44
_ENUMERATE_INTERVALS: Final = 0xC034564B, 52
_HAS_DEVICE_CAPABILITIES: Final = 0x80000000
_CAN_CAPTURE: Final = 0x1 | 0x1000  # in one or in several planes
_BUFFER_CAPTURE: Final = 1
_DISCRETE: Final = 1
_BAYER: Final = re.compile(r"BA81|BYR2|G[BR]BG|GRBG|RGGB|[BGR][AGBR](10|12|14|16)|[pab][BGgR](AA|CC|EE|A8)|ip3[bgGr]")
"""Raw pixels of a sensor, linux/videodev2.h: what a camera on the CSI connector delivers, and no webcam."""
_MAX_ENTRIES: Final = 200  # entries of one list: a broken driver must not keep the program


@dataclass(frozen=True, slots=True)
class CameraMode:
    """One pixel format and image size of a camera."""

    pixel_format: str
    """Four letters such as "MJPG" or "YUYV"."""
    width: int
    """Width of the image, pixels."""
    height: int
    """Height of the image, pixels."""
    rates: tuple[float, ...]
    """Frames/s that it offers at this size, greatest first. Empty where the driver does not tell."""


@dataclass(frozen=True, slots=True)
class CameraDevice:
    """A camera of this machine."""

    path: str
    """Such as "/dev/video0". May be another one after the next start of the machine."""
    name: str
    """What the driver calls it. Empty where that is not known."""
    links: tuple[str, ...] = ()
    """Names below /dev/v4l/by-id, which stay the same."""
    modes: tuple[CameraMode, ...] = field(default=())
    """What it delivers. Empty where the driver does not tell."""
    problem: str = ""
    """Why it could not be asked. Empty where it could."""


def list_cameras(folder: Path = Path("/dev"), ioctl: Ioctl | None = None) -> list[CameraDevice]:
    """All cameras, by number. Devices that capture no images, such as a camera's metadata, are left out."""
    if ioctl is None:
        try:
            from fcntl import ioctl as system_ioctl
        except ImportError:  # no Unix
            return []
        ioctl = system_ioctl
    links: dict[Path, list[str]] = {}
    for link in sorted(folder.glob("v4l/by-id/*")):
        links.setdefault(link.resolve(), []).append(str(link))
    paths = [path for path in folder.glob("video*") if path.name[5:].isdecimal()]
    found = []
    for path in sorted(paths, key=lambda path: int(path.name[5:])):
        name = ""
        with suppress(OSError):
            name = Path("/sys/class/video4linux", path.name, "name").read_text().strip()
        known = tuple(links.get(path.resolve(), ()))
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            found.append(CameraDevice(str(path), name, known, problem=f"cannot be opened ({error.strerror})"))
            continue
        try:
            card, can_capture = _capabilities(ioctl, descriptor)
            if can_capture:
                found.append(CameraDevice(str(path), card or name, known, tuple(_modes(ioctl, descriptor))))
        except OSError as error:
            found.append(CameraDevice(str(path), name, known, problem=f"does not answer ({error.strerror})"))
        finally:
            os.close(descriptor)
    return found


def raw_format(path: str, ioctl: Ioctl | None = None) -> str:
    """The pixel format of a camera that delivers nothing but a sensor's raw Bayer data, such as "RG10"; else empty."""
    if ioctl is None:
        try:
            from fcntl import ioctl as system_ioctl
        except ImportError:  # no Unix
            return ""
        ioctl = system_ioctl
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        formats = [
            struct.pack("<I", struct.unpack_from("<I", entry, 44)[0]).decode("ascii", "replace").strip()
            for entry in _enumerate(ioctl, descriptor, _ENUMERATE_FORMATS, "<I", _BUFFER_CAPTURE)
        ]
    finally:
        os.close(descriptor)
    return _raw(formats)


def _raw(formats: list[str]) -> str:
    return formats[0] if formats and all(_BAYER.fullmatch(each) for each in formats) else ""


def describe_cameras(cameras: list[CameraDevice] | None = None) -> str:
    """What `list_cameras` found, as lines for the user; one that says so where there is none."""
    if cameras is None:
        if not sys.platform.startswith("linux"):
            return "cameras are listed on Linux only: try --source 0, --source 1 and so on"
        cameras = list_cameras()
    if not cameras:
        return "there is no camera (/dev/video*) on this machine: plug one in, or try --source demo"
    lines = []
    on_csi = 0
    for camera in cameras:
        number = re.sub(r"\D", "", Path(camera.path).name)
        lines.append(f"{number}  {camera.name or 'camera without a name'}  {camera.path}")
        lines += [f"   {link}" for link in camera.links]
        if camera.problem:
            lines.append(f"   {camera.problem}")
        if _raw([mode.pixel_format for mode in camera.modes]):
            lines.append(f"   raw Bayer data of a CSI camera: --source csi:{on_csi}")
            on_csi += 1
        for mode in camera.modes:
            rates = ", ".join(f"{rate:g}" for rate in mode.rates)
            lines.append(
                f"   {mode.pixel_format}  {mode.width}x{mode.height}" + (f"  {rates} frames/s" if rates else "")
            )
    return "\n".join(lines)


def _capabilities(ioctl: Ioctl, descriptor: int) -> tuple[str, bool]:
    """The name of the card, and whether this device captures images."""
    request, size = _QUERY_CAPABILITIES
    buffer = bytearray(size)
    ioctl(descriptor, request, buffer)
    _, card, _, _, card_flags, device_flags = struct.unpack_from("<16s32s32sIII", buffer)
    flags = device_flags if card_flags & _HAS_DEVICE_CAPABILITIES else card_flags
    return card.split(b"\0")[0].decode("utf-8", "replace"), bool(flags & _CAN_CAPTURE)


def _modes(ioctl: Ioctl, descriptor: int) -> Iterator[CameraMode]:
    for entry in _enumerate(ioctl, descriptor, _ENUMERATE_FORMATS, "<I", _BUFFER_CAPTURE):
        code = struct.unpack_from("<I", entry, 44)[0]
        letters = struct.pack("<I", code).decode("ascii", "replace").strip()
        for size in _enumerate(ioctl, descriptor, _ENUMERATE_SIZES, "<I", code):
            kind, *numbers = struct.unpack_from("<7I", size, 8)
            # Stepwise: least, greatest and step of the width, then of the height. The greatest is worth knowing.
            width, height = (numbers[0], numbers[1]) if kind == _DISCRETE else (numbers[1], numbers[4])
            rates = set()
            for interval in _enumerate(ioctl, descriptor, _ENUMERATE_INTERVALS, "<3I", code, width, height):
                _, numerator, denominator = struct.unpack_from("<3I", interval, 16)
                if numerator:  # of the shortest interval, where there is a range
                    rates.add(round(denominator / numerator, 2))
            yield CameraMode(letters, width, height, tuple(sorted(rates, reverse=True)))


def _enumerate(
    ioctl: Ioctl, descriptor: int, what: tuple[int, int], layout: str, *question: int
) -> Iterator[bytearray]:
    """The entries of one of the driver's lists; ``question`` stands behind the index in each structure."""
    request, size = what
    for index in range(_MAX_ENTRIES):
        buffer = bytearray(size)
        struct.pack_into("<I", buffer, 0, index)
        struct.pack_into(layout, buffer, 4, *question)
        try:
            ioctl(descriptor, request, buffer)
        except OSError:  # the driver ends every list with an error
            return
        yield buffer
