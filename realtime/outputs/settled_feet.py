"""Holds standing feet in the rows of a recording that has ended: `realtime.stages.world.recorded_feet` applied to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from common.arrays import AnyArray, DoubleArray, FloatArray, Int64Array
from common.camera import Camera
from realtime.stages.world.foot_lock import seen_contact
from realtime.stages.world.leg_reach import LEG_JOINTS, MAX_JOINT_SHIFT_M, TOES, UNTURNED, bend_leg, reach
from realtime.stages.world.recorded_feet import hold_recorded

_GAP_S: Final = 0.5  # a person who was not seen for so long may have moved
_NO_SKIN: Final = np.zeros((0, 3), np.float32), np.zeros(0, np.intp), np.zeros((0, 3), np.float32)


def hold_rows(rows: AnyArray, world_from_camera: DoubleArray, camera: Camera, has_floor: bool) -> None:
    """Change the bodies of ``rows`` (N,), of dtype `realtime.outputs.motion_rows.RESULT_ROW` and in the order of time, to those
    whose standing feet stay in their places, in the camera frame. Rows whose feet were not locked stay as they are.

    ``world_from_camera`` (4, 4) is the pose of the camera, which is the same in all rows; ``has_floor`` says whether people
    stand on its y = 0.
    """
    known = np.isfinite(rows["unlocked_soles"]).all((1, 2)) & np.isfinite(rows["contact"]).all(1)
    for mine in _tracks(rows, known):
        chosen = rows[mine]
        _hold(chosen, world_from_camera, has_floor)
        chosen["joints_px"] = camera.project(chosen["joints_m"])
        rows[mine] = chosen


def _tracks(rows: AnyArray, known: NDArray[np.bool_]) -> Iterator[Int64Array]:
    """Indices of the rows of each person between two gaps."""
    for person in np.unique(rows["person"][known]):
        mine = np.flatnonzero(known & (rows["person"] == person))
        yield from np.split(mine, np.flatnonzero(np.diff(rows["time_s"][mine]) > _GAP_S) + 1)


def _hold(rows: AnyArray, world_from_camera: DoubleArray, has_floor: bool) -> None:
    turn, place = world_from_camera[:3, :3], world_from_camera[:3, 3]
    pelvis, soles = (rows[f"unlocked_{name}"].astype(np.float64) @ turn.T + place for name in ("pelvis", "soles"))
    contact = seen_contact(rows["contact"], rows["keypoint_confidence"]).astype(np.float64)
    shift, moves = hold_recorded(rows["time_s"], pelvis, soles, contact, place, has_floor)
    legs = rows["unlocked_legs"].astype(np.float64)
    moved = rows["unlocked_pelvis"] + (shift @ turn).astype(np.float32) - rows["transl"]
    rows["transl"] += moved
    rows["joints_m"] += moved[:, None]
    found = np.empty((2, 3))
    for row, leg_places, foot_moves in zip(rows, legs, moves @ turn, strict=True):
        for side, leg in enumerate(LEG_JOINTS):
            if not reach(leg_places[side], foot_moves[side], MAX_JOINT_SHIFT_M, found):
                found[:] = leg_places[side, 1:]
            _bend(row["global_orient"], row["body_pose"], row["joints_m"], leg, found - leg_places[side, 0])


def _bend(
    orient: FloatArray, pose: FloatArray, joints: FloatArray, leg: NDArray[np.intp], knee_and_ankle: DoubleArray
) -> None:
    """Bend one ``leg`` of a body so that its knee and ankle come to ``knee_and_ankle`` (2, 3) from its hip."""
    _, knee, ankle = leg
    places = joints[leg].astype(np.float64)
    to = places[0] + knee_and_ankle
    bent = pose.copy()
    bend_leg(orient.astype(np.float64), bent, leg, places, to, UNTURNED[0], *_NO_SKIN)
    pose[:] = bent
    joints[ankle + TOES] += (to[1] - places[2]).astype(np.float32)
    joints[knee], joints[ankle] = to.astype(np.float32)
