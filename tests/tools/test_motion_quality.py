"""The distance of a motion from its detections: on a body whose keypoints are known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from body.lbs import NumpyBody
from body.model import load_body
from common.arrays import AnyArray, FloatArray
from formats.motion import Motion
from tools.motion_quality import keypoint_distances, limb_lag_ms

FOCAL, WIDTH, HEIGHT, FRAMES = 600.0, 640, 480, 3
ORIENT = np.array([np.pi, 0, 0], np.float32)  # upright, facing the camera


def exact_motion(body: NumpyBody, pelvis: tuple[float, float, float]) -> Motion:
    """A body that stands still, its keypoints detected without error."""
    centre = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    transl = np.array(pelvis, np.float32)
    body.set_shape(np.zeros(10, np.float32))
    vertices, joints = body.pose(ORIENT, np.zeros((23, 3), np.float32), transl)
    coco = body.coco(vertices)

    def all_frames(array: AnyArray) -> FloatArray:
        return np.repeat(np.asarray(array, np.float32)[None], FRAMES, 0)

    def pixels(points: AnyArray) -> AnyArray:
        return np.asarray(points[:, :2] / points[:, 2:] * FOCAL + centre)

    return Motion(
        frame=np.arange(FRAMES),
        time_s=np.arange(FRAMES) / 30,
        person=np.zeros(FRAMES, np.int64),
        joints_m=all_frames(joints),
        joints_px=all_frames(pixels(joints)),
        keypoints_px=all_frames(pixels(coco)),
        keypoint_confidence=np.full((FRAMES, 17), 0.9, np.float32),
        global_orient=all_frames(ORIENT),
        body_pose=np.zeros((FRAMES, 23, 3), np.float32),
        betas=np.zeros((FRAMES, 10), np.float32),
        transl=all_frames(transl),
        camera_matrix=np.array([[FOCAL, 0, centre[0]], [0, FOCAL, centre[1]], [0, 0, 1]]),
        fps=30.0,
        source="test",
        body_sha256="",
        version=1,
    )


@pytest.fixture(scope="module")
def body() -> NumpyBody:
    return NumpyBody(load_body())


def test_the_distance_is_a_share_of_the_height_of_what_was_seen(body: NumpyBody) -> None:
    motion = exact_motion(body, (0.1, 0.2, 3.0))
    np.testing.assert_allclose(keypoint_distances(motion, body), 0, atol=1e-4)
    height = np.ptp(motion.keypoints_px[1, :, 1])
    motion.keypoints_px[1, :, 0] += 0.05 * height
    np.testing.assert_allclose(keypoint_distances(motion, body), [0, 0.05, 0], atol=1e-4)


def test_what_is_named_beyond_the_frame_was_not_seen(body: NumpyBody) -> None:
    motion = exact_motion(body, (0.0, 0.35, 1.2))  # the legs are below the frame
    outside = motion.keypoints_px[0, :, 1] > HEIGHT - 1
    assert 2 <= outside.sum() <= 12
    motion.keypoints_px[:, outside, 1] = HEIGHT + 10  # a detector names them near its edge
    np.testing.assert_allclose(keypoint_distances(motion, body), 0, atol=1e-4)
    assert keypoint_distances(motion, body, beyond=True).mean() > 0.05


def test_frames_with_nobody_or_too_little_do_not_count(body: NumpyBody) -> None:
    motion = exact_motion(body, (0.1, 0.2, 3.0))
    motion.person[0] = -1
    motion.keypoint_confidence[1, 3:] = 0.1
    assert len(keypoint_distances(motion, body)) == 1


def test_arms_that_follow_a_frame_behind_are_a_frame_late() -> None:
    frames = 40
    keypoints = np.zeros((frames, 17, 2), np.float32) + np.arange(17, dtype=np.float32)[:, None] * 12
    keypoints[:, 9, 0] = 200 + 8 * np.arange(frames)  # the left wrist goes on and on, all else is still
    joints = np.zeros((frames, 24, 2), np.float32)
    joints[1:, 20] = keypoints[:-1, 9]
    zero = np.zeros((frames, 3), np.float32)
    motion = Motion(
        np.arange(frames), np.arange(frames) / 30, np.zeros(frames, np.int64), np.zeros((frames, 24, 3), np.float32),
        joints, keypoints, np.ones((frames, 17), np.float32), zero, np.zeros((frames, 23, 3), np.float32),
        np.zeros((frames, 10), np.float32), zero, np.eye(3), 30.0, "test", "", 1,
    )  # fmt: skip
    assert limb_lag_ms(motion) == pytest.approx(1000 / 30)
    motion.joints_px[:, 20] = keypoints[:, 9]
    assert limb_lag_ms(motion) == pytest.approx(0)
    motion.keypoint_confidence[:, 9] = 0.1
    assert np.isnan(limb_lag_ms(motion))
