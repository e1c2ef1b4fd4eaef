"""What the user can put right."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right: one line that says what is wrong and what to do.

    The command line prints it without a traceback and ends with exit code 2.
    """


class SourceLost(UserError):
    """A camera or stream that worked has stopped and did not come back: unplugged, switched off or out of reach."""
