"""From a captured skeleton to local rotations of the 24 joints and the track of the pelvis."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from body.joints import JOINT_NAMES, JOINTS, PARENTS
from common.arrays import DoubleArray
from training.motion import rotations as rot
from training.motion.clip import ANKLE_HEIGHT, LEG_LENGTH, Clip, MotionError
from training.motion.collars import collar_turns
from training.motion.dialects import Dialect, recognise
from training.motion.source import SourceMotion

PELVIS_ABOVE_HIPS: Final = 0.085
"""Height of the pelvis joint above the line between the hip joints, metres."""

ELBOW_SHARE: Final = 0.6
"""Part of the forearm's pronation that the elbow joint carries; the wrist has the rest."""

_SIDES: Final = (("left", 1.0), ("right", -1.0))
_UP, _LEFT = np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])

# Where spine1, spine2 and spine3 lie between pelvis (0), first (1), second (2), ... joint of the source's spine.
_SPINE_PLACES: Final = {1: (1 / 3, 2 / 3, 1.0), 2: (0.5, 1.0, 2.0)}


def clip_from_source(source: SourceMotion, path: Path, subject: str) -> Clip:
    """Retarget a skeleton to a clip named after its file; see ``retarget``.

    Raises:
        MotionError: The skeleton cannot be retargeted; the message names the file.
    """
    try:
        local, pelvis = retarget(source)
    except MotionError as error:
        raise MotionError(f"{path}: {error}") from error
    return Clip(
        name=path.stem,
        subject=subject or subject_of(path),
        category="",
        licence="unknown",
        split="train",
        fps=source.fps,
        rotations=rot.to_axis_angle(local).astype(np.float32),
        pelvis=pelvis.astype(np.float32),
        weight=float(len(local)),
        source=recognise(source)[0].source,
    )


def subject_of(path: Path) -> str:
    """The person by a file's name: the number before the first underscore ("02_03.bvh"), else the folder.

    Leading zeros do not count, so that two conversions of one database agree on their people.
    """
    match = re.match(r"0*(\d+)_", path.stem)
    name = match.group(1) if match else path.resolve().parent.name
    return name.lstrip("0") or name


def retarget(source: SourceMotion) -> tuple[DoubleArray, DoubleArray]:
    """Express the motion by the 24 joints.

    Thighs, shins, upper arms and forearms keep their directions exactly. Elbows become hinges about the vertical of the
    T-pose; the forearm's pronation is shared between elbow and wrist; collars that the source never moves get a part of
    the arm's motion, as a shoulder blade does; hands are straight.

    Returns:
        Local quaternions (M, 24, 4) referring to the canonical T-pose, and the pelvis joint (M, 3) in metres for legs
        of ``LEG_LENGTH``, standing on y = 0, the first frame at x = z = 0. M is less than the source's N where the
        take begins with a T-pose that does not belong to it.

    Raises:
        MotionError: Unknown joint names, or the zero pose is not upright with the left side towards +x.
    """
    dialect, joints = recognise(source)
    _check_zero_pose(source, joints)
    world = np.zeros((source.frames, JOINTS, 4))
    world[..., 0] = 1.0
    _place_spine(world, source, joints)
    for name in ("neck", "head"):
        _put(world, name, source.rotations[:, joints[name]], dialect.turns.get(name), 1.0)
    for side, sign in _SIDES:
        _place_limbs(world, source, dialect, joints, side, sign)
    twist_arms(world, None if dialect.humerus_twist is None else np.deg2rad(dialect.humerus_twist))
    share_pronation(world)
    if "left_collar" not in joints or _is_fixed(world, "left_collar") or _is_fixed(world, "right_collar"):
        move_collars(world)
    local, pelvis = rot.locals_from_globals(world, PARENTS), _pelvis_track(world, source, joints)
    skip = max(1, round(dialect.lead_in * source.fps)) if dialect.lead_in > 0.0 else 0
    if 0 < skip < len(local) and _is_t_pose(world[0]):
        local, pelvis = local[skip:], pelvis[skip:]
    pelvis[:, [0, 2]] -= pelvis[0, [0, 2]]
    return local, pelvis


