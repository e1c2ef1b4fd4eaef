"""Motions that are known exactly: smooth, of a few people, with gaps, uneven times and a world frame, as a test asks for."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from body.lbs import NumpyBody
from body.model import BodyArrays
from common.arrays import DoubleArray, FloatArray, Int64Array
from formats.motion import Motion

TILT = Rotation.from_euler("x", 20, degrees=True)
"""The camera looks down by 20 degrees."""


def world_from_camera() -> DoubleArray:
    """(4, 4) a camera 1.5 m above the floor that looks down by 20 degrees: y down, z forward to y up, -z forward."""
    out = np.eye(4)
    out[:3, :3] = (TILT.inv() * Rotation.from_euler("x", 180, degrees=True)).as_matrix()
    out[:3, 3] = 0.3, 1.5, 3.0
    return out


def smooth(seed: int, seconds: DoubleArray, size: float = 0.9) -> DoubleArray:
    """(N, 24, 3) axis-angle: every joint swings about axes of its own, slowly."""
    rng = np.random.default_rng(seed)
    rates, starts = rng.uniform(1, 5, (24, 3)), rng.uniform(0, 6, (24, 3))
    swings = rng.uniform(-size, size, (24, 3)) * np.sin(seconds[:, None, None] * rates + starts)
    swings[:, 0] = rng.uniform(-0.4, 0.4, 3) * np.sin(seconds[:, None] * rates[0])
    return np.asarray(swings)


def example(
    body: BodyArrays,
    people: dict[int, Int64Array],
    fps: float = 30.0,
    jitter_s: float = 0.0,
    world: bool = True,
    seed: int = 0,
) -> Motion:
    """A motion with each of ``people`` in the frames given, and a row of nobody in frames of no one between them.

    ``jitter_s`` moves timestamps by up to so much. The betas vary a little from frame to frame, as estimates do.
    """
    rng = np.random.default_rng(seed)
    last = max(int(frames.max()) for frames in people.values())
    times = 2.0 + np.arange(last + 1) / fps + rng.uniform(-jitter_s, jitter_s, last + 1)
    rows = [(frame, person) for person, frames in people.items() for frame in frames.tolist()]
    seen = {frame for frame, _ in rows}
    rows = sorted(rows + [(frame, -1) for frame in range(last + 1) if frame not in seen])
    frame, person = (np.array(column) for column in zip(*rows, strict=True))
    count = len(rows)
    to_world = world_from_camera()
    poser = NumpyBody(body)
    arrays: dict[str, FloatArray] = {
        name: np.full((count, *shape), np.nan, np.float32)
        for name, shape in {
            "joints_m": (24, 3), "joints_px": (24, 2), "keypoints_px": (17, 2), "keypoint_confidence": (17,),
            "global_orient": (3,), "body_pose": (23, 3), "betas": (10,), "transl": (3,), "world_global_orient": (3,),
            "world_transl": (3,), "world_joints_m": (24, 3), "contact": (4,),
        }.items()
    }  # fmt: skip
    for number in people:
        mine = np.flatnonzero(person == number)
        seconds = times[frame[mine]] - 2.0
        poses = smooth(seed + 10 + number, seconds)
        in_world = Rotation.from_rotvec(poses[:, 0])
        place = np.stack([0.5 * number + 0.3 * seconds, 0.93 + 0.02 * np.sin(7 * seconds), -0.2 * seconds], 1)
        turn = Rotation.from_matrix(to_world[:3, :3])
        arrays["world_global_orient"][mine] = in_world.as_rotvec()
        arrays["world_transl"][mine] = place
        arrays["global_orient"][mine] = (turn.inv() * in_world).as_rotvec()
        arrays["transl"][mine] = turn.inv().apply(place - to_world[:3, 3])
        arrays["body_pose"][mine] = poses[:, 1:]
        arrays["betas"][mine] = 0.5 * number + np.linspace(-1, 1, 10) + rng.normal(0, 0.01, (len(mine), 1))
        arrays["contact"][mine] = rng.uniform(0, 1, (len(mine), 4))
        arrays["keypoints_px"][mine], arrays["keypoint_confidence"][mine] = 100.5, 0.9
        for row in mine:
            poser.set_shape(arrays["betas"][row])
            pose = arrays["body_pose"][row]
            arrays["joints_m"][row] = poser.joints_only(arrays["global_orient"][row], pose, arrays["transl"][row])
            arrays["world_joints_m"][row] = poser.joints_only(
                arrays["world_global_orient"][row], pose, arrays["world_transl"][row]
            )
    shared = {
        "up": np.tile(to_world[:3, :3].T[:, 1], (count, 1)).astype(np.float32),
        "world_from_camera": np.tile(to_world, (count, 1, 1)).astype(np.float32),
        "up_sigma_deg": np.full(count, 2.5, np.float32),
        "floor_sigma_m": np.full(count, 0.02, np.float32),
    }
    more = {name: arrays.pop(name) for name in ("world_global_orient", "world_transl", "world_joints_m", "contact")}
    return Motion(
        frame=frame,
        time_s=times[frame],
        person=person,
        camera_matrix=np.array([[800.0, 0, 639.5], [0, 800, 359.5], [0, 0, 1]]),
        fps=fps,
        source="clips/walk.mp4",
        body_sha256=body.sha256,
        version=2,
        **arrays,
        **({**shared, **more} if world else {}),
    )


def two_people(body: BodyArrays, **changes: float | bool | int) -> Motion:
    """Person 0 for 2 s; person 3 appears after half a second and is not seen for 0.6 s in the middle."""
    away = np.concatenate([np.arange(15, 30), np.arange(48, 60)])
    return example(body, {0: np.arange(60), 3: away}, **changes)  # type: ignore[arg-type]
