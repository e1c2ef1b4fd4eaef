"""The skeleton that markers are fitted with: places of the markers, degrees of freedom of the joints, and priors.

Bones are those of the canonical T-pose with a length for each kind of bone and subject. Spine and neck bend as arcs (one
rotation shared by their joints), elbows and knees are hinges, the forearm's pronation is shared 60 to 40 between elbow and
wrist, wrists have two axes, toes are straight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from body.joints import JOINT_NAMES, JOINTS, PARENTS
from training.motion.markers import MARKERS

_AT: Final = {name: index for index, name in enumerate(JOINT_NAMES)}

_STEPS: Final[dict[str, tuple[float, float, float]]] = {
    "pelvis": (0, 0, 0), "hip": (0.075, -0.085, 0), "knee": (0, -0.4, 0), "ankle": (0, -0.415, 0),
    "foot": (0.01, -0.055, 0.125),
    "spine1": (0, 0.11, -0.01), "spine2": (0, 0.13, 0), "spine3": (0, 0.06, 0.01), "neck": (0, 0.205, -0.02),
    "head": (0, 0.09, 0.03), "collar": (0.075, 0.115, -0.01), "shoulder": (0.11, 0.035, -0.01), "elbow": (0.265, 0, 0),
    "wrist": (0.25, 0, 0), "hand": (0.085, 0, 0),
}  # fmt: skip

_SIDE_MARKERS: Final[dict[str, tuple[str, tuple[float, float, float], float]]] = {
    # Name: joint that carries it, place from that joint in the T-pose of the left side (metres), standard deviation of that.
    "FHD": ("head", (0.075, 0.10, 0.09), 0.03), "BHD": ("head", (0.07, 0.085, -0.09), 0.03),
    "SHO": ("collar", (0.105, 0.085, 0.0), 0.02), "UPA": ("shoulder", (0.14, 0.045, 0), 0.03),
    "ELB": ("shoulder", (0.265, 0.035, 0), 0.015), "FRM": ("elbow", (0.13, 0.035, 0), 0.03),
    "WRA": ("forearm", (0, 0.01, 0.04), 0.015), "WRB": ("forearm", (0, 0.01, -0.04), 0.015),
    "FIN": ("wrist", (0.085, 0.02, 0), 0.015), "ASI": ("pelvis", (0.12, 0.0, 0.06), 0.012),
    "PSI": ("pelvis", (0.045, 0.01, -0.14), 0.02), "THI": ("hip", (0.09, -0.22, 0.01), 0.04),
    "KNE": ("hip", (0.06, -0.40, 0), 0.012), "TIB": ("knee", (0.05, -0.2, 0.01), 0.03),
    "ANK": ("knee", (0.045, -0.415, 0), 0.012), "HEE": ("ankle", (0, -0.035, -0.075), 0.02),
    "TOE": ("ankle", (0.01, -0.045, 0.135), 0.02), "MT5": ("ankle", (0.055, -0.05, 0.09), 0.02),
}  # fmt: skip
_MIDDLE_MARKERS: Final[dict[str, tuple[str, tuple[float, float, float], float]]] = {
    "C7": ("spine3", (0, 0.235, -0.085), 0.02), "T10": ("spine3", (0, -0.075, -0.13), 0.02),
    "CLAV": ("spine3", (0, 0.135, 0.075), 0.02), "STRN": ("spine3", (0, -0.015, 0.105), 0.02),
    "RBAK": ("spine3", (-0.10, 0.055, -0.14), 0.03),
}  # fmt: skip

FOREARMS: Final = {"left": JOINTS, "right": JOINTS + 1}
"""Frames of reference beside the joints': at the wrists, after all of the pronation and before the wrist bends."""

BALLS: Final = ("pelvis", "left_hip", "right_hip", "left_shoulder", "right_shoulder", "left_ankle", "right_ankle")
BONE_GROUPS: Final = ("hip", "thigh", "shin", "spine", "neck", "collar", "upper arm", "forearm", "foot")
"""Groups of bones whose lengths are fitted for each subject."""
_KIND_OF: Final = {
    "hip": 0, "knee": 1, "ankle": 2, "spine1": 3, "spine2": 3, "spine3": 3, "neck": 4, "head": 4, "collar": 5, "shoulder": 5,
    "elbow": 6, "wrist": 7, "foot": 8, "hand": 7,
}  # fmt: skip