def twist_arms(world: DoubleArray, twist: float | None) -> None:
    """Turn the upper arms about themselves until the elbow's hinge is the vertical of the T-pose. In place.

    Args:
        world: (N, 24, 4) rotations in the world.
        twist: Radians about the left upper arm's +x (and the right one's); None measures it: a bending left elbow moves
            the forearm from +x towards +z of the upper arm. Arms that hardly bend are left alone.
    """
    for side, sign in _SIDES:
        shoulder = JOINT_NAMES.index(f"{side}_shoulder")
        angle = twist
        if angle is None:
            forearm = rot.multiply(rot.inverse(world[:, shoulder]), world[:, JOINT_NAMES.index(f"{side}_elbow")])
            mean = rot.rotate(forearm, sign * _LEFT)[:, 1:].mean(axis=0)
            # About +x, +z turns towards -y.
            angle = float(np.arctan2(-mean[0], mean[1])) if np.hypot(*mean) > 0.2 else 0.0
        world[:, shoulder] = rot.multiply(world[:, shoulder], rot.about("x", np.asarray(angle)))


def share_pronation(world: DoubleArray) -> None:
    """Share the forearm's twist between elbow and wrist (``ELBOW_SHARE``). In place; world (N, 24, 4).

    With all of it in the wrist the skin would be wrung. Bones and the hand's world rotation stay.
    """
    for side, _ in _SIDES:
        shoulder, elbow, wrist = (JOINT_NAMES.index(f"{side}_{part}") for part in ("shoulder", "elbow", "wrist"))
        at_elbow = _twist_about_x(rot.multiply(rot.inverse(world[:, shoulder]), world[:, elbow]))
        at_wrist = _twist_about_x(rot.multiply(rot.inverse(world[:, elbow]), world[:, wrist]))
        total = np.unwrap(at_elbow + at_wrist)
        total -= 2.0 * np.pi * np.round(np.median(total) / (2.0 * np.pi))
        # Nobody's hand turns further; what lies beyond is noise.
        total = np.clip(total, -2.6, 2.6)
        world[:, elbow] = rot.multiply(world[:, elbow], rot.about("x", ELBOW_SHARE * total - at_elbow))


def move_collars(world: DoubleArray) -> None:
    """Let the collars follow the arms as people's do (`training.motion.collars`). In place; world (N, 24, 4).

    The upper arm's world rotation stays, so that no bone of the arm changes its direction.
    """
    chest = world[:, JOINT_NAMES.index("spine3")]
    for side, sign in _SIDES:
        arm = rot.multiply(rot.inverse(chest), world[:, JOINT_NAMES.index(f"{side}_shoulder")])
        turn = collar_turns(Rotation.from_quat(arm, scalar_first=True), sign).as_quat(scalar_first=True)
        world[:, JOINT_NAMES.index(f"{side}_collar")] = rot.multiply(chest, turn)


def _check_zero_pose(source: SourceMotion, joints: dict[str, int]) -> None:
    zero = np.zeros_like(source.offsets)
    for joint, parent in enumerate(source.parents):
        if parent >= 0:
            zero[joint] = zero[parent] + source.offsets[joint]
    hips = zero[joints["left_hip"]] - zero[joints["right_hip"]]
    up = zero[joints["neck"]] - 0.5 * (zero[joints["left_hip"]] + zero[joints["right_hip"]])
    for what, vector, axis in (("the left hip at +x", hips, _LEFT), ("the neck at +y", up, _UP)):
        if vector @ axis < 0.7 * np.linalg.norm(vector) or not np.any(vector):
            raise MotionError(
                f"the zero pose should stand upright and face +z, {what}; export it with such a rest pose"
            )


def _place_spine(world: DoubleArray, source: SourceMotion, joints: dict[str, int]) -> None:
    chain = [joints["pelvis"]]
    while f"spine_{len(chain) - 1}" in joints:
        chain.append(joints[f"spine_{len(chain) - 1}"])
    count = len(chain) - 1
    world[:, 0] = source.rotations[:, chain[0]]
    for number, place in enumerate(_SPINE_PLACES.get(count, (count / 3, 2 * count / 3, float(count))), start=1):
        below = min(int(place), count - 1)
        lower, upper = source.rotations[:, chain[below]], source.rotations[:, chain[below + 1]]
        world[:, JOINT_NAMES.index(f"spine{number}")] = rot.slerp(lower, upper, np.asarray(place - below))


