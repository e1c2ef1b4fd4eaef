"""The one error that this room raises for a body that cannot be used."""

from __future__ import annotations

from common.errors import UserError


class BodyError(UserError, ValueError):
    """A body file that is missing, unreadable, refused or of the wrong layout. The message is one line that says what
    to do about it."""
