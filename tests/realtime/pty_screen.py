"""A terminal that a program is run in: a pseudo terminal, and what a user would see on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
from pathlib import Path
from types import TracebackType

_PIECE = re.compile(r"\x1b\[(\??)([\d;]*)([A-Za-z])|\r|\n|\x1b.|.", re.DOTALL)


class Terminal:
    """Runs ``command`` in a terminal of ``columns`` x ``rows``. Use it as a context manager."""

    def __init__(self, command: list[str], columns: int, rows: int, environment: dict[str, str], folder: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(theirs)
        self._said = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, columns: int, rows: int) -> None:
        """Make it another size, as dragging its corner does."""
        self.columns, self.rows = columns, rows
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        """Type ``keys``; "\\x03" is Ctrl-C."""
        os.write(self._ours, keys.encode())

    @property
    def said(self) -> str:
        """All that was written so far, with its control sequences."""
        return self._said.decode(errors="replace")

    def wait(self, seconds: float) -> int:
        """The exit status, once the program has ended."""
        status = self.process.wait(seconds)
        self._reader.join(10)
        return status

    def _read(self) -> None:
        while True:
            select.select([self._ours], [], [], 1)
            try:
                data = os.read(self._ours, 1 << 16)
            except OSError:  # the program has ended
                return
            if not data:
                return
            self._said += data

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(10)
        os.close(self._ours)


def screen_of(said: str, columns: int) -> tuple[list[str], bool]:
    """The lines that stand on a terminal of ``columns`` after ``said``, with all that has scrolled away, and whether the cursor
    is visible. Raises ValueError for a control sequence that a plain terminal may not know."""
    lines, row, column, visible = [""], 0, 0, True
    for found in _PIECE.finditer(said):
        text, private, numbers, letter = found[0], found[1], found[2], found[3]
        count = int(numbers) if (numbers or "").isdigit() else 1
        if text == "\r":
            column = 0
        elif text == "\n":
            row += 1
        elif letter == "A":
            row = max(row - count, 0)
        elif letter == "K" and numbers == "2":
            lines[row] = ""
        elif letter in ("h", "l") and private and numbers == "25":
            visible = letter == "h"
        elif letter == "m":
            continue
        elif text.startswith("\x1b"):
            raise ValueError(f"{text!r} is left on the screen")
        else:
            if column == columns:
                row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
            line = lines[row].ljust(column)
            lines[row] = line[:column] + text + line[column + 1 :]
            column += 1
        lines += [""] * (row + 1 - len(lines))
    return lines, visible
