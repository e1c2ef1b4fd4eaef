"""Pickles as Python 2 wrote them: data sets of 2018 are such files."""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any, ClassVar


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Protocol 2, in which text and the bytes of arrays are Python 2's ``str``."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def python2_pickle(value: Any) -> bytes:
    """The bytes of a pickle of dictionaries, lists, text and arrays."""
    stream = io.BytesIO()
    _Python2Pickler(stream, 2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")
