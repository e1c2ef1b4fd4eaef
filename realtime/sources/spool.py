"""Video files that have to be read in another order than their server sends them, kept in a temporary file meanwhile.

An MP4 file written by a camera or phone has its index at the end; a server that cannot send parts of a file makes the reader
pass over all the frames to get there.
"""

from __future__ import annotations

import logging
import os
import tempfile
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Final

import av
from av.container import InputContainer

from common.errors import UserError
from common.files import reason_of
from realtime.sources.decoding import best_stream
from realtime.sources.served import ask, unpacked

_LOG = logging.getLogger(__name__)

_CHUNK: Final = 1 << 18
_LARGEST_BYTES: Final = 4 << 30


class Spool:
    """The whole of ``url``, readable and seekable: what is asked for is fetched first, into a file without a name.

    ``name`` is what messages call it, ``stop`` is asked between chunks. Use it as a context manager.
    """

    def __init__(self, url: str, name: str, timeout_s: float, stop: Callable[[], bool]) -> None:
        self._name, self._stop = name, stop
        try:
            self._answer = ask(url, timeout_s)
        except (OSError, ValueError) as error:
            raise UserError(f"{name} cannot be fetched ({type(error).__name__}): check the address") from None
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed by close()
        self._fetched = 0
        self._position = 0
        self._complete = False
        self.failure: UserError | None = None
        """Why the rest could not be kept."""
        self._data = unpacked(self._answer)
        length = self._answer.headers.get("Content-Length") or ""
        if length.isdecimal() and int(length) > _LARGEST_BYTES:
            self.close()
            raise UserError(f"{name} has its index at its end: copy the file to this machine and give its name")
        _LOG.info(f"{name} has its index at its end, and its server sends no parts: fetching all of it first")

    def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes, or fewer at the end."""
        end = self._position + size if size >= 0 else _LARGEST_BYTES
        self._fetch(end)
        self._file.seek(self._position)
        data = self._file.read(size)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, as files do."""
        if whence == os.SEEK_END:
            self._fetch(_LARGEST_BYTES)
            self._position = self._fetched + offset
        else:
            self._position = offset + (self._position if whence == os.SEEK_CUR else 0)
        return self._position

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._position

    def close(self) -> None:
        """End the connection and remove the file."""
        self._answer.close()
        self._file.close()

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _fetch(self, end: int) -> None:
        """Have everything before ``end`` in the file."""
        self._file.seek(0, os.SEEK_END)
        while self._fetched < end and not self._complete and not self._stop():
            try:
                data = self._data.read(_CHUNK)
            except (OSError, EOFError, HTTPException, zlib.error):
                _LOG.warning(f"{self._name}: the connection broke off, and the rest of the file is missing")
                data = b""
            if self._fetched + len(data) > _LARGEST_BYTES:
                raise OSError("too large")
            try:
                self._file.write(data)
            except OSError as error:
                folder = Path(tempfile.gettempdir())
                why = reason_of(error, folder / "x")
                self.failure = UserError(
                    f"{self._name} cannot be kept meanwhile ({why}): set $TMPDIR to another folder"
                )
                data = b""
            self._fetched += len(data)
            self._complete = not data


def open_spooled(spool: Spool, name: str) -> InputContainer:
    """The video in ``spool``. Raises UserError."""
    try:
        container = av.open(spool, "r", metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        if spool.failure is not None:
            raise spool.failure from None
        why = getattr(error, "strerror", None) or "damaged"
        raise UserError(f"{name} cannot be read as a video ({why}): check the address") from None
    if best_stream(container.streams.video) is None:
        container.close()
        raise UserError(f"{name} has no video in it that can be decoded: give another address")
    return container
