"""What the user can put right."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """Something the user can put right: one line that says what is wrong and what to do.

    The command line prints it without a traceback and ends with exit code 2.
    """


class SourceLost(UserError):
    """A camera or stream that worked has stopped and did not come back: unplugged, switched off or out of reach."""


@contextmanager
def told_in_one_line(*kinds: type[Exception]) -> Iterator[None]:
    """For a command: an error of these ``kinds`` ends it with one line on stderr and exit code 2, without a traceback."""
    try:
        yield
    except kinds as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
