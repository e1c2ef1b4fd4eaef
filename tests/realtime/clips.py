"""Small real videos for the tests."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from common.arrays import ImageArray

BASE = Fraction(1, 1000)


def numbered_image(index: int, width: int = 64, height: int = 48) -> ImageArray:
    """A frame that says its number (< 256) in eight bars in its lower half; its upper left quarter is blue."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = (255, 0, 0)
    for bit in range(8):
        if index >> bit & 1:
            image[height // 2 :, bit * width // 8 : (bit + 1) * width // 8] = 255
    return image


def number(image: ImageArray) -> int:
    """The number that `numbered_image` wrote."""
    height, width = image.shape[:2]
    bars = [int(image[height * 3 // 4, (2 * bit + 1) * width // 16, 1]) for bit in range(8)]
    return sum((bar > 127) << bit for bit, bar in enumerate(bars))


def blue_corner(image: ImageArray) -> str:
    """Which quarter is blue: "upper left", "upper right", ..."""
    height, width = image.shape[:2]
    for down, y in (("upper", height // 4), ("lower", height * 3 // 4)):
        for across, x in (("left", width // 4), ("right", width * 3 // 4)):
            blue, green, red = (int(value) for value in image[y, x])
            if blue > 200 and green < 60 and red < 60:
                return f"{down} {across}"
    return "none"


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """The same JPEG with EXIF data that say how the camera was held: 1 to 8."""
    tag = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00%c" % orientation + bytes(6)
    body = b"Exif\x00\x00" + tag
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


def write_video(
    path: Path,
    count: int = 10,
    *,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times_ms: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    rate: int = 30,
) -> Path:
    """A video of ``count`` numbered frames at 30 fps (``rate`` is what the file claims), or shown at ``times_ms``."""
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=rate, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        if times_ms is not None:
            stream.codec_context.time_base = BASE
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(numbered_image(index, *size), "bgr24").reformat(format=pixels)
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[index], BASE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """A tenth of a second of silence, without frames."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=8000)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def turn_video(path: Path, a: int, b: int, c: int, d: int) -> None:
    """Write a display matrix into an MP4 file, as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4
    at += 4 + (32 if data[at] else 20) + 16
    data[at : at + 36] = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
