"""Differences of two motions that are known in closed form."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body.joints import JOINT_NAMES
from body.model import load_body
from common.errors import UserError
from formats.compare import differences, doubts
from formats.motion import Motion
from tests.formats.motions import two_people


@pytest.fixture(scope="module")
def motion() -> Motion:
    return two_people(load_body(), world=False)


def moved(motion: Motion, shift: np.ndarray) -> Motion:
    return replace(motion, joints_m=(motion.joints_m + shift).astype(np.float32))


def test_a_motion_does_not_differ_from_itself(motion: Motion) -> None:
    found = differences(motion, motion)
    assert [one.people for one in found] == [(0, 0), (3, 3)]
    assert [len(one.frame) for one in found] == [60, 27]
    for one in found:
        for values in (one.distance_mm, one.mpjpe_mm, one.pa_mpjpe_mm, one.rotation_deg):
            assert np.abs(values).max() < 1e-3
        assert np.nanmax(one.acceleration) == 0
        assert set(one.angles_deg.values()) == {0.0}


def test_motions_of_other_videos_are_told_by_times_lengths_and_shapes(motion: Motion) -> None:
    assert doubts(motion, motion) == []
    slower = replace(motion, time_s=motion.time_s[0] + 1.5 * (motion.time_s - motion.time_s[0]))
    assert [line.partition(" at ")[0] for line in doubts(motion, slower)] == [f"frame {motion.frame[-1]} is", "A ends"]
    cut = motion.frame < motion.frame[-1] - 25
    rows = {
        field.name: values[cut]
        for field in fields(motion)
        if isinstance(values := getattr(motion, field.name), np.ndarray) and len(values) == len(cut)
    }
    (line,) = doubts(motion, replace(motion, **rows))
    assert line == f"A ends at {motion.time_s[-1]:.1f} s and B at {rows['time_s'][-1]:.1f} s"
    wide, high = (np.array([[900, 0, cx], [0, 900, cy], [0, 0, 1]]) for cx, cy in ((639.5, 359.5), (359.5, 639.5)))
    half = np.array([[450, 0, 319.5], [0, 450, 179.5], [0, 0, 1]])
    (line,) = doubts(replace(motion, camera_matrix=wide), replace(motion, camera_matrix=high))
    assert line == "A is of images of 1280x720 pixels and B of 720x1280"
    assert doubts(replace(motion, camera_matrix=wide), replace(motion, camera_matrix=half)) == []


@pytest.mark.parametrize("first_has_none", [False, True])
def test_people_of_a_motion_that_no_camera_took_are_known_by_how_they_move(
    motion: Motion, first_has_none: bool
) -> None:
    turn = Rotation.from_euler("xyz", [170, 40, 3], degrees=True)
    places = turn.apply(motion.joints_m.reshape(-1, 3)).reshape(motion.joints_m.shape) + np.array([3, -1, 9])
    renamed = np.where(motion.person == 0, 7, 5)
    other = replace(
        motion,
        joints_m=places.astype(np.float32),
        person=renamed.astype(motion.person.dtype),
        camera_matrix=np.full((3, 3), np.nan),
    )
    pair = (other, motion) if first_has_none else (motion, other)
    found = [one if not first_has_none else replace(one, people=one.people[::-1]) for one in differences(*pair)]
    assert sorted(one.people for one in found) == [(0, 7), (3, 5)]
    for one in found:
        assert float(one.distance_mm.max()) < 0.01
        assert float(one.mpjpe_mm.max()) < 0.01


def test_a_shift_of_everything_is_a_distance_and_no_mpjpe(motion: Motion) -> None:
    for one in differences(motion, moved(motion, np.array([0.03, 0, 0.04]))):
        np.testing.assert_allclose(one.distance_mm, 50, atol=1e-3)
        np.testing.assert_allclose(one.mpjpe_mm, 0, atol=1e-3)
        np.testing.assert_allclose(one.pa_mpjpe_mm, 0, atol=1e-3)


def test_a_shift_of_all_joints_but_the_pelvis_is_that_mpjpe(motion: Motion) -> None:
    shift = np.full((24, 3), [0.03, 0, 0.04])
    shift[0] = 0
    for one in differences(motion, moved(motion, shift)):
        np.testing.assert_allclose(one.mpjpe_mm, 50 * 23 / 24, atol=1e-3)
        assert (one.pa_mpjpe_mm > 1).all()
        assert (one.pa_mpjpe_mm < one.mpjpe_mm).all()


def test_a_similarity_of_each_frame_leaves_no_pa_mpjpe(motion: Motion) -> None:
    rng = np.random.default_rng(0)
    turns = Rotation.random(len(motion.frame), random_state=1).as_matrix()
    scales = rng.uniform(0.7, 1.4, (len(motion.frame), 1, 1))
    changed = scales * (motion.joints_m @ turns) + rng.normal(size=(len(motion.frame), 1, 3))
    # Both people jump about, so each is compared alone: who is who cannot be told from places any more.
    for person in (0, 3):
        mine = motion.person == person
        other = replace(motion, joints_m=changed.astype(np.float32)).rows(mine)
        (one,) = differences(motion.rows(mine), other)
        assert one.pa_mpjpe_mm.max() < 1e-2
        assert one.mpjpe_mm.min() > 10


def test_a_mirror_image_is_no_similarity(motion: Motion) -> None:
    mirrored = replace(motion, joints_m=(motion.joints_m * [-1, 1, 1]).astype(np.float32))
    assert all(one.pa_mpjpe_mm.min() > 10 for one in differences(motion, mirrored))


def test_the_second_derivative_of_a_parabola_is_its_acceleration_at_uneven_times() -> None:
    motion = two_people(load_body(), world=False, jitter_s=0.01)
    away = 0.5 * 3.0 * (motion.time_s - 2.0) ** 2
    for one in differences(motion, moved(motion, away[:, None, None] * [0.0, 0.6, 0.8])):
        inner = np.isfinite(one.acceleration)
        assert inner.sum() == len(one.frame) - (2 if one.people[0] == 0 else 4)
        np.testing.assert_allclose(one.acceleration[inner], 3.0, atol=0.1)  # joints are float32


def test_a_bent_knee_is_told_in_degrees(motion: Motion) -> None:
    knee = JOINT_NAMES.index("left_knee") - 1
    flat, bent = (np.zeros_like(motion.body_pose) for _ in range(2))
    bent[:, knee, 0] = np.radians(30)
    for one in differences(replace(motion, body_pose=flat), replace(motion, body_pose=bent)):
        np.testing.assert_allclose(one.rotation_deg, 30 / 23, atol=1e-3)
        assert one.angles_deg["knee"] == pytest.approx(15, abs=1e-3)  # the right one is straight in both
        assert one.angles_deg["hip"] == pytest.approx(0, abs=1e-3)


def test_people_are_matched_by_place_whatever_their_numbers(motion: Motion) -> None:
    renamed = replace(motion, person=np.select([motion.person == 0, motion.person == 3], [7, 1], -1))
    assert sorted(one.people for one in differences(motion, moved(renamed, np.array(0.01)))) == [(0, 7), (3, 1)]


def test_frames_are_matched_by_number(motion: Motion) -> None:
    found = differences(motion.rows(motion.frame < 40), motion.rows(motion.frame >= 35))
    assert found[0].frame.tolist() == [35, 36, 37, 38, 39]
    assert found[0].mpjpe_mm.max() < 1e-3


def test_motions_without_a_common_frame_are_refused(motion: Motion) -> None:
    with pytest.raises(UserError, match="share no frame"):
        differences(motion.rows(motion.frame < 10), motion.rows(motion.frame >= 10))
