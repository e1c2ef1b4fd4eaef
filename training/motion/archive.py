"""What can go wrong while a damaged ``.npz`` is read."""

from __future__ import annotations

from typing import Final

from common.npz import NPZ_ERRORS

ARCHIVE_ERRORS: Final[tuple[type[Exception], ...]] = (OSError, *NPZ_ERRORS)
"""What `common.npz` raises, and what making something of damaged arrays does."""
