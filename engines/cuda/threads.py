"""A CUDA context is pushed once in each thread, and popped when the thread ends."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable


class OncePerThread:
    """Calls ``enter`` the first time in each thread, and ``leave`` in the same thread as it ends.

    A context left behind makes pycuda abort the process as the thread ends, and pushing it around every call costs
    two driver calls each time.
    """

    def __init__(self, enter: Callable[[], None], leave: Callable[[], None]) -> None:
        """Keep the two calls; nothing is called yet."""
        self._enter, self._leave = enter, leave
        self._local = threading.local()

    def __call__(self) -> None:
        """Enter the context unless this thread has done so already."""
        if hasattr(self._local, "guard"):
            return
        self._enter()
        guard = _Guard(self._leave)
        # A thread's own variables are dropped in that thread, before the libraries under it clean up after it.
        self._local.guard = guard
        if threading.current_thread() is threading.main_thread():
            atexit.register(guard.leave)


class _Guard:
    def __init__(self, leave: Callable[[], None]) -> None:
        self._left, self._leave = False, leave

    def leave(self) -> None:
        if not self._left:
            self._left = True
            self._leave()

    __del__ = leave
