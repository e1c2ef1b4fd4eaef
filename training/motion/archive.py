"""What can go wrong while a damaged ``.npz`` is read."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib
from typing import Final

ARCHIVE_ERRORS: Final[tuple[type[Exception], ...]] = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,  # encrypted entries; its child NotImplementedError: unknown compression
    MemoryError,  # a header that announces an absurd shape
    SyntaxError,
    tokenize.TokenError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""numpy reads a small Python expression from a zip entry, so that damage surfaces as almost anything."""
