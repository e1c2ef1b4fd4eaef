"""How far two motion files are apart: the same people in the same frames, in the units of the literature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from common.arrays import BoolArray, DoubleArray, FloatArray, Int64Array
from common.errors import UserError
from formats.joint_angles import COLUMNS, angles_of
from formats.motion import Motion
from formats.tracks import LOST_S, MotionTrack

FLEXIONS: Final = {
    "lumbar": ("lumbar_extension",),
    "hip": ("hip_flexion_r", "hip_flexion_l"),
    "knee": ("knee_angle_r", "knee_angle_l"),
    "ankle": ("ankle_angle_r", "ankle_angle_l"),
    "shoulder": ("arm_flex_r", "arm_flex_l"),
    "elbow": ("elbow_flex_r", "elbow_flex_l"),
}
"""Flexion and extension of the large joints, by their columns in `formats.joint_angles`."""

_SAME_END_S: Final = (
    0.5  # seconds: motions of one video end that close together, though the last frames may be without people
)
_SAME_SHAPE: Final = 0.02  # part of the aspect ratio


@dataclass(frozen=True, slots=True, eq=False)
class PersonDifference:
    """One person of two motions, in the T frames that both have. Differences are float64, one value a frame, means over
    the 24 joints."""

    people: tuple[int, int]
    """The person's numbers in the two files."""
    frame: Int64Array
    """(T,) the first file's."""
    time_s: DoubleArray
    """(T,) the first file's, seconds."""
    distance_mm: DoubleArray
    """(T,) distance in the camera frame, or of the two tracks laid on each other where a motion has no camera, mm."""
    mpjpe_mm: DoubleArray
    """(T,) with the pelvises at one place."""
    pa_mpjpe_mm: DoubleArray
    """(T,) after the similarity (rotation, scale, shift) that fits best in that frame."""
    acceleration: DoubleArray
    """(T,) difference in m/s², in the same frame of reference; NaN where a frame has no neighbour on a side."""
    rotation_deg: DoubleArray
    """(T,) angle between the rotations of each joint but the pelvis against its parent."""
    angles_deg: dict[str, float]
    """Mean difference of each of `FLEXIONS`."""


def differences(first: Motion, second: Motion) -> list[PersonDifference]:
    """The differences of two motions, for each person that is in both.

    Rows are matched by frame, and people so that the distances between their joints in the camera frame, in the mean over the
    frames they share, are least in sum. Where no camera took one of the motions, as in a BVH file, each person's whole track is
    first turned and moved onto the other one. Raises `UserError` where no two people share a frame.
    """
    pairs = {(a, b): _shared_rows(first, a, second, b) for a in first.people for b in second.people}
    costs = np.full((len(first.people), len(second.people)), np.inf)
    for (a, b), (mine, theirs) in pairs.items():
        if len(mine):
            costs[first.people.index(a), second.people.index(b)] = _mean_mm(
                np.subtract(*_joints(first, mine, second, theirs))
            ).mean()
    shared = np.isfinite(costs)
    if not shared.any():
        raise UserError(
            f"the motions of {first.source} and {second.source} share no frame with somebody in it: give two of one video"
        )
    dear = 2 * (costs[shared].sum() + 1)  # a pair without a common frame is chosen last
    chosen = zip(*linear_sum_assignment(np.where(shared, costs, dear)), strict=True)
    found = []
    for row, column in chosen:
        if shared[row, column]:
            people = first.people[row], second.people[column]
            found.append(_difference(first, second, people, *pairs[people]))
    return found


def doubts(first: Motion, second: Motion) -> list[str]:
    """Why two motions may not be of one video, one line each: frames with the same number and another time, other lengths, or
    images of another shape. Empty: nothing speaks against it."""
    found = []
    step = max((1 / motion.fps for motion in (first, second) if motion.fps > 0), default=0.04)
    _, mine, theirs = np.intersect1d(first.frame, second.frame, return_indices=True)
    times = first.time_s[mine], second.time_s[theirs]
    if len(mine) and float(np.abs(times[0] - times[1]).max()) > step / 2:
        row = int(np.abs(times[0] - times[1]).argmax())
        a, b = (float(time_s[row]) for time_s in times)
        found.append(f"frame {first.frame[mine[row]]} is at {a:.2f} s in A and at {b:.2f} s in B")
    if len(first.frame) and len(second.frame):
        ends = float(first.time_s[-1]), float(second.time_s[-1])
        if abs(ends[0] - ends[1]) > _SAME_END_S:
            found.append(f"A ends at {ends[0]:.1f} s and B at {ends[1]:.1f} s")
    shapes = [
        motion.camera_matrix[:2, 2] + 0.5 for motion in (first, second)
    ]  # half the image: the middle is looked through
    ratios = [float(half[0] / half[1]) for half in shapes]
    if abs(ratios[0] / ratios[1] - 1) > _SAME_SHAPE:
        sizes = [f"{2 * half[0]:.0f}x{2 * half[1]:.0f}" for half in shapes]
        found.append(f"A is of images of {sizes[0]} pixels and B of {sizes[1]}")
    return found