def _place_limbs(
    world: DoubleArray, source: SourceMotion, dialect: Dialect, joints: dict[str, int], side: str, sign: float
) -> None:
    none = np.array([1.0, 0.0, 0.0, 0.0])
    bends = dict.fromkeys(("hip", "knee", "ankle", "foot", "shoulder", "elbow", "wrist"), none)
    if dialect.bones == "offsets":
        for joint, child, direction in (
            ("hip", "knee", -_UP),
            ("knee", "ankle", -_UP),
            ("shoulder", "elbow", sign * _LEFT),
            ("elbow", "wrist", sign * _LEFT),
        ):
            bends[joint] = _bend(direction, source.offsets[joints[f"{side}_{child}"]], f"{side} {joint}")
        # Feet go with the thigh that they were drawn under, hands with the forearm.
        bends["ankle"] = bends["foot"] = bends["hip"]
        bends["wrist"] = bends["elbow"]
    for part, bend in bends.items():
        carrier = joints.get(f"{side}_{part}", joints[f"{side}_ankle"])
        _put(world, f"{side}_{part}", rot.multiply(source.rotations[:, carrier], bend), dialect.turns.get(part), sign)
    world[:, JOINT_NAMES.index(f"{side}_hand")] = world[:, JOINT_NAMES.index(f"{side}_wrist")]
    collar = joints.get(f"{side}_collar")
    chest = world[:, JOINT_NAMES.index("spine3")]
    world[:, JOINT_NAMES.index(f"{side}_collar")] = chest if collar is None else source.rotations[:, collar]


def _bend(canonical: DoubleArray, bone: DoubleArray, name: str) -> DoubleArray:
    try:
        return rot.between(canonical, bone)
    except ValueError as error:
        raise MotionError(f"the zero pose's {name} bone is unusable: {error}") from error


def _put(world: DoubleArray, name: str, rotations: DoubleArray, turn: tuple[str, float] | None, sign: float) -> None:
    if turn is not None:
        axis, degrees = turn
        rotations = rot.multiply(rotations, rot.about(axis, np.deg2rad(degrees if axis == "x" else sign * degrees)))
    world[:, JOINT_NAMES.index(name)] = rotations


def _twist_about_x(quaternions: DoubleArray) -> DoubleArray:
    angle = 2.0 * np.arctan2(quaternions[..., 1], quaternions[..., 0])
    wrapped: DoubleArray = (angle + np.pi) % (2.0 * np.pi) - np.pi
    return wrapped


def _is_fixed(world: DoubleArray, name: str) -> bool:
    """Tell whether a joint never moves against the chest by more than about a degree."""
    local = rot.multiply(rot.inverse(world[:, JOINT_NAMES.index("spine3")]), world[:, JOINT_NAMES.index(name)])
    return bool(np.abs(local @ local[0]).min() > np.cos(np.deg2rad(0.5)))


def _is_t_pose(world: DoubleArray) -> bool:
    """Tell whether one frame (24, 4) has both arms sideways and straight, and both legs down; within 20 degrees."""
    bones = [(f"{side}_{part}", sign * _LEFT) for side, sign in _SIDES for part in ("shoulder", "elbow")]
    bones += [(f"{side}_{part}", -_UP) for side, _ in _SIDES for part in ("hip", "knee")]
    pelvis = rot.inverse(world[0])
    cosines = [
        rot.rotate(rot.multiply(pelvis, world[JOINT_NAMES.index(name)]), direction) @ direction
        for name, direction in bones
    ]
    return bool(min(cosines) > np.cos(np.deg2rad(20.0)))


def _pelvis_track(world: DoubleArray, source: SourceMotion, joints: dict[str, int]) -> DoubleArray:
    bones = [f"{side}_{part}" for side, _ in _SIDES for part in ("knee", "ankle")]
    leg = 0.5 * float(sum(np.linalg.norm(source.offsets[joints[name]]) for name in bones))
    if leg <= 0.0:
        raise MotionError("the legs have no length")
    positions = source.positions * (LEG_LENGTH / leg)
    hips = 0.5 * (positions[:, joints["left_hip"]] + positions[:, joints["right_hip"]])
    pelvis = hips + rot.rotate(world[:, 0], PELVIS_ABOVE_HIPS * _UP)
    ankles = np.minimum(positions[:, joints["left_ankle"], 1], positions[:, joints["right_ankle"], 1])
    lowest = np.minimum(ankles - ANKLE_HEIGHT, positions[..., 1].min(axis=-1))
    pelvis[:, 1] -= np.percentile(lowest, 5)
    return np.asarray(pelvis)
