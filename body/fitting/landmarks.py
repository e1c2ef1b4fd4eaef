"""Named vertices: face, finger tips, toes and heels, found on the left half of the surface."""

from __future__ import annotations

from typing import Final

import numpy as np

from body.fitting.geometry import unit
from body.fitting.source import Rig
from body.fitting.surface import SkinSurface
from body.joints import JOINT_NAMES
from common.arrays import BoolArray, DoubleArray, Int64Array

SMPLX_VERTEX: Final = {
    # where smplx looks for each landmark by default, on SMPL's 6890 vertices
    "nose": 332, "reye": 6260, "leye": 2800, "rear": 4071, "lear": 583, "rthumb": 6191, "rindex": 5782,
    "rmiddle": 5905, "rring": 6016, "rpinky": 6133, "lthumb": 2746, "lindex": 2319, "lmiddle": 2445, "lring": 2556,
    "lpinky": 2673, "LBigToe": 3216, "LSmallToe": 3226, "LHeel": 3387, "RBigToe": 6617, "RSmallToe": 6624,
    "RHeel": 6787,
}  # fmt: skip


def left_landmarks(surface: SkinSurface, mean: DoubleArray, weights: DoubleArray, rig: Rig) -> dict[str, int]:
    """Vertices of the left landmarks and the nose, under smplx's names.

    ``mean`` (V, 3) and ``weights`` (V, 24) belong to ``surface``.
    """
    half, base_count = mean[: surface.half], surface.matrix.shape[1]

    def held(bone: str) -> DoubleArray:
        on_half: DoubleArray = (surface.matrix @ rig.weight(bone, base_count))[: surface.half]
        return on_half

    def highest(mask: BoolArray, score: DoubleArray) -> int:
        return int(np.where(mask, score, -np.inf).argmax())

    found = {"leye": surface.eye}
    for number, name in enumerate(("thumb", "index", "middle", "ring", "pinky"), 1):
        last = held(f"finger{number}-3.L") > 0.9
        before = half[held(f"finger{number}-2.L") > 0.6].mean(0)
        found["l" + name] = highest(last, (half - before) @ unit(half[last].mean(0) - before))
    found["LBigToe"] = highest(held("toe1-2.L") > 0.9, half[:, 2])
    found["LSmallToe"] = highest(held("toe5-3.L") > 0.9, half[:, 2])
    floor = half[:, 1].min()
    found["LHeel"] = highest(held("foot.L") > 0.9, -half[:, 2] - 0.5 * np.abs(half[:, 1] - floor - 0.02))
    head = weights[: surface.half, JOINT_NAMES.index("head")] > 0.9
    eye_height = half[surface.eye, 1]
    below_eyes = (np.abs(half[:, 1] - eye_height) < 0.07) & (half[:, 1] < eye_height)
    found["nose"] = highest(head & surface.seam & below_eyes, half[:, 2])
    found["lear"] = highest(head & (np.abs(half[:, 1] - eye_height + 0.005) < 0.02), half[:, 0])
    return found


def both_sides(left: dict[str, int], mirror: Int64Array) -> dict[str, int]:
    """The landmarks and their counterparts: ``leye`` gives ``reye``, ``LHeel`` gives ``RHeel``."""
    right = {
        ("r" if name[0] == "l" else "R") + name[1:]: int(mirror[vertex])
        for name, vertex in left.items()
        if name != "nose"
    }
    return {**left, **right}


def smplx_order(landmarks: dict[str, int], count: int) -> Int64Array:
    """Order (count,) of vertices that puts the landmarks at smplx's indices: the old vertex at each new index.

    All others keep their order. A mesh with another number of vertices than SMPL's is not reordered.
    """
    if count != 6890:
        return np.arange(count)
    place = {SMPLX_VERTEX[name]: vertex for name, vertex in landmarks.items()}
    taken = set(landmarks.values())
    others = iter([vertex for vertex in range(count) if vertex not in taken])
    return np.array([place[new] if new in place else next(others) for new in range(count)])
