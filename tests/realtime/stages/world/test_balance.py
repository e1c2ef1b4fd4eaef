from __future__ import annotations

import math

import numpy as np
import pytest

from body.lbs import NumpyBody
from body.rotations import matrix_to_axis_angle
from body.soles import Soles
from common.arrays import DoubleArray, FloatArray
from realtime.stages.world.balance import Balance
from realtime.stages.world.vertical import pitch_and_roll, up_of
from tests.realtime.stages.world.world_scene import ARRAYS, turn_by

SOLES, BODY = Soles(ARRAYS), NumpyBody(ARRAYS)
UP = up_of(math.radians(12), math.radians(-18))
LEVEL = up_of(0.0, 0.0)
BENT = {0: -1.4, 1: -1.4, 3: 1.4, 4: 1.4}  # hips and knees of somebody on a chair


def seen(
    pose: dict[int, float], lean: float = 0.0, toward: float = 0.0, seconds: float = 3.0, contact: float = 0.9
) -> tuple[Balance, DoubleArray]:
    """Somebody in a ``pose`` (turns of joints about x), ``lean`` degrees aside, who stands for ``seconds`` at (0, 0, 4)."""
    angles = np.zeros((23, 3), np.float32)
    angles[[15, 16], 2] = -1.2, 1.2
    for joint, turn in pose.items():
        angles[joint, 0] = turn
    side = np.cross(UP, (0, 0, 1.0))
    side /= np.linalg.norm(side)
    upright = np.stack([side, UP, np.cross(side, UP)], 1)  # faces the camera or looks away
    turned = turn_by((0, 0, lean)) @ upright @ turn_by((toward, 0, 0))
    vertices, joints = BODY.pose(matrix_to_axis_angle(turned), angles, np.zeros(3, np.float32))
    place = np.array([0, 0, 4], np.float32)
    balance, stands = Balance(), np.full(4, contact, np.float32)
    feet: FloatArray = SOLES(vertices) + place
    for _ in range(round(30 * seconds)):
        balance.see(3, joints + place, feet, stands, 1 / 30, np.eye(3), UP)
    return balance, balance.evidence(UP)


def best(matrix: DoubleArray) -> DoubleArray:
    """The direction that the evidence says least against."""
    found: DoubleArray = np.linalg.eigh(matrix)[1][:, 0]
    return found * np.sign(found @ LEVEL)


@pytest.mark.parametrize("pose", [{}, {12: 0.4}])
def test_who_stands_says_how_the_camera_is_rolled(pose: dict[int, float]) -> None:
    _, matrix = seen(pose)
    pitch, roll = (math.degrees(angle) for angle in pitch_and_roll(best(matrix)))
    assert roll == pytest.approx(-18, abs=1.0)
    assert pitch == pytest.approx(12, abs=6)
    across, along = np.sqrt(1 / np.linalg.eigvalsh(matrix)[::-1][:2])
    assert math.radians(1.5) < across < math.radians(4)
    assert along > 1.5 * across, "depths of a pose are known badly"


@pytest.mark.parametrize(
    ("pose", "toward", "contact"), [(BENT, 0.0, 0.9), ({}, 0.0, 0.2), ({}, 80.0, 0.9)], ids=["sits", "hangs", "lies"]
)
def test_who_does_not_stand_says_nothing(pose: dict[int, float], toward: float, contact: float) -> None:
    _, matrix = seen(pose, toward=toward, contact=contact)
    assert not matrix.any()


def test_a_glance_says_little_and_a_lean_against_all_that_is_known_less() -> None:
    def trust(matrix: DoubleArray) -> float:
        return float(np.trace(matrix))

    long, short, askew = seen({})[1], seen({}, seconds=0.4)[1], seen({}, lean=22.0)[1]
    assert 0 < trust(short) < trust(long) / 2
    assert 0 < trust(askew) < trust(long) / 3


def test_a_turned_camera_counts_less_and_what_the_gone_said_stays_known() -> None:
    balance, before = seen({})
    balance.drifted(math.radians(1.0) ** 2)
    after = balance.evidence(UP)
    assert np.trace(after) < np.trace(before)
    np.testing.assert_allclose(balance.forget(set(), UP), after)
    assert not balance.evidence(UP).any()
