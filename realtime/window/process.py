"""The window's own process: Open3D's loop, fed through shared memory.

Open3D holds Python's global lock while it draws and would starve the pipeline's threads, so it lives here, alone.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Final

import cv2

from common.files import cache_folder
from realtime.draw.mannequin import Mannequin
from realtime.window.shared_memory import Layout, SceneMemory
from realtime.window.view_state import HELP
from realtime.window.viewer import DEFAULT_SCREEN, Window

if TYPE_CHECKING:
    from multiprocessing.synchronize import Semaphore

READY: Final = "ready"
FAILED: Final = "failed"
LAYOUT: Final = "layout"

PAUSE_S: Final = 0.02
"""The loop handles mouse, keys and closing at least this often, with or without a new scene."""


def advice(error: BaseException) -> str:
    """One line that says why there is no window and what to do."""
    text = " ".join(str(error).split()) or type(error).__name__
    if "libusb" in text:
        return "Open3D cannot open a window (libusb-1.0.so.0 missing): apt install libusb-1.0-0, or use --view none"
    if isinstance(error, ModuleNotFoundError):
        return f"Open3D cannot open a window ({text}): pip install open3d, or use --view none"
    if ".so" in text and "cannot open shared object" in text:
        return (
            f"Open3D cannot open a window ({text}): install that library (apt install libgl1 libegl1 libx11-6 libgomp1),"
            " or use --view none"
        )
    return f"Open3D cannot open a window ({text}): use --view none"


def run(
    memory_name: str,
    layout: Layout,
    looks: tuple[Mannequin, Mannequin],
    title: str,
    wake: Semaphore,
    link: Connection,
    keys: tuple[str, ...] = HELP,
) -> None:
    """The process: open the window, show scenes until it or the ``link`` to the parent is closed.

    ``keys`` are the lines of its help. Sends ``(READY, "")`` or ``(FAILED, one line)`` first, then ``(COMMAND, name)`` for
    keys. ``wake`` is released by
    the parent for each scene in the memory called ``memory_name``. The parent may send ``(LAYOUT, (name, layout))``:
    scenes of another size follow, in another memory; any other message closes the window.
    """
    # Ctrl-C goes to all processes of the terminal; the parent decides when this one ends, so that it ends in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
    if hasattr(os, "nice"):
        os.nice(5)  # where the CPU draws, the pipeline has priority: the window can skip scenes, the pipeline cannot
    if not os.environ.get("XDG_RUNTIME_DIR"):
        # GLFW first looks there for Wayland's socket, and its library prints an error where it cannot look at all, as over
        # SSH or in a container, though the window then opens by X11. Here it looks, and finds none.
        os.environ["XDG_RUNTIME_DIR"] = str(cache_folder())
    try:
        screen = _find_display() if sys.platform.startswith("linux") else None
        window = Window(looks, layout, title, link, screen or DEFAULT_SCREEN, keys)
    except BaseException as error:
        link.send((FAILED, advice(error)))
        return
    memory = SceneMemory(layout, memory_name)
    try:
        link.send((READY, ""))
        while (change := _show(window, memory, wake, link)) is not None:
            memory_name, layout = change
            memory.close()
            memory = SceneMemory(layout, memory_name)
            window.close()
            window = Window(looks, layout, title, link, screen or DEFAULT_SCREEN, keys)
    except (BrokenPipeError, EOFError, ConnectionResetError):
        pass  # the parent is gone
    finally:
        memory.close()
        window.close()


def _find_display() -> tuple[int, int] | None:
    """Width and height of the screen, pixels, where they can be asked for.

    Raises ``RuntimeError`` where there is no screen: Open3D would draw all the same, where nobody can see it.
    """
    name = os.environ.get("DISPLAY")
    if not name:
        if os.environ.get("WAYLAND_DISPLAY"):
            return None
        raise RuntimeError("there is no display")
    x11 = ctypes.CDLL("libX11.so.6")
    x11.XOpenDisplay.restype = ctypes.c_void_p
    display = x11.XOpenDisplay(None)
    if not display:
        if os.environ.get("WAYLAND_DISPLAY"):
            return None
        raise RuntimeError(f"the display {name} does not answer")
    pointer = ctypes.c_void_p(display)
    size = int(x11.XDisplayWidth(pointer, 0)), int(x11.XDisplayHeight(pointer, 0))
    x11.XCloseDisplay(pointer)
    return size


def _show(window: Window, memory: SceneMemory, wake: Semaphore, link: Connection) -> tuple[str, Layout] | None:
    """Show scenes until the window or the link is closed: None, or until scenes of another size come: where they are."""
    seen = 0
    while window.alive():
        if wake.acquire(timeout=PAUSE_S):
            while wake.acquire(False):
                pass  # several scenes came while the last was drawn: only the newest is read
        if link.poll():
            kind, change = link.recv()
            return change if kind == LAYOUT else None
        scene = memory.read(seen)
        if scene is not None:
            seen = scene.number
            window.show(scene)
    return None
