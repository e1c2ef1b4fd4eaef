"""What a case of the fault suite is, and the list of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults.program import CLIP

FILE = ("--source", str(CLIP), "--quality", "live")
LIVE = (*FILE, "--live")
FRAMES = ("--frames", "40")


class Skipped(Exception):
    """The case cannot be tried here, and why."""


@dataclass(frozen=True, slots=True)
class Case:
    """``check`` makes it happen in a new folder, and raises `Failed` unless what must be is so.

    ``group``, ``row`` and ``must_be`` are columns of the table in docs/reliability.md; cases that have all three in common are
    one row there. ``happens`` tells this case from the others of its row.
    """

    group: str
    happens: str
    must_be: str
    row: str
    check: Callable[[Path], None]


CASES: list[Case] = []
"""Filled as the modules beside this one are imported."""


def case(
    group: str, happens: str, must_be: str, row: str = ""
) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Register a case; see `Case`. ``row`` is ``happens`` where nothing else is said."""

    def register(check: Callable[[Path], None]) -> Callable[[Path], None]:
        CASES.append(Case(group, happens, must_be, row or happens, check))
        return check

    return register
