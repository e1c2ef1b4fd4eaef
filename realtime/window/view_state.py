"""The window's view: what its keys change, and the lines that describe them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

Mode = Literal["solid", "wire", "skeleton", "off"]

MODES: Final[tuple[Mode, ...]] = ("solid", "wire", "skeleton", "off")
"""What key ``m`` goes through."""

SENT_KEYS: Final[dict[str, str]] = {"Q": "q", " ": "space", "R": "r", "S": "s", "F": "f"}
"""Keys that are sent to the pipeline, and their names in the window's events."""
ARROW_KEYS: Final[dict[int, str]] = {262: "right", 263: "left"}
"""The same for keys without a character, by GLFW's numbers."""
VIEW_KEYS: Final = "VMKHI0123456789"
"""Keys that change the view alone."""

HELP: Final = (
    "v\tvideo or bodies alone",
    "m\tsolid, wire, skeleton, off",
    "k\tkeypoints",
    "f\toptical flow",
    "i\ttimes of the stages",
    "1-9\tfollow a person",
    "0\tfollow everybody",
    "space\tpause",
    "left, right\t5 s back, 5 s on",
    "r\trecord",
    "s\tsnapshot",
    "h\tthese keys",
    "q\tquit",
)
"""The lines that key ``h`` shows: key, tab, what it does."""


def help_without(*keys: str) -> tuple[str, ...]:
    """`HELP` for a window in which ``keys``, as its lines begin, do nothing."""
    return tuple(line for line in HELP if line.partition("\t")[0] not in keys)


def acts(key: str, help_lines: tuple[str, ...]) -> bool:
    """Whether ``key`` (upper case), one of `VIEW_KEYS`, is among ``help_lines``."""
    return ("1-9" if key in "123456789" else key.lower()) in (line.partition("\t")[0] for line in help_lines)


@dataclass(frozen=True, slots=True)
class WindowState:
    """What is shown, and how."""

    video: bool = True
    """The video with the bodies on it; else the bodies alone, to look at from all sides."""
    mode: Mode = "solid"
    """How bodies are drawn."""
    keypoints: bool = True
    """Whether detected keypoints are drawn."""
    help: bool = False
    """Whether the list of keys is shown."""
    keys: tuple[str, ...] = HELP
    """That list."""
    details: bool = False
    """The times of the stages."""
    followed: int = -1
    """The person that the free view follows; -1: everybody."""

    def pressed(self, key: str, persons: tuple[int, ...] = ()) -> WindowState:
        """The state after ``key`` (upper case), one of `VIEW_KEYS`. Digits count ``persons`` from 1, in the order of their
        numbers; one that nobody stands for changes nothing."""
        if key == "V":
            return replace(self, video=not self.video)
        if key == "M":
            return replace(self, mode=MODES[(MODES.index(self.mode) + 1) % len(MODES)])
        if key == "K":
            return replace(self, keypoints=not self.keypoints)
        if key == "H":
            return replace(self, help=not self.help)
        if key == "I":
            return replace(self, details=not self.details)
        if key == "0":
            return replace(self, followed=-1)
        place = int(key) - 1 if key.isdigit() else len(persons)
        return replace(self, followed=sorted(persons)[place]) if place < len(persons) else self
