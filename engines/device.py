"""The processor's name, for reports."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path


@cache
def describe_device() -> str:
    """The CPU's model and the number of cores that this process may use, as "AMD EPYC (2 cores)"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{_cpu_model()} ({cores} core{'s' if cores != 1 else ''})"


def _cpu_model() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    # ARM boards do not name their cores there, but the board itself here.
    board = _read(Path("/proc/device-tree/model")).strip("\0\n ")
    return board or platform.processor() or platform.machine() or "CPU"


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
