"""A captured skeleton in motion, as its file describes it: before it becomes 24 SMPL joints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from common.arrays import DoubleArray
from training.motion import rotations as rot

_SMALL: Final = 500_000
_LARGEST_RATIO: Final = 0.5


@dataclass(frozen=True)
class SourceMotion:
    """N frames of a skeleton of J joints; y up. A bone is turned by the joint at its beginning."""

    names: tuple[str, ...]
    """J joint names as the file writes them."""
    parents: tuple[int, ...]
    """J indices, -1 for the root; parents come before their children."""
    offsets: DoubleArray
    """float64 (J, 3), from the parent joint to the joint while every rotation is zero, metres."""
    rotations: DoubleArray
    """float64 (N, J, 4), quaternions (w, x, y, z) in the WORLD; the zero pose has only identities."""
    positions: DoubleArray
    """float64 (N, J, 3), joints in the world, metres."""
    fps: float
    """Frame rate, frames/s."""

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.rotations)

    def keys(self) -> dict[str, int]:
        """Return joint indices by simplified name: lower case, without a ``namespace:`` in front."""
        return {simplify(name): index for index, name in enumerate(self.names)}


def check_proportion(frames: int, joints: int, file_bytes: int) -> None:
    """Raise ValueError where a file of so many bytes says that it has more frames of more joints than it can hold.

    A rotation takes 2 bytes of text or more. Joints without channels take none, and there may be any number of them: a small
    file could ask for terabytes.
    """
    if frames * joints > max(_SMALL, _LARGEST_RATIO * file_bytes):
        raise ValueError(f"{frames} frames of {joints} joints, more than a file of {file_bytes} bytes can hold")


def simplify(name: str) -> str:
    """Return a joint name in lower case and without a ``namespace:`` in front."""
    return name.rpartition(":")[2].strip().lower()


def pose_skeleton(
    names: Sequence[str],
    parents: Sequence[int],
    offsets: DoubleArray,
    local_rotations: DoubleArray,
    local_translations: DoubleArray,
    fps: float,
) -> SourceMotion:
    """Chain rotations and translations relative to the parent into the world.

    Args:
        names: J joint names.
        parents: J indices of the parents, -1 for the root.
        offsets: (J, 3) metres, from the parent in the zero pose.
        local_rotations: (N, J, 4) quaternions relative to the parent.
        local_translations: (N, J, 3) or (1, J, 3) metres, in the parent's turned frame; the root's in the world.
        fps: Frames a second.
    """
    world = rot.globals_from_locals(local_rotations, parents)
    positions = np.empty((*world.shape[:2], 3))
    for joint, parent in enumerate(parents):
        step = local_translations[:, joint]
        if parent < 0:
            positions[:, joint] = step
        else:
            positions[:, joint] = positions[:, parent] + rot.rotate(world[:, parent], step)
    return SourceMotion(tuple(names), tuple(parents), offsets, world, positions, fps)
