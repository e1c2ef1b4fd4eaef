"""Between bodies that differ in betas, size or rest pose: people keep their limbs, their girth and their pose."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from body.conversion import LIMB_BONES, BodyConversion
from body.errors import BodyError
from body.joints import JOINT_NAMES
from body.lbs import NumpyBody
from body.model import BodyArrays, load_body
from body.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from common.arrays import AnyFloatArray
from formats.motion import load_motion
from realtime.options import Options
from realtime.session import Session
from tests.body.smpl_like import smpl_fields

CLIP = Path(__file__).resolve().parents[2] / "assets" / "synthetic_walk.mp4"
HANDS_AND_FEET = [
    JOINT_NAMES.index(f"{side}_{name}") for side in ("left", "right") for name in ("wrist", "knee", "ankle")
]


@cache
def own() -> BodyArrays:
    return load_body("body_1722")


@cache
def foreign() -> BodyArrays:
    """The same people, said otherwise: another mean person, and betas that are mixtures of the own ones."""
    mixed = Rotation.random(random_state=np.random.default_rng(4)).as_matrix()
    mixture = np.eye(10)
    mixture[:3, :3], mixture[3:6, 3:6] = mixed, mixed.T
    mean = own().shapedirs @ np.array([0.5, -0.6, 0.8, 0.4, 0, 0, 0, 0, 0, 0])
    shapedirs = (own().shapedirs @ mixture).astype(np.float32)
    return replace(own(), v_template=own().v_template + mean, shapedirs=shapedirs, beta_limit=np.inf)


@cache
def drooping() -> BodyArrays:
    """The own body, resting with its arms 35 degrees down and its legs apart; of one shape."""
    pose = np.zeros((24, 3))
    pose[[JOINT_NAMES.index(f"{side}_shoulder") for side in ("left", "right")], 2] = [-0.6, 0.6]
    pose[[JOINT_NAMES.index(f"{side}_hip") for side in ("left", "right")], 2] = [0.15, -0.15]
    vertices, joints = NumpyBody(own()).pose(pose[0], pose[1:], np.zeros(3))
    regressor = np.zeros_like(own().joint_regressor)
    regressor[:, :24] = np.eye(24)
    vertices[:24] = joints  # the regressor of a resting body does not fit a posed one: read the joints off
    return replace(own(), v_template=vertices, joint_regressor=regressor, shapedirs=np.zeros_like(own().shapedirs))


def posed(body: BodyArrays, rotations: AnyFloatArray, betas: AnyFloatArray) -> tuple[AnyFloatArray, AnyFloatArray]:
    """Vertices and joints, metres, of local rotation matrices (24, 3, 3)."""
    poser = NumpyBody(body)
    poser.set_shape(betas)
    turns = matrix_to_axis_angle(rotations)
    return poser.pose(turns[0], turns[1:], np.zeros(3))


def random_rotations(seed: int, spread: float = 0.5) -> AnyFloatArray:
    return axis_angle_to_matrix(np.random.default_rng(seed).normal(0, spread, (24, 3)))


def thickness(body: BodyArrays, vertices: AnyFloatArray) -> AnyFloatArray:
    """Width and depth of belly and thighs of a resting body, metres, by the extent of their skin."""
    follows = body.weights.argmax(1)
    parts = [np.isin(follows, [JOINT_NAMES.index(name)]) for name in ("spine1", "left_hip", "right_hip")]
    return np.array([np.ptp(vertices[part][:, axis]) for part in parts for axis in (0, 2)])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_joints_stay_whatever_the_rest_pose(seed: int) -> None:
    """Lengths are the same and only limbs rest otherwise, so every joint must be where it was."""
    rotations, none = random_rotations(seed), np.zeros(10)
    said = BodyConversion(own(), drooping()).rotations(rotations, none)
    assert np.abs(said - rotations).max() > 0.1
    before, after = posed(own(), rotations, none)[1], posed(drooping(), said, none)[1]
    np.testing.assert_allclose(after[HANDS_AND_FEET], before[HANDS_AND_FEET], atol=1e-3)


def test_a_body_of_the_same_rest_pose_turns_as_before() -> None:
    rotations = np.stack([random_rotations(seed) for seed in range(3)])
    said = BodyConversion(own(), replace(own())).rotations(rotations, np.zeros(10))
    np.testing.assert_allclose(said, rotations, atol=0.02)  # betas come out a little nearer to the mean
    np.testing.assert_allclose(said @ np.swapaxes(said, -1, -2), np.broadcast_to(np.eye(3), said.shape), atol=1e-5)


@pytest.mark.parametrize("scale", [0.96, 1.0, 1.05])
def test_betas_make_another_body_as_long_in_limb_and_trunk(scale: float) -> None:
    target = replace(own(), v_template=own().v_template * scale, shapedirs=own().shapedirs * scale, beta_limit=np.inf)
    conversion, still = BodyConversion(own(), target), np.tile(np.eye(3), (24, 1, 1))
    for seed in range(5):
        betas = np.random.default_rng(seed).normal(0, 0.8, 10)
        before, after = posed(own(), still, betas)[1], posed(target, still, conversion.betas(betas))[1]
        for joint, end in LIMB_BONES:
            lengths = [np.linalg.norm(part[end] - part[joint]) for part in (before, after)]
            assert abs(lengths[0] - lengths[1]) < 0.008
        assert abs(np.ptp(before[:, 1]) - np.ptp(after[:, 1])) < 0.015  # head to toe


def test_a_person_said_in_other_betas_is_the_same_person() -> None:
    conversion, errors, plain = BodyConversion(own(), foreign()), [], []
    for seed in range(10):
        betas, rotations = np.random.default_rng(seed).normal(0, 1, 10), random_rotations(seed, 0.4)
        said = conversion.rotations(rotations, betas), conversion.betas(betas)
        truth = posed(own(), rotations, own().clamp_betas(betas))
        found, unconverted = posed(foreign(), *said), posed(foreign(), rotations, betas)
        errors.append(np.linalg.norm(found[0] - truth[0], axis=1).mean())
        plain.append(np.linalg.norm(unconverted[0] - truth[0], axis=1).mean())
        assert np.linalg.norm(found[1] - truth[1], axis=1).mean() < 0.012
    assert max(errors) < 0.012
    assert np.mean(errors) < 0.3 * np.mean(plain)


@pytest.mark.parametrize("heavier", [-1.5, 1.5])
def test_the_heavy_stay_heavy(heavier: float) -> None:
    betas, still = np.eye(10)[1] * heavier, np.tile(np.eye(3), (24, 1, 1))
    shapes = (own(), betas), (own(), np.zeros(10)), (foreign(), BodyConversion(own(), foreign()).betas(betas))
    truth, mean, found = (thickness(body, posed(body, still, shape)[0]) for body, shape in shapes)
    assert np.abs(truth - mean).max() > 0.02
    assert np.abs(found - truth).mean() < 0.35 * np.abs(truth - mean).mean()


def test_betas_are_clamped_as_posing_clamps_them() -> None:
    conversion = BodyConversion(own(), own())
    np.testing.assert_array_equal(conversion.betas(np.full(10, 9.0)), conversion.betas(np.full(10, own().beta_limit)))
    assert np.abs(conversion.betas(np.full((3, 10), 9.0))).max() <= own().beta_limit


def test_only_bodies_that_differ_are_converted() -> None:
    shifted = replace(
        own(), v_template=own().v_template + np.float32([0, 0.3, 0])
    )  # SMPL's origin is not at its pelvis
    for same in (own(), shifted, load_body("body_6890")):
        assert BodyConversion.where_needed(own(), same) is None
    for other in (foreign(), drooping()):
        assert BodyConversion.where_needed(own(), other) is not None


def test_a_slice_without_skin_is_left_out() -> None:
    """Thighs that follow the pelvis cannot be measured; the rest still says who it is."""
    weights = own().weights.copy()
    thighs = [JOINT_NAMES.index(f"{side}_hip") for side in ("left", "right")]
    weights[:, 0] += weights[:, thighs].sum(1)
    weights[:, thighs] = 0
    betas = np.array([1.2, -1, 0, 0.8, 0, 0, 0, 0, 0, 0])
    found = BodyConversion(own(), replace(own(), weights=weights)).betas(betas)
    np.testing.assert_allclose(found[[0, 1, 3]], betas[[0, 1, 3]], atol=0.3)


def test_a_body_that_rests_otherwise_altogether_is_refused() -> None:
    crossed = replace(own(), v_template=own().v_template * np.float32([-1, 1, 1]))
    with pytest.raises(BodyError, match="T-pose"):
        BodyConversion(own(), crossed)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="24, 3, 3"):
        BodyConversion(own(), own()).rotations(np.zeros((24, 3)), np.zeros(10))


def test_a_users_body_moves_in_the_video_as_the_default_one_does(tmp_path: Path) -> None:
    """The whole program with --body: the same person, posed in the file's own terms."""
    default, file = load_body(), tmp_path / "theirs.npz"
    shapedirs = np.roll(default.shapedirs, 3, -1) * np.float32(-1)
    mean = default.shapedirs @ np.eye(10, dtype=np.float32)[1]  # heavier than ours
    fields = smpl_fields(replace(default, v_template=default.v_template + mean, shapedirs=shapedirs))
    np.savez(file, **fields)
    motions = []
    for number, body in enumerate((None, file)):
        path = tmp_path / f"{number}.npz"
        Session(Options(source=str(CLIP), view="none", engine="onnxruntime", save=(path,), body=body, frames=12)).run()
        motions.append(load_motion(path))
    ours, theirs = motions
    assert theirs.body_sha256 == load_body(file).sha256 != ours.body_sha256
    assert np.abs(theirs.betas - ours.betas).max() > 0.5
    error = np.linalg.norm((theirs.joints_m - theirs.joints_m[:, :1]) - (ours.joints_m - ours.joints_m[:, :1]), axis=-1)
    assert error.mean() < 0.01
    poser = NumpyBody(load_body(file))
    poser.set_shape(theirs.betas[-1])
    _, joints = poser.pose(theirs.global_orient[-1], theirs.body_pose[-1], theirs.transl[-1])
    np.testing.assert_allclose(joints, theirs.joints_m[-1], atol=1e-4)
