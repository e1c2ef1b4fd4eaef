"""Names and tables of the SMPL skeleton and of the COCO-17 keypoints.

Left and right are the person's own. Every array of joints in this project is in ``JOINT_NAMES`` order, every array
of keypoints in ``COCO_NAMES`` order.
"""

from __future__ import annotations

from typing import Final

JOINT_NAMES: Final[tuple[str, ...]] = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
"""The 24 joints of SMPL (Loper et al. 2015), in its order."""
JOINTS: Final = len(JOINT_NAMES)

PARENTS: Final[tuple[int, ...]] = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21,
)  # fmt: skip
"""Parent of each joint; the root has -1. A parent always comes before its children."""


def _ancestors() -> tuple[tuple[int, ...], ...]:
    still = len(PARENTS)
    reached = tuple(still if parent < 0 else parent for parent in (*PARENTS, -1))
    rounds = []
    while set(reached) != {still}:
        rounds.append(reached)
        reached = tuple(reached[joint] for joint in reached)
    return tuple(rounds)


ANCESTORS: Final[tuple[tuple[int, ...], ...]] = _ancestors()
"""Ancestors for walking the tree by pointer doubling, without a loop over its levels.

In each round every joint's frame, which reaches up to some ancestor, is multiplied with the frame of the ancestor named
here, and so reaches twice as far. Four rounds of 25 entries: the last entry is the fixed parent of the pelvis and of
itself.
"""

COCO_NAMES: Final[tuple[str, ...]] = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
"""The 17 keypoints of COCO (Lin et al. 2014), in its order."""
KEYPOINTS: Final = len(COCO_NAMES)

COCO_EDGES: Final[tuple[tuple[int, int], ...]] = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 12), (11, 13),
    (13, 15), (12, 14), (14, 16),
)  # fmt: skip
"""Pairs of COCO keypoints that are joined by a line when a skeleton is drawn."""


def _mirror_table(names: tuple[str, ...]) -> tuple[int, ...]:
    swap = {"left": "right", "right": "left"}
    halves = (name.partition("_") for name in names)
    return tuple(names.index(swap.get(side, side) + bar + rest) for side, bar, rest in halves)


JOINT_MIRROR: Final[tuple[int, ...]] = _mirror_table(JOINT_NAMES)
"""Index of each joint's counterpart on the other side (itself where there is none)."""

COCO_MIRROR: Final[tuple[int, ...]] = _mirror_table(COCO_NAMES)
"""Index of each keypoint's counterpart on the other side (itself where there is none)."""

COCO_JOINT: Final[tuple[int, ...]] = tuple(
    JOINT_NAMES.index("head" if name in COCO_NAMES[:5] else "pelvis" if name.endswith("hip") else name)
    for name in COCO_NAMES
)
"""The joint whose frame each COCO keypoint is fixed to.

The head for nose, eyes and ears; the pelvis for the hips, because a detector's hip points lie on the trunk; otherwise
the joint of the same name.
"""
