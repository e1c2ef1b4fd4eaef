"""Standard error of a program that goes on when nobody can be told: the reader has gone, or the disk of the log is full."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from typing_extensions import override


class _Lenient(io.TextIOBase):
    """Writes to ``inner``; when that fails, the program's standard error leads nowhere from then on."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner

    @property
    def encoding(self) -> str:  # type: ignore[override]  # read-only here
        return self._inner.encoding

    @override
    def write(self, text: str) -> int:
        try:
            return self._inner.write(text)
        except OSError:
            self._give_up()
            return len(text)

    @override
    def flush(self) -> None:
        try:
            self._inner.flush()
        except OSError:
            self._give_up()

    @override
    def isatty(self) -> bool:
        return self._inner.isatty()

    @override
    def fileno(self) -> int:
        return self._inner.fileno()

    def _give_up(self) -> None:
        """What could not be written is still in a buffer, which Python would try, and fail, to write at its end."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self._inner.fileno())
        except (OSError, ValueError):
            return  # no file, as in tests
        finally:
            os.close(nowhere)


@contextmanager
def lenient_stderr() -> Iterator[None]:
    """Within the block, what cannot be written to standard error is no error."""
    inner = sys.stderr
    if inner is None:  # closed before the program began
        yield
        return
    sys.stderr = _Lenient(inner)
    try:
        yield
    finally:
        sys.stderr = inner
