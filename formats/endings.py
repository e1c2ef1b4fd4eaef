"""How a user names a motion file's format (by its ending) and its frame of reference."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from common.errors import UserError

ReferenceFrame = Literal["camera", "world"]
"""Whose axes a motion is exported in, both with y up: the camera's (x right, y up, z towards it) or the world's."""
MeshLook = Literal["suit", "clay"]
"""What a file with meshes shows: the mannequin in a suit that windows draw, or the body's own surface, one colour a person."""
READABLE: Final = (".npz", ".jsonl", ".bvh", ".amass.npz")
"""Endings that `formats.save.open_motion` reads."""
WRITABLE: Final = (".npz", ".bvh", ".glb", ".trc", ".csv", ".jsonl", ".amass.npz")
"""Endings that `formats.save.save_as` writes."""


def ending_of(path: Path, among: tuple[str, ...] = WRITABLE) -> str:
    """The ending that says what format ``path`` has. Raises `UserError` when it is none of ``among``."""
    name = path.name.lower()
    for ending in sorted(among, key=len, reverse=True):
        if name.endswith(ending) and len(name) > len(ending):
            return ending
    raise UserError(f"{path} does not end in {', '.join(among[:-1])} or {among[-1]}: the ending chooses the format")
