"""One clip of human motion, and its change to another body's rest pose.

Rotations of a clip are LOCAL (relative to the parent joint) and say how far a joint has turned from a rest pose, so
they mean nothing without it. Two rest poses are in use:

- ``"canonical"``: the ideal T-pose, facing +z, y up, the person's left at +x, arms exactly along x and legs exactly
  along -y. Every reader of this package delivers it.
- ``"body"``: the rest pose of one body's own template, whose limbs are a few degrees off that ideal.

The same rotations on another rest pose would point the limbs a few degrees wrong: ``adapt_clips`` corrects it once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from body.joints import JOINT_NAMES, JOINTS, PARENTS
from common.arrays import AnyArray, DoubleArray, FloatArray
from common.errors import UserError
from training.motion import rotations as rot

LEG_LENGTH: Final = 0.815
"""Hip to knee to ankle in metres: the legs that the pelvis track of a canonical clip belongs to."""

ANKLE_HEIGHT: Final = 0.075
"""Height of the ankle joint above the sole of a standing adult, metres."""

_BLOCK: Final = 8192

RestPose = Literal["canonical", "body"]


class MotionError(UserError, ValueError):
    """A motion file, folder or pack cannot be used; the message says which one, why, and what to do."""


@dataclass(frozen=True)
class Clip:
    """One take of one person."""

    name: str
    """Unique within its set."""
    subject: str
    """The person; all clips of one are in the same split."""
    category: str
    """Coarse kind of motion ("walk", "dance"); empty where unknown."""
    licence: str
    """Terms of use, in words."""
    split: str
    """"train", "val" or "test" (a set may have others)."""
    fps: float
    """Frame rate, frames/s."""
    rotations: FloatArray
    """float32 (N, 24, 3), local axis-angle in radians, SMPL joint order; joint 0 turns the body into the world (y up)."""
    pelvis: FloatArray
    """float32 (N, 3), metres: world position of the pelvis JOINT, y up, floor at 0. SMPL's ``transl`` is this less the
    pelvis joint of the resting body."""
    weight: float
    """How often to draw the clip, relative to others; proportional to its length where nothing is known."""
    free: bool = False
    """Whether weights trained on it may be given away for any use."""
    rest: RestPose = "canonical"
    """The rest pose that ``rotations`` refer to (see the module)."""
    source: str = ""
    """The collection it comes from; empty where unknown."""

    def __post_init__(self) -> None:
        frames = len(self.rotations)
        if self.rotations.shape != (frames, JOINTS, 3) or self.pelvis.shape != (frames, 3):
            raise ValueError(
                f"clip {self.name!r}: rotations {self.rotations.shape} and pelvis {self.pelvis.shape} should be "
                f"(N, {JOINTS}, 3) and (N, 3) with one N"
            )

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.rotations)

    @property
    def seconds(self) -> float:
        """Length of the take."""
        return self.frames / self.fps


_LEFT, _RIGHT, _DOWN = (1.0, 0.0, 0.0), (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)

CANONICAL_BONES: Final[tuple[tuple[int, int, tuple[float, float, float]], ...]] = tuple(
    (JOINT_NAMES.index(joint), JOINT_NAMES.index(child), direction)
    for joint, child, direction in (
        ("left_hip", "left_knee", _DOWN),
        ("right_hip", "right_knee", _DOWN),
        ("left_knee", "left_ankle", _DOWN),
        ("right_knee", "right_ankle", _DOWN),
        ("left_shoulder", "left_elbow", _LEFT),
        ("right_shoulder", "right_elbow", _RIGHT),
        ("left_elbow", "left_wrist", _LEFT),
        ("right_elbow", "right_wrist", _RIGHT),
        ("left_wrist", "left_hand", _LEFT),
        ("right_wrist", "right_hand", _RIGHT),
    )
)
"""Bones whose canonical rest direction is exact: (joint that turns the bone, joint at its end, unit direction)."""


def adapt_rest_pose(rotations: npt.ArrayLike, rest_joints: npt.ArrayLike) -> FloatArray:
    """Re-express rotations made for the canonical T-pose for a body with another rest pose.

    Afterwards thighs, shins, upper arms, forearms and hands of that body point exactly where they pointed in the data;
    spine, feet, collars and head are left as they are, because their canonical rest directions are no one body's.

    Args:
        rotations: (..., 24, 3) local axis-angle, radians, referring to the canonical T-pose.
        rest_joints: (24, 3) joints of the body at rest in metres, y up, facing +z; the origin does not matter.

    Returns:
        float32 (..., 24, 3) local axis-angle, radians, referring to ``rest_joints``.

    Raises:
        ValueError: A shape is wrong, or a rest bone has no length or points away from the T-pose.
    """
    aa, rest = _checked(rotations, rest_joints)
    before, after = rest_turns(rest)
    return rot.to_axis_angle(rot.multiply(rot.multiply(before, rot.from_axis_angle(aa)), after)).astype(np.float32)


def rest_turns(rest_joints: npt.ArrayLike) -> tuple[DoubleArray, DoubleArray]:
    """Quaternions (24, 4) ``before`` and ``after``: a local rotation L that refers to the canonical T-pose is
    ``before L after`` for a body with joints (24, 3) at rest.

    Raises:
        ValueError: As ``adapt_rest_pose``.
    """
    correction = _corrections(np.asarray(rest_joints, np.float64))
    # A world rotation G becomes G C, therefore a local one becomes inverse(C of the parent) L C: no chain is needed.
    return rot.inverse(_of_parents(correction)), correction


def canonical_rotations(rotations: npt.ArrayLike, rest_joints: npt.ArrayLike) -> FloatArray:
    """Undo ``adapt_rest_pose``: rotations (..., 24, 3) of a body with ``rest_joints`` (24, 3) to the canonical T-pose.

    Raises:
        ValueError: As ``adapt_rest_pose``.
    """
    aa, rest = _checked(rotations, rest_joints)
    correction = _corrections(rest)
    local = rot.multiply(rot.multiply(_of_parents(correction), rot.from_axis_angle(aa)), rot.inverse(correction))
    return rot.to_axis_angle(local).astype(np.float32)


def _checked(rotations: npt.ArrayLike, rest_joints: npt.ArrayLike) -> tuple[AnyArray, DoubleArray]:
    aa, rest = np.asarray(rotations), np.asarray(rest_joints, np.float64)
    if aa.shape[-2:] != (JOINTS, 3) or rest.shape != (JOINTS, 3):
        raise ValueError(f"rotations {aa.shape} and rest_joints {rest.shape} should be (..., {JOINTS}, 3) and (24, 3)")
    return aa, rest


def _corrections(rest: DoubleArray) -> DoubleArray:
    """Return for each joint (24, 4) the turn that takes the body's rest bone to the canonical one."""
    correction = np.zeros((JOINTS, 4))
    correction[:, 0] = 1.0
    for joint, child, direction in CANONICAL_BONES:
        correction[joint] = rot.between(rest[child] - rest[joint], direction)
    for side in ("left", "right"):
        # The hand goes with the wrist; otherwise the fingers would be bent against the back of the hand.
        correction[JOINT_NAMES.index(f"{side}_hand")] = correction[JOINT_NAMES.index(f"{side}_wrist")]
    return correction


