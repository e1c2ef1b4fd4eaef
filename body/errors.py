"""The error that this room raises for a body that cannot be used."""

from __future__ import annotations

from common.errors import UserError


class BodyError(UserError, ValueError):
    """A body file is missing, unreadable, refused or of the wrong layout. The message says what to do."""
