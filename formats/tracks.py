"""One person's motion as exporters need it: y up, ascending in time, finite, at a constant rate where one is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from body.joints import JOINT_NAMES
from body.lbs import NumpyBody
from body.model import BodyArrays
from common.arrays import AnyArray, AnyFloatArray, BoolArray, DoubleArray, FloatArray, Int64Array
from common.errors import UserError
from formats.axes import Y_UP
from formats.endings import ReferenceFrame
from formats.motion import MOTION_VERSION, Motion

LOST_S: Final = 0.25
"""Somebody who has not been seen for longer was lost: nothing is interpolated in between."""
_MAX_ROWS: Final = 20_000
_MAX_HELD: Final = 20
"""A file at a constant rate may have so many rows, or so many for each that was seen, before it is refused."""
_OFF_GRID_S: Final = 1e-3
"""Timestamps may be off a constant rate by so much and still count as constant: files store milliseconds."""


@dataclass(frozen=True, slots=True, eq=False)
class MotionTrack:
    """One person's motion of N rows, in a frame with y up, metres and radians; every value is finite."""

    person: int
    """The person's number in the motion file."""
    time_s: DoubleArray
    """float64 (N,) strictly increasing, seconds of the source."""
    rotations: DoubleArray
    """float64 (N, 24, 3) axis-angle, the root's first, which takes the body's rest frame to the frame with y up."""
    pelvis: DoubleArray
    """float64 (N, 3) pelvis joint, metres."""
    betas: FloatArray
    """float32 (10,) one shape, the median of all rows."""
    seen: BoolArray
    """bool (N,) False where a row fills a gap."""

    def joints(self, arrays: BodyArrays) -> FloatArray:
        """(N, 24, 3) float32 metres, in the same frame."""
        body = NumpyBody(arrays)
        body.set_shape(self.betas)
        rows = [
            body.joints_only(turns[0], turns[1:], pelvis)
            for turns, pelvis in zip(self.rotations, self.pelvis, strict=True)
        ]
        return np.array(rows, np.float32).reshape(-1, len(JOINT_NAMES), 3)

    def rows(self, chosen: Int64Array | BoolArray | slice) -> MotionTrack:
        """The track with these rows alone."""
        return replace(
            self,
            time_s=self.time_s[chosen],
            rotations=self.rotations[chosen],
            pelvis=self.pelvis[chosen],
            seen=self.seen[chosen],
        )

    def segments(self) -> list[MotionTrack]:
        """The track cut where the person was not seen for more than `LOST_S`."""
        cuts = np.flatnonzero(np.diff(self.time_s) > LOST_S) + 1
        return [self.rows(rows) for rows in np.split(np.arange(len(self.time_s)), cuts)]


class MotionTracks(NamedTuple):
    """The people of a motion."""

    people: list[MotionTrack]
    """A track each."""
    frame: ReferenceFrame
    """Frame of reference of the tracks."""
    remarks: list[str]
    """Which rows were left out, for the user."""


