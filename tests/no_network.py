"""Runs a Python program that is killed (SIGSYS) the moment it opens an internet socket: python no_network.py PROGRAM ..."""

from __future__ import annotations

import ctypes
import os
import platform
import runpy
import struct
import sys

_SOCKET = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}  # audit's name of the machine, number of socket()
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_KILL, _ALLOW = 0x80000000, 0x7FFF0000
_FAMILIES = (2, 10)  # AF_INET, AF_INET6


def supported() -> bool:
    """Whether the kernel can be asked to do this here."""
    return sys.platform.startswith("linux") and platform.machine() in _SOCKET


def forbid_internet() -> None:
    """From here on, in all threads and children: a call of socket() for an internet address kills the process."""
    machine, number = _SOCKET[platform.machine()]
    steps = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, 5, machine),
        (_LOAD, 0, 0, 0),
        (_EQUAL, 0, 3, number),
        (_LOAD, 0, 0, 16),  # the first argument
        (_EQUAL, 2, 0, _FAMILIES[0]),
        (_EQUAL, 1, 0, _FAMILIES[1]),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = struct.pack("<HxxxxxxQ", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    keep = ctypes.create_string_buffer(program)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.addressof(keep), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp is not allowed here")


if __name__ == "__main__":
    forbid_internet()
    sys.argv = sys.argv[1:]
    sys.path[0] = os.path.dirname(sys.argv[0])
    runpy.run_path(sys.argv[0], run_name="__main__")
