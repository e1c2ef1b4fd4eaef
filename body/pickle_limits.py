"""Limits on what a pickle expands to: checks before and after it is loaded, so that a small file takes little memory.

A pickle need not be large to be expensive: a few bytes name a place far out in the unpickler's memo, announce a string of
gigabytes, or build lists of the same lists, which are small until somebody makes an array of them.
"""

from __future__ import annotations

import pickle
import pickletools
from collections.abc import Mapping
from typing import Final

import numpy as np

_LENGTH_BYTES: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_OPERATIONS: Final = {ord(operation.code): operation for operation in pickletools.opcodes}
_TWO_LINES: Final = ("GLOBAL", "INST")
_REFUSED: Final = frozenset({"EMPTY_SET", "FROZENSET", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"})
"""Nothing that is read holds sets, and an empty set takes 200 times the byte that makes it."""
_MEMO_BYTE: Final = 256
_FEW: Final = 100_000


class RefusedPickle(pickle.UnpicklingError):
    """A pickle asks for something that no file of arrays needs."""


def check_opcodes(content: bytes) -> None:
    """Raise `RefusedPickle` where loading ``content`` would take memory out of proportion, ValueError where it is cut short.

    Reads the operations alone; their arguments are not decoded, so large arrays cost nothing.
    """
    at = count = 0
    while at < len(content):
        operation = _OPERATIONS.get(content[at])
        if operation is None:
            return  # the unpickler says what is wrong
        name, argument, at, count = operation.name, operation.arg, at + 1, count + 1
        if name in _REFUSED:
            raise RefusedPickle(f"it uses {name}")
        begin = at
        if argument is not None:
            for _ in range(2 if name in _TWO_LINES else 1):
                at = _after(content, at, argument.n)
        if name in ("PUT", "LONG_BINPUT"):
            given = content[begin:at]
            place = int(given) if name == "PUT" else int.from_bytes(given, "little")
            if not 0 <= place <= _MEMO_BYTE + count:
                raise RefusedPickle("it counts its objects wrongly")
        if name == "STOP":
            return
    raise ValueError("it is cut short")


def _after(content: bytes, at: int, size: int) -> int:
    """Where an argument ends that begins ``at``; ``size`` is a number of bytes, or one of pickletools' constants."""
    if size == pickletools.UP_TO_NEWLINE:
        end = content.find(b"\n", at) + 1
        if end == 0:
            raise ValueError("it is cut short")
        return end
    if size in _LENGTH_BYTES:
        head = _LENGTH_BYTES[size]
        size = head + int.from_bytes(content[at : at + head], "little")
    if at + size > len(content):
        raise ValueError("it is cut short")
    return at + size


def check_expansion(value: object, content_bytes: int, inside: type) -> None:
    """Raise `RefusedPickle` where ``value``, loaded from so many bytes, has more parts than a file of that size can name.

    Lists that hold themselves, or the same list again and again, are counted as often as a traversal meets them. Objects of
    the class ``inside`` have a mapping ``state``, which is looked into once.
    """
    most = max(_FEW, content_bytes)
    waiting: list[object] = [value]
    known: set[int] = set()
    met = 0
    while waiting:
        part = waiting.pop()
        met += 1
        if isinstance(part, inside):
            if id(part) in known:
                continue
            known.add(id(part))
            part = part.state  # type: ignore[attr-defined]
        if isinstance(part, Mapping):
            waiting.extend(part.keys())
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)
        elif isinstance(part, np.ndarray):
            if part.dtype.hasobject:
                waiting.extend(part.ravel().tolist())
            elif part.size and not part.dtype.itemsize:
                raise RefusedPickle("it holds arrays of nothing")
        if met + len(waiting) > most:
            raise RefusedPickle("it holds the same things over and over")
