"""Still images as OpenCV reads them, without the lines that it writes to the terminal itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from common.arrays import ImageArray
from common.files import opened_by_name

_PAGED: Final = frozenset({".tif", ".tiff"})
_JPEG: Final = b"\xff\xd8"
_SCAN: Final = 0xDA
_END: Final = b"\xff\xd9"


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV writes warnings of its own about what cannot be opened; the user gets one line from us instead."""
    log = cv2.utils.logging
    level = log.getLogLevel()
    log.setLogLevel(log.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        log.setLogLevel(level)


def pages_of(path: Path) -> int:
    """How many images are in the file; more than one in a TIFF alone."""
    if path.suffix.lower() not in _PAGED:
        return 1
    try:
        with quiet_opencv(), opened_by_name(path) as name:
            return max(1, cv2.imcount(name))
    except (cv2.error, OSError):
        return 1


def read_image(path: Path, page: int = 0) -> ImageArray | None:
    """Image ``page`` of a file, uint8 (h, w, 3) BGR, upright as its EXIF data say; None where it cannot be read."""
    try:
        with quiet_opencv(), opened_by_name(path) as name:
            # OpenCV 5 reads turned TIFFs this way only.
            if path.suffix.lower() in _PAGED:
                _, images = cv2.imreadmulti(name, page, 1, flags=cv2.IMREAD_COLOR)
                image = images[0] if images else None
            else:
                image = cv2.imread(name, cv2.IMREAD_COLOR)
    except (cv2.error, OSError):  # the first: a header with an absurd size
        return None
    return None if image is None else np.asarray(image, np.uint8)


def why_unreadable(path: Path) -> str:
    """Why `read_image` cannot read the file, in words that follow its name."""
    with suppress(OSError):
        if not path.stat().st_size:
            return "is empty"
    with suppress(cv2.error, OSError), quiet_opencv(), opened_by_name(path) as name:
        image = cv2.imread(name, cv2.IMREAD_UNCHANGED)
        if image is not None and image.itemsize > 2:
            return f"has {8 * image.itemsize} bits a colour: convert it to 8 or 16"
    return "is damaged, no image, or of more than 67 million pixels"


def is_cut_short(path: Path) -> bool:
    """Whether the file is a JPEG whose end is missing, which is read nevertheless, grey from there on."""
    try:
        data = path.read_bytes()
    except OSError:
        return False
    if not data.startswith(_JPEG):
        return False
    at = len(_JPEG)  # over what stands before the image, such as a thumbnail with an end of its own
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(_END, at) < 0