def _of_parents(correction: DoubleArray) -> DoubleArray:
    before = correction[list(PARENTS)]
    before[0] = (1.0, 0.0, 0.0, 0.0)
    return before


def joint_positions(rotations: npt.ArrayLike, pelvis: npt.ArrayLike, rest_joints: npt.ArrayLike) -> DoubleArray:
    """Forward kinematics.

    Args:
        rotations: (..., 24, 3) local axis-angle, radians, referring to ``rest_joints``.
        pelvis: (..., 3) world position of the pelvis joint, metres.
        rest_joints: (24, 3) joints at rest, metres.

    Returns:
        float64 (..., 24, 3) joints in the world, metres.
    """
    rest = np.asarray(rest_joints, np.float64)
    world = rot.globals_from_locals(rot.from_axis_angle(rotations), PARENTS)
    positions = np.empty((*world.shape[:-1], 3))
    positions[..., 0, :] = pelvis
    for joint, parent in enumerate(PARENTS):
        if parent >= 0:
            bone = rot.rotate(world[..., parent, :], rest[joint] - rest[parent])
            positions[..., joint, :] = positions[..., parent, :] + bone
    return positions


def lowest_contact(joints: DoubleArray, ankle_height: float = ANKLE_HEIGHT) -> DoubleArray:
    """Estimate the height of the body's lowest point from joints (..., 24, 3); metres (...), y up.

    A sole is ``ankle_height`` under its ankle and 2 cm under the ball of the foot; elsewhere flesh is 5 cm thick.
    """
    ankles = np.min(joints[..., [7, 8], 1], axis=-1) - ankle_height
    feet = np.min(joints[..., [10, 11], 1], axis=-1) - 0.02
    others = [joint for joint in range(JOINTS) if joint not in (7, 8, 10, 11)]
    rest = np.min(joints[..., others, 1], axis=-1) - 0.05
    lowest: DoubleArray = np.minimum(np.minimum(ankles, feet), rest)
    return lowest


