from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from body.lbs import NumpyBody
from body.soles import Soles
from common.arrays import FloatArray
from formats.motion import Motion, load_motion
from realtime.outputs.motion_writer import MotionWriter
from realtime.records import BodyEstimate, Result
from realtime.stages.world.leg_reach import LEG_JOINTS, MAX_JOINT_SHIFT_M
from realtime.stages.world.world import World
from tests.realtime.stages.world.test_world import STILL
from tests.realtime.stages.world.world_scene import ARRAYS, CAMERA, Person, camera_from_world, frame

FRAMES = 100
SOLES = Soles(ARRAYS)


def recording(path: Path, foot_lock: bool = True, turned: bool = False) -> tuple[Motion, list[BodyEstimate]]:
    """What is saved of somebody who stands before a still camera and whose predicted distance wanders, and what was predicted;
    ``turned`` says that the camera was not still."""
    view = camera_from_world(math.radians(15), 0.0, 1.7)
    world, rng = World(CAMERA, ARRAYS, foot_lock=foot_lock), np.random.default_rng(3)
    predicted, wander = [], 0.0
    with MotionWriter(path, CAMERA, 30.0, "walk.mp4", "0" * 64) as out:
        for number in range(FRAMES):
            wander = 0.95 * wander + rng.normal(0, 0.006)
            seen = Person(size=1 + wander).at((0.0, 0.0, -4.0), view, sequence=number, contact=0.95)
            predicted.append(seen)
            answer = world(frame(number, STILL), [seen])
            assert answer is not None
            shown = world.with_feet_locked((seen,), number / 30)
            out.write(Result(frame(number, STILL), CAMERA, shown, 0, (), replace(answer, camera_turned=turned)))
    return load_motion(path), predicted


def posed(motion: Motion) -> tuple[FloatArray, FloatArray]:
    """Joints (N, 24, 3) and soles (N, 4, 3) of the bodies of a motion, camera frame, posed anew."""
    body, joints, soles = NumpyBody(ARRAYS), [], []
    for orient, pose, betas, place in zip(
        motion.global_orient, motion.body_pose, motion.betas, motion.transl, strict=True
    ):
        body.set_shape(betas)
        vertices, points = body.pose(orient, pose, place)
        joints.append(points.copy())
        soles.append(SOLES(vertices))
    return np.array(joints), np.array(soles)


def slide(soles: FloatArray) -> float:
    return float(np.linalg.norm(np.diff(soles, axis=0), axis=-1).mean())


def test_a_recording_holds_feet_better_than_what_was_shown_and_its_arrays_agree(tmp_path: Path) -> None:
    motion, predicted = recording(tmp_path / "still.npz")
    shown, _ = recording(tmp_path / "turned.npz", turned=True)
    joints, soles = posed(motion)
    _, shown_soles = posed(shown)
    assert slide(soles) < 0.5 * slide(shown_soles) < 0.5 * slide(np.array([SOLES(one.vertices) for one in predicted]))
    np.testing.assert_allclose(motion.joints_m, joints, atol=1e-4)
    np.testing.assert_allclose(motion.joints_px, CAMERA.project(motion.joints_m), atol=1e-3)
    assert motion.world_from_camera is not None
    assert motion.world_joints_m is not None
    place = motion.world_from_camera[0]
    np.testing.assert_allclose(motion.world_joints_m, joints @ place[:3, :3].T + place[:3, 3], atol=1e-4)
    ankles = LEG_JOINTS[:, 1:]
    moved = (joints - joints[:, :1])[:, ankles] - np.array([(one.joints - one.joints[:1])[ankles] for one in predicted])
    assert 0.001 < np.linalg.norm(moved, axis=-1).max() <= MAX_JOINT_SHIFT_M + 1e-4
    assert np.abs((soles @ place[:3, :3].T + place[:3, 3])[30:, :, 1]).max() < 0.03


@pytest.mark.parametrize("case", ["no foot lock", "camera turned"])
def test_bodies_stay_as_they_were_shown_without_a_foot_lock_and_before_a_camera_that_turned(
    tmp_path: Path, case: str
) -> None:
    motion, predicted = recording(tmp_path / "m.npz", case != "no foot lock", case == "camera turned")
    if case == "no foot lock":
        np.testing.assert_array_equal(motion.transl, [one.transl for one in predicted])
        np.testing.assert_array_equal(motion.body_pose, [one.body_pose for one in predicted])
    else:
        joints, _ = posed(motion)
        np.testing.assert_allclose(motion.joints_m, joints, atol=1e-4)
        ray = predicted[50].transl / np.linalg.norm(predicted[50].transl)
        assert abs(float((motion.transl[50] - predicted[50].transl) @ ray)) > 1e-4