def tracks_of(motion: Motion, frame: ReferenceFrame | None = None, person: int | None = None) -> MotionTracks:
    """The people of a motion.

    ``frame`` None takes the world's where the motion has one. ``person`` takes one alone. Rows with a value that is not
    finite are left out, and so is a second row of one person at the same time; a remark says how many.

    Raises `UserError` when nobody is in the motion, ``person`` is not, or the world's frame is asked for and not known.
    """
    frame = frame_of_reference(motion, frame)
    if not motion.people:
        raise UserError(f"nobody is in the motion of {motion.source}: there is nothing to write")
    if person is not None and person not in motion.people:
        there = ", ".join(map(str, motion.people))
        raise UserError(f"person {person} is not in the motion of {motion.source}: these are: {there}")
    orient: AnyFloatArray = motion.global_orient
    pelvis = np.asarray(motion.transl @ Y_UP, np.float64)
    if frame == "world":
        assert motion.world_global_orient is not None
        assert motion.world_transl is not None
        orient, pelvis = motion.world_global_orient, np.asarray(motion.world_transl, np.float64)
    remarks: list[str] = []
    found: list[MotionTrack] = []
    for number in motion.people if person is None else [person]:
        rows = np.flatnonzero(motion.person == number)
        poses = np.concatenate([orient[rows, None], motion.body_pose[rows]], 1).astype(np.float64)
        finite = np.isfinite(motion.time_s[rows]) & np.isfinite(poses).all((1, 2)) & np.isfinite(pelvis[rows]).all(1)
        finite &= np.isfinite(motion.betas[rows]).all(1)
        kept = _ascending(motion.time_s, rows[finite])
        for count, why in (
            (len(rows) - int(finite.sum()), "with values that are not finite"),
            (int(finite.sum()) - len(kept), "at a time that it already has"),
        ):
            if count:
                remarks.append(f"person {number}: {count} {'row' if count == 1 else 'rows'} {why} left out")
        if not len(kept):
            continue
        poses = poses[np.searchsorted(rows, kept)]
        if frame == "camera":
            poses[:, 0] = (Rotation.from_matrix(Y_UP) * Rotation.from_rotvec(poses[:, 0])).as_rotvec()
        betas = np.median(motion.betas[kept], axis=0).astype(np.float32)
        found.append(MotionTrack(number, motion.time_s[kept], poses, pelvis[kept], betas, np.ones(len(kept), np.bool_)))
    if not found:
        raise UserError(f"no row of the motion of {motion.source} has finite values: there is nothing to write")
    return MotionTracks(found, frame, remarks)


def frame_of_reference(motion: Motion, wanted: ReferenceFrame | None) -> ReferenceFrame:
    """The frame to export a motion in: the ``wanted`` one, or the world's where the motion has it.

    Raises `UserError` when the world's is wanted and not known.
    """
    if wanted == "world" and not motion.has_world:
        raise UserError(f"the motion of {motion.source} has no world frame: take the camera's (--frame camera)")
    return wanted or ("world" if motion.has_world else "camera")


def _ascending(time_s: DoubleArray, rows: Int64Array) -> Int64Array:
    """``rows`` in file order, without those that are not later than every one before."""
    times = time_s[rows]
    earlier = np.maximum.accumulate(np.concatenate([[-np.inf], times]))[:-1]
    return rows[times > earlier]


def rate_of(tracks: Sequence[MotionTrack], nominal: float) -> float:
    """Frames a second to export at: the nominal rate, or what the timestamps say where they tell another one."""
    steps = np.concatenate([np.diff(track.time_s) for track in tracks] or [np.empty(0)])
    measured = 1 / float(np.median(steps)) if len(steps) else nominal
    if np.isfinite(nominal) and nominal > 0 and abs(measured / nominal - 1) < 0.05:
        return nominal
    return measured if np.isfinite(measured) and measured > 0 else 30.0


def at_constant_rate(track: MotionTrack, rate: float) -> tuple[MotionTrack, float]:
    """The track with one row every ``1 / rate`` seconds, and the exact rate.

    Timestamps that already are on such a grid (to a millisecond) keep their rows as they are, and the rate is the one that
    fits them best: 29.97 stays 29.97. Others are interpolated, rotations along the shortest way (slerp). Between two rows
    more than `LOST_S` apart the first one is held; ``seen`` is False there and in every other row of a gap.

    Raises `UserError` where the gaps would take many times the rows that there are.
    """
    if len(track.time_s) == 1:
        return track, rate
    span_s = float(track.time_s[-1] - track.time_s[0])
    if not span_s * rate < max(_MAX_ROWS, _MAX_HELD * len(track.time_s)):
        raise UserError(
            f"person {track.person} is away for most of {span_s:.0f} s, too long to hold a pose: write a file for each "
            "part (--gaps split), or another format (.npz, .jsonl, .glb)"
        )
    steps = np.maximum(np.rint(np.diff(track.time_s) * rate), 1)
    slots = np.concatenate([[0], np.cumsum(steps)]).astype(np.int64)
    slope, start = np.polyfit(slots, track.time_s, 1)
    if np.abs(start + slope * slots - track.time_s).max() <= _OFF_GRID_S:
        wanted = np.interp(np.arange(slots[-1] + 1), slots, track.time_s)
        wanted[slots] = track.time_s
        return _sampled(track, wanted), 1 / float(slope)
    span = track.time_s[-1] - track.time_s[0]
    wanted = track.time_s[0] + np.arange(int(np.floor(span * rate + 1e-6)) + 1) / rate
    return _sampled(track, np.minimum(wanted, track.time_s[-1])), rate


