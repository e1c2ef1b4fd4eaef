"""Where views of the world draw its floor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

BELOW: Final = 0.4
"""Metres: the floor is not where a person's lowest point is farther below it."""
SOLE_M: Final = 0.08
"""Metres: a standing person's lowest joint is about so far over the ground."""


def drawn_level(lowest: Sequence[float]) -> float:
    """Where the floor is drawn for people whose lowest points are at ``lowest``, both in metres down from the world's floor.

    It is the world's floor, unless somebody is clearly below it, who cannot be: the first person seen stood on a roof, and the
    ground has not been found yet, or nobody is on that roof any more. Then it is where the lowest person stands.
    """
    deepest = max(lowest)
    return deepest if deepest >= BELOW else 0.0