SOFT: Final = {"THI": 1.6, "UPA": 1.6, "FRM": 1.6, "TIB": 1.6, "RBAK": 1.6, "SHO": 1.3, "FHD": 0.7, "BHD": 0.7}
"""Standard deviation of markers' motion over the bones, cm; others 1."""

ANGLE_COUNT: Final = 20
"""Angles that are not balls': spine 3, neck 3, and for each side collar 2, elbow, pronation, wrist 2, knee."""
PARAMETERS: Final = 3 + 3 * len(BALLS) + ANGLE_COUNT


def _steps() -> Tensor:
    rows = []
    for name in JOINT_NAMES:
        side, _, part = name.rpartition("_")
        x, y, z = _STEPS[part]
        rows.append((-x if side == "right" else x, y, z))
    return torch.tensor(rows, dtype=torch.float32)


STEPS: Final = _steps()
"""(24, 3) metres, from the parent, of a person of mean size."""
KIND: Final = [_KIND_OF.get(name.split("_")[-1], -1) for name in JOINT_NAMES]


def _marker_table() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    carriers, places, sure, soft = [], [], [], []
    for marker in MARKERS:
        joint, place, sigma = _MIDDLE_MARKERS.get(marker) or _SIDE_MARKERS[marker[1:]]
        if marker not in _MIDDLE_MARKERS:
            side = "left" if marker[0] == "L" else "right"
            place = (place[0] if side == "left" else -place[0], place[1], place[2])
            joint = joint if joint in _AT or joint == "forearm" else f"{side}_{joint}"
            carriers.append(FOREARMS[side] if joint == "forearm" else _AT[joint])
        else:
            carriers.append(_AT[joint])
        places.append(place)
        sure.append(sigma)
        soft.append(SOFT.get(marker, SOFT.get(marker[1:], 1.0)) * 0.01)
    return torch.tensor(carriers), torch.tensor(places), torch.tensor(sure), torch.tensor(soft)


CARRIERS, PLACES, PLACE_SIGMA, MARKER_SIGMA = _marker_table()
"""Of each marker: its frame of reference, its place there (M, 3), and standard deviations of the place and of its motion over
the bone; metres."""

_SIGMAS: Final[dict[str, dict[str, float]]] = {
    "free": {
        "hip": 4.0, "shoulder": 4.0, "ankle": 0.7, "spine": 1.0, "neck": 1.0, "collar": 0.25, "elbow": 4.0, "pronation": 1.3,
        "wrist": 0.6, "knee": 4.0, "tilt": 99.0,
    },
    "tpose": {
        "hip": 0.2, "shoulder": 0.3, "ankle": 0.04, "spine": 0.03, "neck": 0.03, "collar": 0.06, "elbow": 0.15,
        "pronation": 0.2, "wrist": 0.1, "knee": 0.08, "tilt": 0.03,
    },
    "stand": {"hip": 0.25, "ankle": 0.12, "spine": 0.10, "neck": 0.10, "collar": 0.1, "knee": 0.12, "tilt": 0.08},
}  # fmt: skip
"""How far joints turn from the T-pose, radians: of anybody, of somebody in a T-pose, and of somebody who stands quietly."""


def prior_sigmas(rest: str) -> tuple[Tensor, float]:
    """Standard deviations of the 41 angles, and of the pelvis' tilt."""
    sigma = _SIGMAS["free"] | _SIGMAS[rest]
    balls = [99.0] * 3 + [sigma[name.split("_")[-1]] for name in BALLS[1:] for _ in range(3)]
    side = [sigma["collar"]] * 2 + [sigma["elbow"], sigma["pronation"]] + [sigma["wrist"]] * 2 + [sigma["knee"]]
    return torch.tensor([*balls, *[sigma["spine"]] * 3, *[sigma["neck"]] * 3, *side, *side]), sigma["tilt"]


def limits() -> tuple[Tensor, Tensor]:
    """Smallest and largest of the `ANGLE_COUNT`, radians: elbows, pronation and knees have some."""
    low, high = torch.full((ANGLE_COUNT,), -99.0), torch.full((ANGLE_COUNT,), 99.0)
    for start in (6, 13):
        for number, lowest, highest in ((2, -0.03, 2.7), (3, -1.9, 1.9), (6, -0.05, 2.75)):
            low[start + number], high[start + number] = lowest, highest
    return low, high


