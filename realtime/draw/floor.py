"""Where views of the world draw its floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

BELOW: Final = 0.4
"""Metres: a person farther below the floor stands on another one."""
SOLE_M: Final = 0.08
"""Metres: a standing person's lowest joint is about so far over the ground."""


def drawn_level(lowest: Sequence[float]) -> float:
    """Where the floor is drawn for people whose lowest points are at ``lowest``, both in metres down from the world's floor.

    It is the floor itself, unless nobody is on it: seen from far below it would be a line over their heads, or a grid through
    their bodies. Then it is where the highest of them stands.
    """
    return 0.0 if min(lowest) < BELOW else min(lowest)
