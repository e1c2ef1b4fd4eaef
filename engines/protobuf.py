"""Reads and writes protocol buffers without a package: the fields of one message after the other."""

from __future__ import annotations

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class MalformedError(ValueError):
    """The bytes are not a complete protocol buffer message."""


def text_field(message: memoryview, field: int) -> str:
    """The text in field number ``field``, empty where there is none. Raises UnicodeDecodeError and `MalformedError`."""
    for number, value in fields(message):
        if number == field and isinstance(value, memoryview):
            return bytes(value).decode()
    return ""


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of one message; nested messages and texts stay views of the same memory. Raises
    `MalformedError`."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, at = varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            size, at = varint(message, at)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise MalformedError
        if at + size > len(message):
            raise MalformedError
        yield number, message[at : at + size]
        at += size


def field_bytes(number: int, value: int | bytes | memoryview) -> bytes:
    """One field of a message: a number, or bytes such as a text or a nested message. Numbers of fixed size cannot be
    written."""
    if isinstance(value, int):
        return _varint_bytes(number << 3 | _VARINT) + _varint_bytes(value)
    return _varint_bytes(number << 3 | _BYTES) + _varint_bytes(len(value)) + bytes(value)


def _varint_bytes(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


def varint(message: memoryview, at: int) -> tuple[int, int]:
    """The number that begins at byte ``at``, and where the next one begins. Raises `MalformedError`."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(message):
            raise MalformedError
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MalformedError
