"""An X screen without a monitor (Xvfb): what is on it, and a keyboard and a mouse for it, by Xlib's own functions."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from common.arrays import ImageArray

SIZE: Final = (1280, 800)
PATIENCE_S: Final = 60.0
_LEFT, _WHEEL_UP, _WHEEL_DOWN = 1, 4, 5


def has_screen() -> bool:
    """Whether such a screen can be had here."""
    libraries = (ctypes.util.find_library(name) for name in ("X11", "Xtst"))
    return sys.platform.startswith("linux") and shutil.which("Xvfb") is not None and all(libraries)


def soon(condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first true answer of ``condition``, or its last one once ``patience_s`` seconds are over."""
    end = time.monotonic() + patience_s
    while not (answer := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return answer


class _ClientMessage(ctypes.Structure):
    """XClientMessageEvent, long enough for an XEvent."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("rest", ctypes.c_long * 24),
    )


class Screen:
    """Xvfb, its keyboard and mouse. Use it as a context manager. No window manager runs: windows lie at (0, 0)."""

    def __enter__(self) -> Screen:
        self._folder = tempfile.TemporaryDirectory()
        read, write = os.pipe()
        size = "x".join(map(str, SIZE))
        command = ["Xvfb", "-displayfd", str(write), "-screen", "0", f"{size}x24", "-fbdir", self._folder.name]
        self._server = subprocess.Popen(command, pass_fds=[write], stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as answer:
            self.name = f":{answer.readline().strip()}"
        x11, self._xtest = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libXtst.so.6")
        self._x11: Any = x11
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XStringToKeysym.restype = x11.XInternAtom.restype = x11.XDefaultRootWindow.restype = ctypes.c_ulong
        display = x11.XOpenDisplay(self.name.encode())
        if not display:
            raise RuntimeError(f"Xvfb did not start: no display {self.name}")
        self._display = ctypes.c_void_p(display)
        self.point(SIZE[0] // 4, SIZE[1] // 4)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._x11.XCloseDisplay(self._display)
        self._server.terminate()
        self._server.wait(PATIENCE_S)
        self._folder.cleanup()

    def image(self) -> ImageArray:
        """What is on the screen: uint8 (H, W, 3) BGR."""
        # https://www.x.org/releases/X11R7.7/doc/man/man1/Xvfb.1.xhtml: the frame buffer as a file in xwd format
        raw = (Path(self._folder.name) / "Xvfb_screen0").read_bytes()
        header = np.frombuffer(raw, ">u4", 25)
        start, height, row, colours = int(header[0]), int(header[5]), int(header[12]), int(header[19])
        pixels = np.frombuffer(raw, np.uint8, height * row, start + 12 * colours).reshape(height, row // 4, 4)
        return np.ascontiguousarray(pixels[: SIZE[1], : SIZE[0], :3])

    def press(self, key: str) -> None:
        """Press and release a key, by its X name: a, 1, space, Left."""
        code = self._x11.XKeysymToKeycode(self._display, ctypes.c_ulong(self._x11.XStringToKeysym(key.encode())))
        if not code:
            raise ValueError(f"no key is called {key!r}")
        for down in (1, 0):
            self._xtest.XTestFakeKeyEvent(self._display, ctypes.c_uint(code), down, ctypes.c_ulong(0))
            self._x11.XSync(self._display, 0)
            time.sleep(0.03)

    def point(self, x: int, y: int) -> None:
        """Move the mouse to pixel (x, y)."""
        self._xtest.XTestFakeMotionEvent(self._display, -1, x, y, ctypes.c_ulong(0))
        self._x11.XSync(self._display, 0)

    def drag(self, start: tuple[int, int], end: tuple[int, int], steps: int = 12) -> None:
        """Drag with the left button from pixel to pixel."""
        self.point(*start)
        self._button(_LEFT, True)
        for part in np.linspace(0, 1, steps).tolist():
            self.point(*(round(a + part * (b - a)) for a, b in zip(start, end, strict=True)))
            time.sleep(0.03)
        self._button(_LEFT, False)

    def wheel(self, notches: int) -> None:
        """Turn the wheel: up for a positive number."""
        for _ in range(abs(notches)):
            for down in (True, False):
                self._button(_WHEEL_UP if notches > 0 else _WHEEL_DOWN, down)

    def _button(self, number: int, down: bool) -> None:
        self._xtest.XTestFakeButtonEvent(self._display, number, int(down), ctypes.c_ulong(0))
        self._x11.XSync(self._display, 0)
        time.sleep(0.03)

    def windows(self) -> dict[str, int]:
        """The windows that are on the screen and have a title, with their numbers."""
        root, parent = ctypes.c_ulong(), ctypes.c_ulong()
        children, count = ctypes.POINTER(ctypes.c_ulong)(), ctypes.c_uint()
        self._x11.XQueryTree(
            self._display,
            ctypes.c_ulong(self._x11.XDefaultRootWindow(self._display)),
            ctypes.byref(root),
            ctypes.byref(parent),
            ctypes.byref(children),
            ctypes.byref(count),
        )
        found = {}
        for number in children[: count.value]:
            name = ctypes.c_char_p()
            if self._x11.XFetchName(self._display, ctypes.c_ulong(number), ctypes.byref(name)) and name.value:
                found[name.value.decode()] = int(number)
        return found

    def close_window(self, number: int) -> None:
        """Ask a window to close, as the button in its title bar does."""
        protocols, wish = (
            self._x11.XInternAtom(self._display, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")
        )
        event = _ClientMessage(type=33, window=number, message_type=protocols, format=32)
        event.data[0] = wish
        self._x11.XSendEvent(self._display, ctypes.c_ulong(number), 0, ctypes.c_long(0), ctypes.byref(event))
        self._x11.XSync(self._display, 0)
