"""Collar bones follow the arms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from body.joints import JOINT_NAMES, PARENTS
from training.motion.collars import SIDES, collar_turns, earlier_turns, follow_measured_law

from .skeletons import random_clip


def arm(degrees: float, sign: float, axis: str = "z") -> Rotation:
    """An arm raised (z) from the T-pose or swung to the front (y)."""
    return Rotation.from_euler(axis, [[sign * degrees if axis == "z" else -sign * degrees]], degrees=True)


@pytest.mark.parametrize(("side", "sign"), SIDES)
def test_shoulders_sink_with_hanging_arms_and_rise_with_raised_ones(side: str, sign: float) -> None:
    def lift(degrees: float) -> float:
        direction = collar_turns(arm(degrees, sign), sign).apply([sign, 0, 0])[0]
        return float(np.degrees(np.arcsin(direction[1])))

    # Medians measured on ACCAD and UI-PRMD: -20 and -11 hanging, +9 and +13 level, +15 at 22 degrees.
    assert -20 < lift(-83) < -11
    assert 6 < lift(7) < 13
    assert lift(22) == pytest.approx(15, abs=3)
    assert lift(-30) < lift(0) < lift(60)
    back = collar_turns(arm(50, sign), sign).apply([sign, 0, 0])[0]
    assert back[2] < -0.1  # a raised arm takes its shoulder back


def test_collars_of_the_earlier_law_are_found_and_corrected_and_arms_keep_their_directions() -> None:
    clip = random_clip("a", "1", 50)
    turns = clip.rotations.copy()
    for side, sign in SIDES:
        collar, shoulder = (JOINT_NAMES.index(f"{side}_{part}") for part in ("collar", "shoulder"))
        whole = Rotation.from_rotvec(turns[:, shoulder].astype(float))
        made = earlier_turns(whole, sign)
        turns[:, collar], turns[:, shoulder] = made.as_rotvec(), (made.inv() * whole).as_rotvec()
    earlier = replace(clip, rotations=turns)
    (corrected,) = follow_measured_law([earlier])
    for side, sign in SIDES:
        collar, shoulder = (JOINT_NAMES.index(f"{side}_{part}") for part in ("collar", "shoulder"))
        before, after = (
            Rotation.from_rotvec(each.rotations[:, collar].astype(float))
            * Rotation.from_rotvec(each.rotations[:, shoulder].astype(float))
            for each in (earlier, corrected)
        )
        assert (before.inv() * after).magnitude().max() < 1e-5
        wanted = collar_turns(after, sign)
        assert (
            wanted.inv() * Rotation.from_rotvec(corrected.rotations[:, collar].astype(float))
        ).magnitude().max() < 1e-5
    others = [j for j in range(24) if JOINT_NAMES[j].split("_")[-1] not in ("collar", "shoulder")]
    np.testing.assert_array_equal(corrected.rotations[:, others], earlier.rotations[:, others])
    assert PARENTS[JOINT_NAMES.index("left_shoulder")] == JOINT_NAMES.index("left_collar")


def test_measured_collars_stay() -> None:
    clip = random_clip("a", "1", 50)
    (same,) = follow_measured_law([clip])
    assert same is clip
