"""Between bodies that differ in size or rest pose: limbs keep their lengths and point where they pointed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from body.joints import JOINT_NAMES
from body.lbs import NumpyBody
from body.model import BodyArrays, load_body
from training.datasets.conversion import BodyConversion
from training.motion.clip import CANONICAL_BONES, joint_positions

LIMBS = [(joint, end) for joint, end, _ in CANONICAL_BONES]


@cache
def own() -> BodyArrays:
    return load_body("body_1722")


@cache
def drooping() -> BodyArrays:
    """The same body, resting with its arms 35 degrees down and its legs apart."""
    pose = np.zeros((24, 3))
    pose[[JOINT_NAMES.index(f"{side}_shoulder") for side in ("left", "right")], 2] = [-0.6, 0.6]
    pose[[JOINT_NAMES.index(f"{side}_hip") for side in ("left", "right")], 2] = [0.15, -0.15]
    vertices, joints = NumpyBody(own()).pose(pose[0], pose[1:], np.zeros(3))
    regressor = np.zeros_like(own().joint_regressor)
    regressor[:, :24] = np.eye(24)
    vertices[:24] = joints  # the regressor of a resting body does not fit a posed one: read the joints off
    return replace(own(), v_template=vertices, joint_regressor=regressor, shapedirs=np.zeros_like(own().shapedirs))


def rest(body: BodyArrays, betas: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return np.asarray(body.joint_regressor @ (body.v_template + body.shapedirs @ betas), np.float64)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_joints_stay_whatever_the_rest_pose(seed: int) -> None:
    """Lengths are the same and only limbs rest otherwise, so every joint must be where it was."""
    rotations, none = np.random.default_rng(seed).normal(0, 0.5, (4, 24, 3)), np.zeros(10)
    said = BodyConversion(own(), drooping()).rotations(rotations, none)
    assert np.abs(said - rotations).max() > 0.1
    before = joint_positions(rotations, np.zeros((4, 3)), rest(own(), none))
    after = joint_positions(said, np.zeros((4, 3)), rest(drooping(), none))
    limbs = [JOINT_NAMES.index(f"{side}_{joint}") for side in ("left", "right") for joint in ("wrist", "knee", "ankle")]
    np.testing.assert_allclose(after[:, limbs], before[:, limbs], atol=1e-3)


@pytest.mark.parametrize("scale", [0.96, 1.0, 1.05])
def test_betas_make_another_body_as_long_in_limb_and_trunk(scale: float) -> None:
    target = replace(own(), v_template=own().v_template * scale, shapedirs=own().shapedirs * scale, beta_limit=np.inf)
    conversion = BodyConversion(own(), target)
    for seed in range(5):
        betas = np.random.default_rng(seed).normal(0, 0.8, 10)
        before, after = rest(own(), betas), rest(target, conversion.betas(betas))
        for joint, end in LIMBS:
            lengths = [np.linalg.norm(part[end] - part[joint]) for part in (before, after)]
            assert abs(lengths[0] - lengths[1]) < 0.008
        assert abs(np.ptp(before[:, 1]) - np.ptp(after[:, 1])) < 0.015  # head to toe


def test_betas_are_clamped_as_posing_clamps_them() -> None:
    conversion = BodyConversion(own(), own())
    np.testing.assert_array_equal(conversion.betas(np.full(10, 9.0)), conversion.betas(np.full(10, own().beta_limit)))
    assert np.abs(conversion.betas(np.full((3, 10), 9.0))).max() <= own().beta_limit
