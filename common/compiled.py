"""``njit``, and the folder for numba's cache of compiled functions.

Numba's own choice is beside the source. Where that cannot be written, numba would end the program; so the cache goes into
the project's cache folder, or into a folder of the user's own among the temporary files.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import config as numba_config

from common.files import APPLICATION, cache_folder

__all__ = ["choose_numba_cache", "njit"]

config: Any = numba_config  # its settings come from the environment
_ROOT = Path(__file__).resolve().parents[1]


def choose_numba_cache(root: Path = _ROOT) -> Path | None:
    """Give numba another cache folder where its own choice, beside the sources in ``root``, cannot be written.

    Returns the folder, None where numba's own choice is right or the user has chosen (``NUMBA_CACHE_DIR``).
    """
    if config.CACHE_DIR or _is_writable(root / "body"):
        return None
    for folder in (cache_folder() / "numba", Path(tempfile.gettempdir()) / f"{APPLICATION}-{_user()}" / "numba"):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError:
            continue
        if _is_writable(folder) and _is_ours(folder.parent):
            config.CACHE_DIR = str(folder)
            return folder
    config.CACHE_DIR = tempfile.mkdtemp(prefix=f"{APPLICATION}-")
    return Path(config.CACHE_DIR)


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _is_writable(folder: Path) -> bool:
    """Whether a file can be made in ``folder``; tried, because access() says yes to root on a read-only disk."""
    try:
        cache = folder / "__pycache__" if (folder / "__pycache__").is_dir() else folder
        with tempfile.TemporaryFile(dir=cache):
            return True
    except OSError:
        return False


def _is_ours(folder: Path) -> bool:
    """Whether nobody else can write into ``folder``: numba executes the code that it finds there."""
    found = folder.stat()
    return found.st_uid == _user() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


choose_numba_cache()
