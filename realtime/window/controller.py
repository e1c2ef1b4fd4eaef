"""A window on the screen for the pipeline: publishes results to the window's process and receives its keys."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Final

import numpy as np

from common.arrays import FloatArray
from common.camera import Camera
from common.errors import UserError
from realtime.draw.flow_field import paint_flow
from realtime.draw.mannequin import Mannequin
from realtime.draw.painter import Figures
from realtime.records import Keypoints, Result
from realtime.window.process import FAILED, LAYOUT, READY, run
from realtime.window.shared_memory import Layout, SceneBody, SceneMemory
from realtime.window.view_state import HELP

OPEN_TIMEOUT_S: Final = 120.0
"""Importing Open3D takes 2 to 4 s on a desktop; a cold disk on a small device can take far longer."""
CLOSE_TIMEOUT_S: Final = 5.0


class MeshWindow:
    """A window that shows the video with the bodies on it, or (key ``v``) the bodies alone, to look at from all sides.

    The window lives in a process of its own and takes the newest result when it is ready for one: ``show`` never waits
    for it. A window that is closed, crashes or is killed only sets ``closed``; the pipeline goes on.

    Use it as a context manager, or call ``close``. The program's main module must be importable
    without side effects (``if __name__ == "__main__"``), as for every process that Python spawns.
    """

    def __init__(
        self,
        mannequin: Mannequin,
        image_size: tuple[int, int],
        camera: Camera | None = None,
        *,
        wire: Mannequin | None = None,
        vertices: int | None = None,
        title: str = "motionmesh",
        keys: tuple[str, ...] = HELP,
        target: Callable[..., None] = run,
    ) -> None:
        """Start the process and wait until its window is on the screen.

        ``mannequin``: how bodies look, and ``wire``: as lines (all of them by default). ``image_size`` (width, height) of the
        frames in pixels, ``camera`` in these pixels (only until the first result brings its own), ``vertices`` of a body (by
        default as many as the faces name), ``keys`` the lines of its help. ``target`` is the process's main function: another
        one is for tests. Raises ``UserError``, one line that says what is missing, when there can be no window.
        """
        self._mannequin = mannequin
        looks = mannequin, wire or replace(mannequin, edges=np.ones(mannequin.faces.shape, np.uint8))
        count = int(mannequin.faces.max()) + 1 if vertices is None else vertices
        self._layout = layout = Layout(count, image_size[1], image_size[0])
        self._memory = _memory(layout)
        width, height = image_size
        self._camera = camera or Camera(1.2 * height, 1.2 * height, (width - 1) / 2, (height - 1) / 2)
        context = multiprocessing.get_context("spawn")
        self._showing = threading.Lock()
        self._wake = context.Semaphore(0)  # not an Event: the lock inside one could be held by a process that is killed
        self._link, theirs = context.Pipe()
        self._process = context.Process(
            target=target,
            args=(self._memory.name, layout, looks, title, self._wake, theirs, keys),
            name="window",
            daemon=True,
        )
        # Also runs when the program ends without close(), and then still removes the shared memory.
        self._finish = weakref.finalize(self, _release, self._process, self._link, self._memory)
        self._process.start()
        theirs.close()  # the process then has the only other end: its death, of any kind, reads as end-of-file
        self._listener = _Listener(self._link)
        self._listener.start()
        self._open()

    def _open(self) -> None:
        """Wait until the window is on the screen. Raises ``UserError``, with one line that says what is missing."""
        self._listener.opened.wait(OPEN_TIMEOUT_S)
        failure = self._listener.failure
        if self._listener.ready and failure is None:
            return
        if failure is None and not self.closed:
            failure = f"the window did not open within {OPEN_TIMEOUT_S:.0f} s: use --view none"
        self.close()
        code = self._process.exitcode
        raise UserError(failure or f"the window's process ended at once (exit code {code}): use --view none")

    def show(
        self,
        result: Result,
        figures: Figures | str | None = None,
        state: str = "",
        details: str = "",
        *,
        flow: bool = False,
        again: bool = False,
    ) -> bool:
        """Publish a result: its image, people, the line of ``figures``, lines about the ``state`` of the run and ``details``
        of its stages. Newest wins.

        ``flow`` paints the optical flow over the image; ``again``: the image has been shown before, so that its age says
        nothing. Returns False, and does nothing, once the window is closed. Raises ``ValueError`` for an image or bodies of
        another size than the window was made for.
        """
        if self.closed:
            return False
        image = result.frame.image
        if flow and result.flows:
            image = image.copy()
            paint_flow(image, result.flows)
        bodies = [
            SceneBody(body.person, body.joints, body.vertices, _with_confidence(body.keypoints))
            for body in self._mannequin.dress(result.people)
        ]
        captured_ns = 0 if again else result.frame.captured_ns
        world = None if result.world is None else result.world.world_from_camera
        text = "" if figures is None else str(figures)
        self._write(image, result.camera, bodies, text, state, details, captured_ns, world)
        return True

    def show_state(self, state: str) -> None:
        """Show lines about the ``state`` of the run on an empty image: before the first result."""
        if not self.closed:
            image = np.full((self._layout.height, self._layout.width, 3), 26, np.uint8)
            self._write(image, self._camera, [], "", state)

    def fit(self, image_size: tuple[int, int], camera: Camera) -> None:
        """Make the window anew for images of another size, (width, height) pixels. Raises ``UserError`` as the constructor."""
        self._camera = camera
        if self.closed or image_size == (self._layout.width, self._layout.height):
            return
        layout = replace(self._layout, width=image_size[0], height=image_size[1])
        with self._showing:
            old, self._memory = self._memory, _memory(layout)
            self._layout = layout
            self._finish.detach()
            self._finish = weakref.finalize(self, _release, self._process, self._link, self._memory)
            with contextlib.suppress(OSError):
                self._link.send((LAYOUT, (self._memory.name, layout)))
            old.close()

    def _write(self, *scene: Any) -> None:
        with self._showing:
            self._memory.write(*scene)
        self._wake.release()

    @property
    def closed(self) -> bool:
        """True once the user closed the window, its process died, or ``close`` was called. Does not wait."""
        return self._listener.closed.is_set()

    @property
    def crashed(self) -> bool:
        """Whether the window's process died, rather than being closed by the user or by `close`."""
        if not self.closed or self._listener.closing:
            return False
        self._process.join(1.0)  # it has closed its end of the link
        return self._process.exitcode != 0

    def events(self) -> Iterator[str]:
        """Commands since the last call, oldest first, without waiting: "q" quit (also when the window went away by
        itself), "space" pause, "r" record, "s" snapshot, "f" flow, "left" and "right" seek. One thread may ask."""
        for _ in range(self._listener.commands.qsize()):
            yield self._listener.commands.get()

    def close(self) -> None:
        """Close the window, end its process and remove the shared memory. May be called twice."""
        self._listener.closing = True
        self._listener.closed.set()
        self._finish()
        self._listener.join(CLOSE_TIMEOUT_S)

    def __enter__(self) -> MeshWindow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Listener(threading.Thread):
    """Receives what the window's process sends; blocks until there is something."""

    def __init__(self, link: Connection) -> None:
        super().__init__(name="window-listener", daemon=True)
        self._link = link
        self.commands: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.opened = threading.Event()
        self.closed = threading.Event()
        self.closing = False
        self.ready = False
        self.failure: str | None = None

    def run(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                kind, text = self._link.recv()
                if kind == READY:
                    self.ready = True
                    self.opened.set()
                elif kind == FAILED:
                    self.failure = text
                else:
                    self.commands.put(text)
        self.closed.set()
        self.opened.set()
        if self.ready and not self.closing:
            self.commands.put("q")


def _release(process: SpawnProcess, link: Connection, memory: SceneMemory) -> None:
    """End the process, by a request first, then by signals, and remove the memory."""
    if process.is_alive():
        with contextlib.suppress(OSError):
            link.send(("close", None))
        process.join(CLOSE_TIMEOUT_S)
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            process.join(CLOSE_TIMEOUT_S)
    memory.close()


def _memory(layout: Layout) -> SceneMemory:
    try:
        return SceneMemory(layout)
    except OSError as error:
        raise UserError(f"no shared memory for the window ({error}): enlarge /dev/shm, or use --view none") from error


def _with_confidence(keypoints: Keypoints) -> FloatArray:
    return np.concatenate([keypoints.points, keypoints.confidence[:, None]], 1)
