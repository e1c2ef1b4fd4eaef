"""Remarks for the user: what the rooms log, printed as single lines.

Every module logs to ``logging.getLogger(__name__)``: WARNING for what the user should know of (a source that is damaged,
a plan that could not be used), INFO for what goes on, DEBUG for details. Nothing is printed unless a program asks for it,
with `show_remarks` or with handlers of its own. A record may carry a ``block`` of lines, which terminals alone get to see:
dark on light, as QR codes must be.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.text import Text
from typing_extensions import override

from common.errors import one_line

ROOMS: Final = ("body", "common", "engines", "export", "formats", "realtime", "tools", "training")


class RemarkHandler(logging.Handler):
    """Prints each record as one line on a console, between the redraws of its progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Print ``record``."""
        try:
            line = one_line(Exception(record.getMessage()))
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
            block = getattr(record, "block", "")
            if block and self._console.is_terminal:
                self._console.print(Text(block, style="black on white"), no_wrap=True, crop=False)
        except Exception:
            self.handleError(record)


@contextmanager
def show_remarks(console: Console, level: int = logging.INFO) -> Iterator[None]:
    """Print what the rooms log at ``level`` and above on ``console`` while the block runs."""
    handler = RemarkHandler(console)
    loggers = [logging.getLogger(room) for room in ROOMS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, old in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(old)
