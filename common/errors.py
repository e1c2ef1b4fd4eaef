"""The root of all errors that a user can correct, and the one place that prints them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LONGEST: Final = 300
"""Characters of a word, such as a path, that are shown."""
_CONTROLS: Final = {code: None if not chr(code).isspace() else " " for code in (*range(32), *range(127, 160))}


class UserError(Exception):
    """A problem that the user can correct: one line that says what is wrong and what to do.

    Every room derives its own errors from this class. Command lines print them without a traceback and end with exit
    code 2.
    """


def one_line(error: BaseException) -> str:
    """The message of ``error`` as a single line that survives in a log: with white space collapsed, without what would control
    a terminal, and without the middle of names that are absurdly long."""
    words = str(error).translate(_CONTROLS).split()
    return " ".join(word if len(word) <= _LONGEST else f"{word[:100]}…{word[-60:]}" for word in words)


def print_error(line: str) -> None:
    """Print what ends a command on stderr: the only place that does."""
    print(f"error: {line}", file=sys.stderr)


@contextmanager
def exit_with_one_line(*more: type[Exception]) -> Iterator[None]:
    """End a command with one line on stderr and exit code 2 on a `UserError` or one of the exceptions ``more``."""
    kinds: tuple[type[Exception], ...] = (UserError, *more)
    try:
        yield
    except kinds as error:
        print_error(one_line(error))
        raise SystemExit(2) from None