def leg_length(rest_joints: npt.ArrayLike) -> float:
    """Return hip to knee to ankle in metres, mean of both legs, of resting joints (24, 3)."""
    rest = np.asarray(rest_joints, np.float64)
    bones = ((1, 4), (4, 7), (2, 5), (5, 8))
    return 0.5 * float(sum(np.linalg.norm(rest[child] - rest[joint]) for joint, child in bones))


def adapt_clips(clips: Sequence[Clip], rest_joints: npt.ArrayLike, ankle_height: float = ANKLE_HEIGHT) -> list[Clip]:
    """Give canonical clips to a body: rest pose, stride and floor.

    The pelvis track is scaled with the body's legs (long legs take long steps); then each clip is moved up or down
    until the 5th percentile of its lowest contact lies on the floor, so that it does not matter where the clip's source
    had it.

    Args:
        clips: Clips with ``rest == "canonical"``.
        rest_joints: (24, 3) joints of the body at rest, metres, y up, facing +z.
        ankle_height: Of the body's ankle joint above its sole, metres.

    Raises:
        ValueError: A clip has been adapted before, or the rest pose is unusable.
    """
    adapted: list[Clip] = []
    for block in _blocks(clips):
        for clip in block:
            if clip.rest != "canonical":
                raise ValueError(
                    f"clip {clip.name!r} already refers to a body's rest pose; adapt the original clip instead"
                )
        rotations = adapt_rest_pose(np.concatenate([clip.rotations for clip in block]), rest_joints)
        pelvis = np.concatenate([clip.pelvis for clip in block]).astype(np.float64)
        pelvis *= leg_length(rest_joints) / LEG_LENGTH
        contact = lowest_contact(joint_positions(rotations, pelvis, rest_joints), ankle_height)
        stop = 0
        for clip in block:
            start, stop = stop, stop + clip.frames
            place = pelvis[start:stop]
            place[:, 1] -= np.percentile(contact[start:stop], 5)
            adapted.append(replace(clip, rotations=rotations[start:stop], pelvis=place.astype(np.float32), rest="body"))
    return adapted


def _blocks(clips: Sequence[Clip]) -> Iterator[list[Clip]]:
    """Groups of neighbouring clips, since many clips are too short for numpy: `_BLOCK` frames, or one clip's."""
    block: list[Clip] = []
    frames = 0
    for clip in clips:
        if block and frames + clip.frames > _BLOCK:
            yield block
            block, frames = [], 0
        block.append(clip)
        frames += clip.frames
    if block:
        yield block
