"""The regressor stage's compiled loops, against the same formulas in numpy and scipy."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from realtime.stages.regressor.kernels import filter_rotations, solve_translation
from realtime.stages.regressor.smoothing import ROTATION, OneEuro, RotationFilter


@given(st.integers(0, 2**32 - 1), st.floats(1 / 120, 0.2), st.floats(0, 2.5))
@settings(max_examples=30, deadline=None)
def test_a_filter_step_is_the_one_euro_step_on_rotations(seed: int, dt: float, far: float) -> None:
    rng = np.random.default_rng(seed)
    value = Rotation.random(24, random_state=rng)
    measured = value * Rotation.from_rotvec(rng.normal(0, far / 3, (24, 3)))
    speed = rng.normal(0, 1, (24, 3))
    share, ahead = float(OneEuro.alpha(ROTATION.speed_hz, dt)), ROTATION.ahead_s(dt)
    foreseen = value * Rotation.from_rotvec(speed * ahead)
    new_speed = speed + share * ((value.inv() * measured).as_rotvec() / dt - speed)
    cutoff = ROTATION.rest_hz + ROTATION.gain * np.linalg.norm(new_speed, axis=1, keepdims=True)
    wanted = foreseen * Rotation.from_rotvec((foreseen.inv() * measured).as_rotvec() * OneEuro.alpha(cutoff, dt))
    kept, out = speed.astype(np.float32), np.empty((24, 3, 3), np.float32)
    before, new = value.as_matrix().astype(np.float32), measured.as_matrix().astype(np.float32)
    filter_rotations(before, kept, new, dt, ahead, share, ROTATION.rest_hz, ROTATION.gain, out)
    # At half a turn the way there flips between two directions.
    clear = ((value.inv() * measured).magnitude() < 3.0) & ((foreseen.inv() * measured).magnitude() < 3.0)
    np.testing.assert_allclose(kept[clear], new_speed[clear], atol=2e-5 / dt)
    assert (Rotation.from_matrix(out[clear]).inv() * wanted[clear]).magnitude().max(initial=0) < 1e-4


def test_a_filter_gives_arrays_that_stay_as_they_are() -> None:
    smooth, turns = RotationFilter(24), Rotation.random(48, random_state=np.random.default_rng(0)).as_matrix()
    first = smooth(turns[:24].astype(np.float32), 1 / 30)
    second = smooth(turns[24:].astype(np.float32), 1 / 30)
    kept = second.copy()
    third = smooth(turns[:24].astype(np.float32), 1 / 30)
    np.testing.assert_array_equal(second, kept)
    assert len({id(one) for one in (first, second, third)}) == 3


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_round_solves_the_weighted_least_squares_problem(seed: int) -> None:
    """Each keypoint asks that x + X = u (z + Z) and y + Y = v (z + Z); the prediction is one more row an axis."""
    rng = np.random.default_rng(seed)
    coco = rng.normal(0, 0.4, (17, 3)).astype(np.float32)
    start = np.array([0.1, -0.2, 3.0]) + rng.normal(0, 0.2, 3)
    rays = (coco[:, :2] + start[:2]) / (coco[:, 2:] + start[2]) + rng.normal(0, 0.02, (17, 2))
    deviation, weight, prior = rng.uniform(0.03, 0.3, 17), rng.uniform(1, 900, 17), rng.uniform(1, 100, 3)
    edges, outlier = np.array([-9.0, -9.0, 9.0, 9.0]), 1.5
    off = coco[:, :2] + start[:2] - rays * (coco[:, 2:] + start[2])
    root = np.sqrt(weight / (1 + (off**2).sum(1) / (outlier * deviation) ** 2))
    rows = np.concatenate(
        [
            root[:, None] * np.stack([np.ones(17), np.zeros(17), -rays[:, 0]], 1),
            root[:, None] * np.stack([np.zeros(17), np.ones(17), -rays[:, 1]], 1),
            np.diag(np.sqrt(prior)),
        ]
    )
    wanted = [root * (rays[:, axis] * coco[:, 2] - coco[:, axis]) for axis in range(2)]
    solved, *_ = np.linalg.lstsq(rows, np.concatenate([*wanted, np.sqrt(prior) * start]), rcond=None)
    solved[2] = np.clip(solved[2], 0.4 * start[2], 2.5 * start[2])
    found = solve_translation(coco, rays, deviation, weight, edges, start, prior, outlier, 1)
    np.testing.assert_allclose(found, solved, rtol=1e-7, atol=1e-7)
