"""Ctrl-C while native code calls back into Python: kept until the native code has returned, then delivered."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_KEPT = ("SIGINT", "SIGTERM", "SIGHUP")  # by name: Windows lacks the last one


class PendingSignals:
    """Signals that arrived inside `kept_signals` and wait for its end."""

    def __init__(self) -> None:
        """Nothing has arrived yet."""
        self._arrived: list[tuple[int, FrameType | None]] = []

    def __bool__(self) -> bool:
        """Whether a signal has arrived, so that the work should stop."""
        return bool(self._arrived)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal by remembering it. The second of a kind ends the process at once, as it would without handlers."""
        if any(number == other for other, _ in self._arrived):
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._arrived.append((number, frame))

    def first(self) -> tuple[int, FrameType | None] | None:
        """Number and frame of the first signal that arrived."""
        return self._arrived[0] if self._arrived else None


@contextmanager
def kept_signals() -> Iterator[PendingSignals]:
    """Keep signals back that Python code handles, and deliver the first of them to its handler when the block ends.

    An exception that a handler raises inside a callback of TensorRT is swallowed there, so Ctrl-C would be lost. The block
    asks the yielded `PendingSignals` whether to stop. In other threads than the main one this does nothing: Python
    handles signals in the main thread alone. Signals whose handling is the system's default are left alone.
    """
    pending = PendingSignals()
    if threading.current_thread() is not threading.main_thread():
        yield pending
        return
    handlers = {}
    for number in (getattr(signal, name) for name in _KEPT if hasattr(signal, name)):
        handler = signal.getsignal(number)
        if callable(handler) and not isinstance(handler, signal.Handlers):
            handlers[number] = handler
    try:
        for number in handlers:
            signal.signal(number, pending.note)
        yield pending
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if (arrived := pending.first()) is not None:
            number, frame = arrived
            handlers[signal.Signals(number)](number, frame)
