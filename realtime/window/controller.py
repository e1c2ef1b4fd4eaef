"""A window on the screen for the pipeline: publishes results to the window's process and receives its keys."""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from common.camera import Camera
from common.errors import UserError
from realtime.draw.painter import Figures
from realtime.records import Result
from realtime.window.process import FAILED, READY, run
from realtime.window.shared_memory import Layout, SceneMemory

OPEN_TIMEOUT_S: Final = 60.0
"""Importing Open3D takes 2 to 4 s on a desktop; a cold disk on a small device can take far longer."""
CLOSE_TIMEOUT_S: Final = 3.0


class MeshWindow:
    """A window that shows the video with the bodies on it, or (key ``V``) the bodies alone, to look at from all sides.

    The window lives in a process of its own and takes the newest result when it is ready for one: ``show`` never waits
    for it. A window that is closed, crashes or is killed only sets ``closed``; the pipeline goes on.

    Use it as a context manager, or call ``close``. The program's main module must be importable
    without side effects (``if __name__ == "__main__"``), as for every process that Python spawns.
    """

    def __init__(
        self,
        faces: NDArray[np.integer[Any]],
        image_size: tuple[int, int],
        camera: Camera | None = None,
        *,
        vertices: int | None = None,
        title: str = "motionmesh",
        target: Callable[..., None] = run,
    ) -> None:
        """Start the process and wait until its window is on the screen.

        ``faces`` (F, 3) of the bodies, ``image_size`` (width, height) of the frames in pixels, ``camera`` in these
        pixels (only until the first result brings its own), ``vertices`` of a body (by default as many as the faces
        name). ``target`` is the process's main function: another one is for
        tests. Raises ``UserError``, one line that says what is missing, when there can be no window.
        """
        triangles = np.ascontiguousarray(faces, np.int32)
        layout = Layout(int(triangles.max()) + 1 if vertices is None else vertices, image_size[1], image_size[0])
        try:
            self._memory = SceneMemory(layout)
        except OSError as error:
            raise UserError(
                f"no shared memory for the window ({error}): enlarge /dev/shm, or use --view none"
            ) from error
        width, height = image_size
        view = camera or Camera(1.2 * height, 1.2 * height, (width - 1) / 2, (height - 1) / 2)
        context = multiprocessing.get_context("spawn")
        self._showing = threading.Lock()
        self._wake = context.Semaphore(0)  # not an Event: the lock inside one could be held by a process that is killed
        self._link, theirs = context.Pipe()
        self._process = context.Process(
            target=target,
            args=(self._memory.name, layout, view, triangles, title, self._wake, theirs),
            name="window",
            daemon=True,
        )
        # Also runs when the program ends without close(), and then still removes the shared memory.
        self._finish = weakref.finalize(self, _release, self._process, self._link, self._memory)
        self._process.start()
        theirs.close()  # ours is then the only other end, and reads end-of-file when the process dies, however it dies
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

    def show(self, result: Result, figures: Figures | str | None = None) -> bool:
        """Publish a result: its image, people, and the line of ``figures``. Newest wins.

        Returns False, and does nothing, once the window is closed. Raises ``ValueError`` for an image or bodies of
        another size than the window was made for.
        """
        if self.closed:
            return False
        bodies = [(body.person, body.transl, body.vertices) for body in result.people]
        with self._showing:
            self._memory.write(result.frame.image, result.camera, bodies, "" if figures is None else str(figures))
        self._wake.release()
        return True

    @property
    def closed(self) -> bool:
        """True once the user closed the window, its process died, or ``close`` was called. Does not wait."""
        return self._listener.closed.is_set()

    @property
    def crashed(self) -> bool:
        """Whether the window's process died, rather than being closed by the user or by `close`."""
        if not self.closed or self._listener.closing:
            return False
        self._process.join(1.0)  # it has closed its end of the link: it is as good as gone
        return self._process.exitcode != 0

    def events(self) -> Iterator[str]:
        """Commands since the last call, oldest first, without waiting: "q" quit (also when the window went away by
        itself), "space" pause, "r" record, "s" snapshot. One thread may ask."""
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
            link.send("close")
        process.join(CLOSE_TIMEOUT_S)
    for end in (process.terminate, process.kill):
        if process.is_alive():
            end()
            process.join(CLOSE_TIMEOUT_S)
    memory.close()