def _shared_rows(first: Motion, a: int, second: Motion, b: int) -> tuple[Int64Array, Int64Array]:
    """Rows of person ``a`` in the first motion and ``b`` in the second whose frames are the same."""
    mine, theirs = np.flatnonzero(first.person == a), np.flatnonzero(second.person == b)
    _, one, other = np.intersect1d(first.frame[mine], second.frame[theirs], return_indices=True)
    return mine[one], theirs[other]


def _difference(
    first: Motion, second: Motion, people: tuple[int, int], mine: Int64Array, theirs: Int64Array
) -> PersonDifference:
    a, b = _joints(first, mine, second, theirs)
    time_s = first.time_s[mine]
    turns = [Rotation.from_rotvec(m.body_pose[r].reshape(-1, 3)) for m, r in ((first, mine), (second, theirs))]
    between = np.degrees((turns[0].inv() * turns[1]).magnitude()).reshape(len(mine), -1)
    return PersonDifference(
        people=people,
        frame=first.frame[mine],
        time_s=time_s,
        distance_mm=_mean_mm(a - b),
        mpjpe_mm=_mean_mm((a - a[:, :1]) - (b - b[:, :1])),
        pa_mpjpe_mm=_mean_mm(_fitted(a, b) - b),
        acceleration=_acceleration(a - b, time_s),
        rotation_deg=between.mean(1),
        angles_deg=_angles(first, mine, second, theirs),
    )


def _joints(first: Motion, mine: Int64Array, second: Motion, theirs: Int64Array) -> tuple[DoubleArray, DoubleArray]:
    """The joints (T, 24, 3) of two people, m, in one frame of reference: the camera's, or the second motion's."""
    a, b = first.joints_m[mine].astype(np.float64), second.joints_m[theirs].astype(np.float64)
    if not (np.isfinite(first.camera_matrix).all() and np.isfinite(second.camera_matrix).all()):
        a = _fitted(a.reshape(1, -1, 3), b.reshape(1, -1, 3), scaled=False).reshape(a.shape)
    return a, b


def _mean_mm(apart: DoubleArray) -> DoubleArray:
    return np.asarray(np.linalg.norm(apart, axis=-1).mean(-1) * 1000)


def _fitted(points: DoubleArray, target: DoubleArray, scaled: bool = True) -> DoubleArray:
    """``points`` (T, J, 3), moved by the similarity of each frame that brings them closest to ``target`` (Umeyama 1991); if not
    ``scaled``, turned and shifted alone."""
    middle, wanted = points.mean(1, keepdims=True), target.mean(1, keepdims=True)
    centred = points - middle
    u, size, vt = np.linalg.svd(centred.transpose(0, 2, 1) @ (target - wanted))
    signs = np.ones_like(size)
    signs[:, 2] = np.sign(np.linalg.det(u @ vt))  # no mirror images
    rotation = (u * signs[:, None]) @ vt
    moved = centred @ rotation
    if scaled:
        moved = moved * ((size * signs).sum(1) / np.maximum((centred**2).sum((1, 2)), 1e-12))[:, None, None]
    return np.asarray(moved + wanted)


def _acceleration(apart: DoubleArray, time_s: DoubleArray) -> DoubleArray:
    """(T,) m/s²: length of the second derivative of ``apart`` (T, J, 3) m, a mean over joints; steps may differ in length."""
    out = np.full(len(time_s), np.nan)
    step = np.diff(time_s)
    near: BoolArray = (step > 0) & (step <= LOST_S)
    inner = np.flatnonzero(near[:-1] & near[1:]) + 1
    before, after = step[inner - 1, None, None], step[inner, None, None]
    speeds = (apart[inner] - apart[inner - 1]) / before, (apart[inner + 1] - apart[inner]) / after
    change = 2 * (speeds[1] - speeds[0]) / (before + after)
    out[inner] = np.linalg.norm(change, axis=-1).mean(-1)
    return out


def _angles(first: Motion, mine: Int64Array, second: Motion, theirs: Int64Array) -> dict[str, float]:
    tables = [angles_of(_as_track(motion, rows)) for motion, rows in ((first, mine), (second, theirs))]
    apart = np.abs((tables[0] - tables[1] + 180) % 360 - 180)
    columns = COLUMNS[-apart.shape[1] :]
    return {
        name: float(apart[:, [columns.index(column) for column in wanted]].mean()) for name, wanted in FLEXIONS.items()
    }


def _as_track(motion: Motion, rows: Int64Array) -> MotionTrack:
    """These rows of one person as they are; the root's axes do not matter to the angles of the other joints."""
    poses = np.concatenate([motion.global_orient[rows, None], motion.body_pose[rows]], 1).astype(np.float64)
    pelvis: DoubleArray = motion.transl[rows].astype(np.float64)
    betas: FloatArray = motion.betas[rows[0]]
    seen = np.ones(len(rows), np.bool_)
    return MotionTrack(int(motion.person[rows[0]]), motion.time_s[rows], poses, pelvis, betas, seen)
