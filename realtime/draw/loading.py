"""Loads the compiled loops late, and once."""

from __future__ import annotations

import threading
from types import ModuleType

_lock = threading.Lock()


def kernels() -> ModuleType:
    """The module of compiled loops. The first call in a process imports numba and reads its cache, about a second; the
    first on a machine compiles, several seconds. Callers in other threads wait for it instead of compiling too."""
    with _lock:
        from realtime.draw import kernels as module  # late: importing numba costs more than all of OpenCV

        return module
