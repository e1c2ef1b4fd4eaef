"""Rest poses, forward kinematics, stride and floor, frame rates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from body.joints import JOINT_NAMES
from common.arrays import DoubleArray
from training.motion import rotations as rot
from training.motion.clip import (
    CANONICAL_BONES,
    LEG_LENGTH,
    Clip,
    adapt_clips,
    adapt_rest_pose,
    canonical_rotations,
    joint_positions,
    lowest_contact,
)
from training.motion.resample import resample

from .skeletons import canonical_rest, random_clip


def _other_body() -> DoubleArray:
    rng = np.random.default_rng(5)
    return canonical_rest() * 1.2 + rng.normal(scale=0.02, size=(24, 3))


def _directions(rotations: object, rest: DoubleArray) -> DoubleArray:
    joints = joint_positions(np.asarray(rotations), np.zeros(3), rest)
    bones = np.stack([joints[..., child, :] - joints[..., joint, :] for joint, child, _ in CANONICAL_BONES], axis=-2)
    return np.asarray(bones / np.linalg.norm(bones, axis=-1, keepdims=True))


def test_a_bent_elbow_puts_the_hand_where_trigonometry_says() -> None:
    rest = canonical_rest()
    rotations = np.zeros((24, 3))
    rotations[JOINT_NAMES.index("left_elbow")] = (0.0, -np.pi / 3, 0.0)
    joints = joint_positions(rotations, (0.0, 1.0, 0.0), rest)
    elbow = joints[JOINT_NAMES.index("left_elbow")]
    assert np.allclose(elbow, rest[JOINT_NAMES.index("left_elbow")] + (0.0, 1.0, 0.0))
    expected = elbow + 0.25 * np.array([np.cos(np.pi / 3), 0.0, np.sin(np.pi / 3)])
    assert np.allclose(joints[JOINT_NAMES.index("left_wrist")], expected)


def test_adaptation_keeps_the_directions_of_the_limbs() -> None:
    rotations, body = random_clip("a", "1").rotations, _other_body()
    adapted = adapt_rest_pose(rotations, body)
    assert adapted.dtype == np.float32
    assert np.allclose(_directions(adapted, body), _directions(rotations, canonical_rest()), atol=1e-5)
    # Without it they would be degrees off.
    assert not np.allclose(_directions(rotations, body), _directions(rotations, canonical_rest()), atol=0.02)


def test_adaptation_of_the_canonical_body_changes_nothing_and_can_be_undone() -> None:
    rotations = random_clip("a", "1").rotations
    assert np.allclose(adapt_rest_pose(rotations, canonical_rest()), rotations, atol=1e-5)
    body = _other_body()
    assert np.allclose(canonical_rotations(adapt_rest_pose(rotations, body), body), rotations, atol=1e-5)


def test_hands_stay_straight() -> None:
    rotations = np.zeros((24, 3))
    hands = adapt_rest_pose(rotations, _other_body())[[JOINT_NAMES.index(f"{s}_hand") for s in ("left", "right")]]
    assert np.allclose(hands, 0.0, atol=1e-6)


def test_wrong_shapes_and_impossible_bodies_are_refused() -> None:
    with pytest.raises(ValueError, match="should be"):
        adapt_rest_pose(np.zeros((5, 23, 3)), canonical_rest())
    with pytest.raises(ValueError, match="zero length"):
        adapt_rest_pose(np.zeros((5, 24, 3)), np.zeros((24, 3)))
    with pytest.raises(ValueError, match="with one N"):
        replace(random_clip("a", "1"), pelvis=np.zeros((3, 3), np.float32))


def test_an_adapted_clip_strides_with_its_legs_and_stands_on_the_floor() -> None:
    clip, rest = random_clip("a", "1"), canonical_rest() * 2.0
    (adapted,) = adapt_clips([clip], rest)
    assert adapted.rest == "body"
    assert np.allclose(
        np.diff(adapted.pelvis[:, [0, 2]], axis=0), 2.0 * np.diff(clip.pelvis[:, [0, 2]], axis=0), atol=1e-5
    )
    lowest = lowest_contact(joint_positions(adapted.rotations, adapted.pelvis, rest))
    assert np.percentile(lowest, 5) == pytest.approx(0.0, abs=1e-5)
    with pytest.raises(ValueError, match="already"):
        adapt_clips([adapted], rest)


def test_a_standing_body_has_its_soles_on_the_floor() -> None:
    clip = replace(
        random_clip("a", "1"), rotations=np.zeros((20, 24, 3), np.float32), pelvis=np.zeros((20, 3), np.float32)
    )
    (adapted,) = adapt_clips([clip], canonical_rest())
    assert adapted.pelvis[0, 1] == pytest.approx(0.085 + LEG_LENGTH + 0.075, abs=1e-6)


def _turning(frames: int, fps: float) -> Clip:
    time = np.arange(frames) / fps
    rotations = np.zeros((frames, 24, 3), np.float32)
    rotations[:, 0, 1] = 0.7 * time
    pelvis = np.stack([time, np.ones(frames), 2.0 * time], axis=-1)
    return replace(random_clip("a", "1"), fps=fps, rotations=rotations, pelvis=pelvis.astype(np.float32))


@pytest.mark.parametrize(("fps", "frames"), [(120.0, 121), (60.0, 61), (25.0, 26), (1 / 0.0083333, 121), (30.0, 31)])
def test_resampling_keeps_speed_and_duration(fps: float, frames: int) -> None:
    got, expected = resample(_turning(frames, fps), 30.0), _turning(31, 30.0)
    assert got.fps == 30.0
    assert got.frames == 31
    assert np.allclose(got.rotations, expected.rotations, atol=1e-4)
    assert np.allclose(got.pelvis, expected.pelvis, atol=1e-4)


def test_resampling_turns_the_short_way_round() -> None:
    rotations = np.zeros((2, 24, 3), np.float32)
    rotations[:, 0, 1] = np.deg2rad([170.0, -170.0])
    clip = replace(random_clip("a", "1"), fps=15.0, rotations=rotations, pelvis=np.zeros((2, 3), np.float32))
    middle = rot.from_axis_angle(resample(clip, 30.0).rotations[1, 0])
    assert np.allclose(np.abs(middle), [0.0, 0.0, 1.0, 0.0], atol=1e-6)


def test_a_single_frame_survives_resampling() -> None:
    assert resample(_turning(1, 120.0)).frames == 1
    with pytest.raises(ValueError, match="above zero"):
        resample(_turning(3, 120.0), 0.0)