@dataclass
class Poses:
    """Poses of N frames."""

    place: Tensor
    """float32 (N, 3) pelvis, metres."""
    balls: Tensor
    """float32 (N, 7, 3, 3) local rotations of the `BALLS`."""
    angles: Tensor
    """float32 (N, `ANGLE_COUNT`) radians."""

    @staticmethod
    def rest(count: int) -> Poses:
        """T-poses at the origin, elbows and knees a little bent."""
        angles = torch.zeros(count, ANGLE_COUNT)
        angles[:, [8, 15, 12, 19]] = 0.15
        return Poses(torch.zeros(count, 3), torch.eye(3).repeat(count, len(BALLS), 1, 1), angles)

    def __getitem__(self, rows: Tensor | slice) -> Poses:
        return Poses(self.place[rows].clone(), self.balls[rows].clone(), self.angles[rows].clone())

    def __setitem__(self, rows: Tensor | slice, other: Poses) -> None:
        self.place[rows], self.balls[rows], self.angles[rows] = other.place, other.balls, other.angles


def exp(vectors: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of axis-angle vectors (..., 3), with derivatives at zero, too."""
    square = (vectors * vectors).sum(-1)[..., None, None] + 1e-12
    angle = square.sqrt()
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    return torch.eye(3) + torch.sin(angle) / angle * cross + (1 - torch.cos(angle)) / square * (cross @ cross)


def _about(axis: int, angle: Tensor) -> Tensor:
    return exp(torch.stack([angle if axis == number else torch.zeros_like(angle) for number in range(3)], -1))


def frames_of(step: Tensor, poses: Poses, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Frames of reference of joints and forearms: rotations (..., 26, 3, 3) and places (..., 26, 3).

    Args:
        step: (..., PARAMETERS) change of the poses: metres and radians, balls in the frame of their parent.
        poses: Of leading shape (...).
        offsets: (24, 3) bones at rest, metres.
    """
    place = poses.place + step[..., :3]
    balls = exp(step[..., 3 : 3 + 3 * len(BALLS)].reshape(*step.shape[:-1], len(BALLS), 3)) @ poses.balls
    angles = poses.angles + step[..., 3 + 3 * len(BALLS) :]
    spine, neck = exp(angles[..., :3] / 3), exp(angles[..., 3:6] / 2)
    turned: list[Tensor] = []
    places: list[Tensor] = []
    forearms: dict[str, Tensor] = {}
    for joint, (name, parent) in enumerate(zip(JOINT_NAMES, PARENTS, strict=True)):
        side, _, part = name.rpartition("_")
        places.append(place if parent < 0 else places[parent] + turned[parent] @ offsets[joint])
        own = angles[..., 6:13] if side == "left" else angles[..., 13:]
        sign = -1.0 if side == "right" else 1.0
        if name in BALLS:
            local = balls[..., BALLS.index(name), :, :]
        elif part.startswith("spine"):
            local = spine
        elif part in ("neck", "head"):
            local = neck
        elif part == "collar":
            local = _about(1, own[..., 0]) @ _about(2, own[..., 1])
        elif part == "elbow":
            hinge = _about(1, -sign * own[..., 2])
            local = hinge @ _about(0, 0.6 * own[..., 3])
            forearms[side] = turned[parent] @ hinge @ _about(0, own[..., 3])
        elif part == "wrist":
            turned.append(forearms[side] @ _about(1, own[..., 4]) @ _about(2, own[..., 5]))
            continue
        elif part == "knee":
            local = _about(0, own[..., 6])
        else:  # hands and toes
            local = torch.eye(3).expand(*place.shape[:-1], 3, 3)
        turned.append(local if parent < 0 else turned[parent] @ local)
    for side in FOREARMS:
        turned.append(forearms[side])
        places.append(places[_AT[f"{side}_wrist"]])
    return torch.stack(turned, -3), torch.stack(places, -2)


def bone_offsets(lengths: Tensor) -> Tensor:
    """Bones at rest (24, 3), metres, of somebody whose kinds of bones are ``lengths`` (9,) times the mean person's."""
    scale = torch.stack([lengths[kind] if kind >= 0 else torch.ones(()) for kind in KIND])
    return STEPS * scale[:, None]


def local_rotations(turned: Tensor) -> Tensor:
    """Local rotations (..., 24, 3, 3) of the joints from their rotations in the world (..., 26, 3, 3)."""
    joints = turned[..., :JOINTS, :, :]
    above = joints[..., np.maximum(PARENTS, 0).tolist(), :, :].transpose(-1, -2)
    local = above @ joints
    return torch.cat([joints[..., :1, :, :], local[..., 1:, :, :]], -3)
