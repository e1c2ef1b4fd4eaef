"""A recording in memory and on its way to the disk: one row for each person in each frame, and the arrays made of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from common.arrays import AnyArray, BoolArray, DoubleArray
from common.camera import Camera
from formats.motion import MORE_SHAPES, MOTION_ROW, ROW_SHAPES
from formats.world import in_world
from realtime.outputs.settled_feet import hold_rows
from realtime.records import BodyEstimate, Result, WorldFrame

_FRAME: Final[dict[str, tuple[int, ...]]] = {"world_from_camera": (4, 4), **MORE_SHAPES}
_UNLOCKED: Final[dict[str, tuple[int, ...]]] = {"pelvis": (3,), "legs": (2, 3, 3), "soles": (4, 3)}
RESULT_ROW: Final = np.dtype(
    [
        *((name, MOTION_ROW[name]) for name in MOTION_ROW.names or ()),
        *((name, np.dtype((np.float32, shape))) for name, shape in _FRAME.items()),
        *((f"unlocked_{name}", np.dtype((np.float32, shape))) for name, shape in _UNLOCKED.items()),
        ("settled", np.dtype((np.float32, (4, 4)))),
        ("shot", np.dtype(np.int64)),
        ("camera_turned", np.dtype(np.bool_)),
    ]
)
"""`formats.motion.MOTION_ROW`, the world frame of that frame and what it was moving to (`realtime.records.WorldFrame`), the
body before its feet were locked (`realtime.records.Unlocked`), and which shot of the video it is: in one, a camera that never
turned stands in one place of the world."""


def fill_rows(row: np.void, result: Result, body: BodyEstimate | None) -> None:
    """Write one person of ``result``, or that there was nobody, into a row of dtype `RESULT_ROW`."""
    row["frame"], row["time_s"] = result.frame.sequence, result.frame.time_s
    row["shot"], row["camera_turned"] = -1, True
    for name in (*_FRAME, *(f"unlocked_{name}" for name in _UNLOCKED), "settled"):
        row[name] = np.nan
    if body is None:
        row["person"] = -1
        for name in ROW_SHAPES:
            row[name] = np.nan
        return
    row["person"] = body.person
    row["joints_m"], row["joints_px"] = body.joints, result.camera.project(body.joints)
    row["keypoints_px"], row["keypoint_confidence"] = body.keypoints.points, body.keypoints.confidence
    row["global_orient"], row["body_pose"] = body.global_orient, body.body_pose
    row["betas"], row["transl"] = body.betas, body.transl
    if body.contact is not None and body.contact.shape == (4,):
        row["contact"] = np.clip(body.contact, 0, 1)
    if body.unlocked is not None:
        for name in _UNLOCKED:
            row[f"unlocked_{name}"] = getattr(body.unlocked, name)
    if result.world is not None:
        _fill_world(row, result.world)


def _fill_world(row: np.void, world: WorldFrame) -> None:
    row["world_from_camera"], row["up"] = world.world_from_camera, world.world_from_camera[1, :3]
    row["settled"] = world.world_from_camera if world.settled is None else world.settled
    row["up_sigma_deg"] = math.degrees(world.up_sigma)
    row["floor_sigma_m"] = world.floor_sigma if math.isfinite(world.floor_sigma) else np.nan
    row["shot"], row["camera_turned"] = world.shot, world.camera_turned


def columns(rows: AnyArray, camera_matrix: DoubleArray) -> dict[str, AnyArray]:
    """Rows (N,) of dtype `RESULT_ROW` as the arrays of a motion file; ``camera_matrix`` (3, 3), pixels, is the camera's.

    Where the camera of a shot never turned, all of its rows get what the last world frame was moving to, which knows most, and
    standing feet are held with all that came before and after (`realtime.outputs.settled_feet`). Arrays in which nothing is
    known are left out.
    """
    rows = rows.copy()
    fx, fy, cx, cy = (float(camera_matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    for mine, last in _still_shots(rows):
        chosen = rows[mine]
        chosen["world_from_camera"] = settled = rows["settled"][last]
        chosen["up"] = settled[1, :3]
        for name in ("up_sigma_deg", "floor_sigma_m"):
            chosen[name] = rows[name][last]
        has_floor = bool(np.isfinite(rows["floor_sigma_m"][last]))
        hold_rows(chosen, settled.astype(np.float64), Camera(fx, fy, cx, cy), has_floor)
        rows[mine] = chosen
    out: dict[str, AnyArray] = {name: np.ascontiguousarray(rows[name]) for name in MOTION_ROW.names or ()}
    frames = {name: np.ascontiguousarray(rows[name]) for name in _FRAME}
    known = np.isfinite(frames["world_from_camera"]).all((1, 2))
    if known.any():
        out |= in_world(frames["world_from_camera"], out["global_orient"], out["transl"], out["joints_m"])
    out |= {name: frames[name] for name in MORE_SHAPES if np.isfinite(frames[name]).any()}
    return out


def _still_shots(rows: AnyArray) -> Iterator[tuple[BoolArray, int]]:
    """Which rows (N,) show people before a camera that never turned, and the last of them with a world frame, for each shot."""
    known = np.isfinite(rows["world_from_camera"]).all((1, 2))
    for shot in np.unique(rows["shot"][rows["shot"] >= 0]):
        mine = (rows["shot"] == shot) & (rows["person"] >= 0)
        last = np.flatnonzero(mine & known)[-1:]
        if len(last) and not rows["camera_turned"][last[0]]:
            yield mine, int(last[0])