def _sampled(track: MotionTrack, wanted: DoubleArray) -> MotionTrack:
    """The track at the times ``wanted``, all inside of it."""
    times = track.time_s
    before = np.clip(np.searchsorted(times, wanted, side="right") - 1, 0, len(times) - 2)
    step = times[before + 1] - times[before]
    share = (wanted - times[before]) / step
    lost = (step > LOST_S) & (share < 1)
    share = np.where(lost, 0.0, share)
    first = Rotation.from_rotvec(track.rotations[before].reshape(-1, 3))
    second = Rotation.from_rotvec(track.rotations[before + 1].reshape(-1, 3))
    way = (first.inv() * second).as_rotvec() * np.repeat(share, len(JOINT_NAMES))[:, None]
    rotations = (first * Rotation.from_rotvec(way)).as_rotvec().reshape(-1, len(JOINT_NAMES), 3)
    pelvis = track.pelvis[before] + share[:, None] * (track.pelvis[before + 1] - track.pelvis[before])
    seen = ~lost | np.isclose(wanted, times[before], rtol=0, atol=_OFF_GRID_S)
    return replace(track, time_s=wanted, rotations=rotations, pelvis=pelvis, seen=seen)


def motion_of(tracks: Sequence[MotionTrack], arrays: BodyArrays, fps: float, source: str) -> Motion:
    """A motion without a camera, of what another format's file said: its y-up frame is taken as the world's, and seen by a
    camera at the world's origin that looks along -z. Nothing is known in pixels: those arrays and ``camera_matrix`` are NaN.
    """
    count = sum(len(track.time_s) for track in tracks)
    time_s = np.concatenate([track.time_s for track in tracks])
    frame = np.rint((time_s - time_s.min()) * fps).astype(np.int64)
    order = np.lexsort((np.concatenate([np.full(len(track.time_s), track.person) for track in tracks]), frame))

    def joined(parts: list[AnyArray], dtype: Any = np.float32) -> AnyArray:
        return np.ascontiguousarray(np.concatenate(parts)[order], dtype)

    def nothing(*shape: int) -> FloatArray:
        return np.full((count, *shape), np.nan, np.float32)

    joints = joined([track.joints(arrays) for track in tracks])
    rotations = joined([track.rotations for track in tracks], np.float64)
    pelvis = joined([track.pelvis for track in tracks], np.float64)
    flipped = (Rotation.from_matrix(Y_UP) * Rotation.from_rotvec(rotations[:, 0])).as_rotvec()
    camera = np.eye(4, dtype=np.float32)
    camera[:3, :3] = Y_UP
    return Motion(
        frame=frame[order],
        time_s=time_s[order],
        person=joined([np.full(len(track.time_s), track.person) for track in tracks], np.int64),
        joints_m=(joints @ Y_UP).astype(np.float32),
        joints_px=nothing(24, 2),
        keypoints_px=nothing(17, 2),
        keypoint_confidence=nothing(17),
        global_orient=flipped.astype(np.float32),
        body_pose=rotations[:, 1:].astype(np.float32),
        betas=joined([np.tile(track.betas, (len(track.time_s), 1)) for track in tracks]),
        transl=(pelvis @ Y_UP).astype(np.float32),
        camera_matrix=np.full((3, 3), np.nan),
        fps=fps,
        source=source,
        body_sha256=arrays.sha256,
        version=MOTION_VERSION,
        world_from_camera=np.tile(camera, (count, 1, 1)),
        world_global_orient=rotations[:, 0].astype(np.float32),
        world_transl=pelvis.astype(np.float32),
        world_joints_m=joints,
    )
