"""Files that are written atomically, and the cache folder."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from platformdirs import user_cache_path

from common.errors import UserError

if sys.platform != "win32":
    import fcntl

APPLICATION = "motionmesh"
"""Name of the cache folder."""
JSON_ERRORS: Final = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
"""What parsing and reading a damaged JSON text raises: it may be cut, of another shape, nested too deeply, or hold infinity
where a whole number belongs."""


def cache_folder() -> Path:
    """The user's cache folder, for what can be made again: engines, downloaded packages, the demo clip.

    ``$XDG_CACHE_HOME/motionmesh`` or ``~/.cache/motionmesh`` on Linux, the system's own place elsewhere. It may not
    exist yet.
    """
    return user_cache_path(APPLICATION, appauthor=False)


def expanded(name: str | Path) -> Path:
    """The path that a user calls ``name``: with the home folder in place of a tilde, where there is one of that name."""
    return Path(os.path.expanduser(name))


def readable(name: str) -> str:
    """The file name ``name`` as text that any program can read: with a question mark for each byte that is not UTF-8, which
    Python keeps as a lone surrogate that no encoder takes."""
    return name.encode(errors="replace").decode()


@contextmanager
def opened_by_name(path: Path) -> Iterator[str]:
    """A name of the existing file ``path`` for libraries that take UTF-8 alone: OpenCV ends the process on other names.

    It is ``path`` itself where that is the same in UTF-8, else the name of the open file. Raises OSError.
    """
    name = str(path)
    if name.encode(errors="replace") == os.fsencode(path):
        yield name
        return
    with path.open("rb") as file:
        yield f"/dev/fd/{file.fileno()}"


@contextmanager
def write_atomically(path: Path, mode: int = 0o644) -> Iterator[IO[Any]]:
    """Open a binary file that replaces ``path``, with the permissions ``mode``, when the block ends without an error.

    The data is written beside the target and renamed in one step: a crash in between leaves the old file unchanged. A
    symbolic link stays one: the file that it leads to is replaced.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    path = _followed(path)
    # A long name must not become one that is too long.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, mode)  # mkstemp's own mode is for the owner alone
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def write_bytes_atomically(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write ``data`` to ``path`` atomically; see `write_atomically`."""
    with write_atomically(path, mode) as file:
        file.write(data)


def write_text_atomically(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, in UTF-8; see `write_atomically`."""
    write_bytes_atomically(path, text.encode())


def check_writable(path: Path) -> None:
    """Raise `UserError` unless a file can be written at ``path``. An existing file is left unchanged."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder: give the name of a file")
        if not path.parent.is_dir():
            raise UserError(f"there is no folder {path.parent} to write {path.name} into: create it first")
        if path.is_fifo() or path.is_socket():  # opening one waits until somebody reads
            raise UserError(f"{path} is a pipe, which cannot be written as a file: choose another name")
        if path.is_char_device() or path.is_block_device():
            raise UserError(f"{path} is a device, which cannot be written as a file: choose another name")
        path = _followed(path)
        is_new = not path.exists()
        with path.open("ab"):
            pass
        if is_new:
            path.unlink()
    except (OSError, ValueError) as error:  # ValueError: a zero byte
        raise UserError(f"cannot write {path} ({reason_of(error, path)}): choose another place") from None


def claim(path: Path) -> IO[bytes]:
    """Open ``path``, which is made where it is not there, for this run alone: until it is closed, or the process ends, another
    run that claims it gets a `UserError`. Its content stays as it is.

    Where a file system knows no locks nothing is refused. Raises `UserError` and ``OSError``.
    """
    file = path.open("ab")
    try:
        _lock(file)
    except BlockingIOError:
        file.close()
        raise UserError(f"another run writes {path}: give another name") from None
    return file


def check_unclaimed(path: Path) -> None:
    """Raise `UserError` where another run has claimed ``path``."""
    if path.is_file():
        with suppress(OSError):
            claim(path).close()


def _lock(file: IO[bytes]) -> None:
    """Lock ``file`` against others that do. Raises BlockingIOError where one has."""
    if sys.platform != "win32":
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # a network's disk without locks
            return


def are_one(first: Path, second: Path) -> bool:
    """Whether both names lead to one file, also one that is not there yet."""
    try:
        return first.samefile(second)
    except (OSError, ValueError):  # one of them is not there
        return os.path.realpath(first) == os.path.realpath(second)


def check_apart(outputs: Mapping[str, Path], inputs: Mapping[str, Path | None]) -> None:
    """Raise `UserError` where an output would write over an input or over another output.

    Both map what the user calls a file ("--save a.npz", "the source") to its path; None: it is no file.
    """
    names = list(outputs)
    for place, name in enumerate(names):
        for what, path in inputs.items():
            if path is not None and are_one(outputs[name], path):
                raise UserError(f"{name} would write over {what}: give another name")
        for other in names[:place]:
            if are_one(outputs[name], outputs[other]):
                raise UserError(f"{name} and {other} are one file: give each a name of its own")


def _followed(path: Path) -> Path:
    """The file that ``path`` leads to."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def reason_of(error: Exception, path: Path) -> str:
    """Why ``path`` could not be written, in words."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {path.parent.resolve()} is full"
    return os.strerror(number) if isinstance(number, int) and 0 < number < 200 else str(error)
