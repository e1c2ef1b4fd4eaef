"""What can go wrong with a source while it runs."""

from __future__ import annotations

from common.errors import UserError


class SourceLost(UserError):
    """A camera or stream that worked has stopped and did not come back: unplugged, switched off or out of reach."""
