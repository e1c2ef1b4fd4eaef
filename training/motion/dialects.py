"""Tables of joint names: which joint of a captured skeleton is which of the 24.

A skeleton's ZERO pose (every rotation zero) is seldom the canonical T-pose. There are two corrections. Where rotations refer
to the zero pose's bones, limbs are turned from the bones' own directions ("offsets"). Where they do not, corrections are
constants of that collection ("fixed"): in the Daz-friendly conversion of the CMU database forearms are bent by 17 degrees
in a zero pose that means straight ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from training.motion.clip import MotionError
from training.motion.source import SourceMotion

AxisTurn = tuple[Literal["x", "y", "z"], float]
"""A correction in degrees. For a left joint as written; a right joint gets its mirror image (y and z change sign)."""


@dataclass(frozen=True)
class Dialect:
    """One way of naming the joints. Names are simplified (``source.simplify``); alternatives are tried in order."""

    name: str
    """Name for messages."""
    middle: Mapping[str, tuple[str, ...]]
    """Names of "pelvis", "neck" and "head"."""
    spine: tuple[str, ...]
    """Joints between pelvis and neck, lowest first; those that a file lacks are left out."""
    limbs: Mapping[str, tuple[str, ...]]
    """Names of "hip", "knee", ... with ``{}`` for the side. "foot" and "collar" may be missing in a file."""
    sides: tuple[str, str]
    """What replaces ``{}`` on the left and on the right."""
    needs: tuple[str, ...] = ()
    """Joints that tell this dialect from others with the same names."""
    bones: Literal["offsets", "fixed"] = "offsets"
    """How limbs are brought to the T-pose (see the module)."""
    turns: Mapping[str, AxisTurn] = field(default_factory=dict)
    """Constant corrections by joint ("hip", "neck", ...), applied after the zero pose's rotation."""
    humerus_twist: float | None = None
    """Degrees about the left upper arm that bring the elbow's hinge into the canonical place; None measures it in every
    clip."""
    lead_in: float = 0.0
    """Seconds to leave out where a file begins with a T-pose that is not part of the take."""
    source: str = ""
    """The collection whose skeletons these are; empty where anybody's may be."""

    def locate(self, source: SourceMotion) -> dict[str, int] | None:
        """Return joint indices by "pelvis", "left_hip", ..., "spine_0", ...; None if a needed joint is missing."""
        keys = source.keys()
        wanted = dict(self.middle)
        for part, names in self.limbs.items():
            for side, prefix in zip(("left", "right"), self.sides, strict=True):
                wanted[f"{side}_{part}"] = tuple(name.format(prefix) for name in names)
        found = {part: keys[name] for part, names in wanted.items() for name in reversed(names) if name in keys}
        missing = {part for part in wanted if part not in found and not part.endswith(("foot", "collar"))}
        spine = [keys[name] for name in self.spine if name in keys]
        if missing or not spine or any(name not in keys for name in self.needs):
            return None
        return found | {f"spine_{index}": joint for index, joint in enumerate(spine)}


_MOTIONBUILDER_LIMBS: Final = {
    "hip": ("{}upleg",),
    "knee": ("{}leg",),
    "ankle": ("{}foot",),
    "foot": ("{}toebase", "{}toe"),
    "collar": ("{}shoulder",),
    "shoulder": ("{}arm",),
    "elbow": ("{}forearm",),
    "wrist": ("{}hand",),
}

CMU_MOTIONBUILDER: Final = Dialect(
    name="CMU, MotionBuilder-friendly",
    middle={"pelvis": ("hips",), "neck": ("neck",), "head": ("head",)},
    spine=("lowerback", "spine", "spine1"),
    limbs=_MOTIONBUILDER_LIMBS,
    sides=("left", "right"),
    needs=("lhipjoint", "rhipjoint", "neck1"),
    # In this skeleton a person who looks ahead has the neck pitched by 16 degrees one way and the head the other way;
    # the T-pose that begins every file of the conversion shows it.
    turns={"neck": ("x", 16.0), "head": ("x", -16.0)},
    # The elbow's axis is 30 degrees off the vertical in the T-pose.
    humerus_twist=-30.0,
    lead_in=0.01,
    source="CMU",
)

CMU_DAZ: Final = Dialect(
    name="CMU, Daz-friendly",
    middle={"pelvis": ("hip",), "neck": ("neck",), "head": ("head",)},
    spine=("abdomen", "chest"),
    limbs={
        "hip": ("{}thigh",),
        "knee": ("{}shin",),
        "ankle": ("{}foot",),
        "collar": ("{}collar",),
        "shoulder": ("{}shldr",),
        "elbow": ("{}forearm",),
        "wrist": ("{}hand",),
    },
    sides=("l", "r"),
    bones="fixed",
    # Measured on takes that exist in the MotionBuilder-friendly conversion too.
    turns={
        "shoulder": ("z", -7.7),
        "elbow": ("z", -7.7),
        "wrist": ("z", -7.7),
        "hip": ("x", 5.0),
        "knee": ("x", 4.3),
    },
    humerus_twist=-30.0,
    # The T-pose blends into the take.
    lead_in=0.1,
    source="CMU",
)

MOTIONBUILDER: Final = Dialect(
    name="MotionBuilder",
    middle={"pelvis": ("hips",), "neck": ("neck",), "head": ("head",)},
    spine=("lowerback", "spine", "spine1", "spine2", "spine3"),
    limbs=_MOTIONBUILDER_LIMBS,
    sides=("left", "right"),
)

MAX: Final = Dialect(
    name="3ds Max Biped",
    middle={"pelvis": ("hips",), "neck": ("neck",), "head": ("head",)},
    spine=("chest", *(f"chest{number}" for number in range(2, 8))),
    limbs={
        "hip": ("{}hip", "{}upleg"),
        "knee": ("{}knee", "{}lowleg"),
        "ankle": ("{}ankle", "{}foot"),
        "foot": ("{}toe",),
        "collar": ("{}collar",),
        "shoulder": ("{}shoulder", "{}uparm"),
        "elbow": ("{}elbow", "{}lowarm"),
        "wrist": ("{}wrist", "{}hand"),
    },
    sides=("left", "right"),
    lead_in=0.01,
)

DIALECTS: Final = (CMU_MOTIONBUILDER, CMU_DAZ, MOTIONBUILDER, MAX)


def recognise(source: SourceMotion) -> tuple[Dialect, dict[str, int]]:
    """Find the dialect of a skeleton and its joints.

    Raises:
        MotionError: None fits.
    """
    for dialect in DIALECTS:
        joints = dialect.locate(source)
        if joints is not None:
            return dialect, joints
    known = ", ".join(dialect.name for dialect in DIALECTS)
    raise MotionError(
        f"joint names of no known naming ({known}): {', '.join(source.names[:8])}, ...; "
        "rename the joints or add a table to training/motion/dialects.py"
    )
