from __future__ import annotations

import numpy as np
import pytest

from common.arrays import DoubleArray
from realtime.stages.world import recorded_feet
from realtime.stages.world.foot_kernels import MAX_ACROSS_M
from realtime.stages.world.leg_reach import MAX_JOINT_SHIFT_M
from realtime.stages.world.recorded_feet import hold_recorded

EYE = np.array([0.0, 1.4, 4.0])
FPS = 30.0


def feet_under(pelvis: DoubleArray) -> DoubleArray:
    """Soles (T, 4, 3) of somebody who stands with the pelvis (T, 3) 0.9 m over them."""
    under = np.array([[0.15, -0.9, -0.1], [0.15, -0.9, 0.1], [-0.15, -0.9, -0.1], [-0.15, -0.9, 0.1]])
    return np.asarray(pelvis[:, None] + under, np.float64)


def wander(frames: int, size: float, seed: int) -> DoubleArray:
    """(T,) smooth noise of this standard deviation."""
    noise = np.convolve(np.random.default_rng(seed).normal(size=frames + 40), np.hanning(41), "valid")[:frames]
    return np.asarray(noise / noise.std() * size, np.float64)


def seen_from_eye(points: DoubleArray, farther: DoubleArray) -> DoubleArray:
    """``points`` (T, ..., 3) at distances that are wrong by the shares ``farther`` (T,)."""
    return np.asarray(EYE + (points - EYE) * (1 + farther).reshape(-1, *[1] * (points.ndim - 1)), np.float64)


def test_somebody_who_stands_stays_although_the_distance_wanders() -> None:
    frames = 150
    truth = np.tile([0.0, 0.9, 0.0], (frames, 1))
    off = wander(frames, 0.02, 1)
    pelvis, soles = seen_from_eye(truth, off), seen_from_eye(feet_under(truth), off)
    soles[:, :2, 2] += wander(frames, 0.015, 2)[:, None]  # and one leg by itself
    shift, moves = hold_recorded(np.arange(frames) / FPS, pelvis, soles, np.full((frames, 4), 0.9), EYE)
    held = soles + shift[:, None] + np.repeat(moves, 2, 1)
    before, after = (np.linalg.norm(np.diff(feet, axis=0), axis=-1).mean() for feet in (soles, held))
    assert after < 0.2 * before
    assert np.linalg.norm(moves, axis=-1).max() <= MAX_JOINT_SHIFT_M + 1e-9
    assert np.std(pelvis[:, 2] + shift[:, 2]) < 0.3 * np.std(pelvis[:, 2])


def test_feet_over_or_under_the_floor_come_nearer_to_it_where_there_is_one() -> None:
    pelvis = np.tile([0.0, 0.96, 0.0], (90, 1))
    soles, contact = feet_under(pelvis), np.full((90, 4), 0.9)
    for has_floor in (True, False):
        shift, moves = hold_recorded(np.arange(90) / FPS, pelvis, soles, contact, EYE, has_floor)
        height = (soles + shift[:, None] + np.repeat(moves, 2, 1))[..., 1]
        assert (height.max() < 0.05) == has_floor


@pytest.mark.parametrize(("contact", "across"), [(0.05, 0.0), (0.95, 1.5)])
def test_who_is_in_the_air_or_moves_across_is_not_held(contact: float, across: float) -> None:
    """The second has a contact that the network has wrong."""
    frames = 120
    place = (np.arange(frames) - frames / 2) / FPS * across
    pelvis = np.stack([place, 0.9 + np.zeros(frames), wander(frames, 0.05, 3)], 1)
    shift, moves = hold_recorded(
        np.arange(frames) / FPS, pelvis, feet_under(pelvis), np.full((frames, 4), contact), EYE
    )
    ray = (pelvis - EYE) / np.linalg.norm(pelvis - EYE, axis=-1, keepdims=True)
    aside = shift - (shift * ray).sum(-1, keepdims=True) * ray
    assert np.linalg.norm(aside, axis=-1).max() <= MAX_ACROSS_M + 1e-9
    assert (np.linalg.norm(shift, axis=-1) < 0.05 * np.linalg.norm(pelvis - EYE, axis=-1)).all()
    assert np.linalg.norm(moves, axis=-1).max() <= MAX_JOINT_SHIFT_M + 1e-9


@pytest.mark.parametrize("speed", [0.8, 1.2, -1.2])
def test_a_treadmill_does_not_carry_its_walker_off(speed: float) -> None:
    """The belt takes the standing foot along the line of sight while the pelvis stays."""
    step_s, frames = 0.6, 450
    pelvis = np.tile([0.0, 0.9, 0.0], (frames, 1))
    soles, contact = feet_under(pelvis), np.full((frames, 4), 0.1)
    for side in (0, 1):
        phase = (np.arange(frames) / FPS / (2 * step_s) + 0.5 * side) % 1
        share, stands = np.where(phase < 0.5, 2 * phase, 2 - 2 * phase), phase < 0.5
        mine = slice(2 * side, 2 * side + 2)
        soles[:, mine, 2] += ((share - 0.5) * speed * step_s)[:, None]
        soles[:, mine, 1] += np.where(stands, 0.0, 0.05)[:, None]
        contact[:, mine] = np.where(stands, 0.95, 0.1)[:, None]
    shift, _ = hold_recorded(np.arange(frames) / FPS, pelvis, soles, contact, EYE)
    assert np.abs(shift[:, 2]).max() < 0.15


@pytest.mark.parametrize("frames", [0, 1, 2, 3])
def test_the_shortest_tracks_are_held_or_left(frames: int) -> None:
    pelvis = np.tile([0.0, 0.9, 0.0], (frames, 1))
    shift, moves = hold_recorded(np.arange(frames) / FPS, pelvis, feet_under(pelvis), np.ones((frames, 4)), EYE)
    assert shift.shape == (frames, 3)
    assert moves.shape == (frames, 2, 3)
    assert np.isfinite(shift).all()
    assert np.isfinite(moves).all()


def test_equal_results_at_any_frame_rate() -> None:
    def held(fps: int) -> DoubleArray:
        times = np.arange(5 * fps) / fps
        truth = np.tile([0.0, 0.9, 0.0], (len(times), 1))
        off = 0.02 * np.sin(2 * np.pi * 0.4 * times)
        pelvis, soles = seen_from_eye(truth, off), seen_from_eye(feet_under(truth), off)
        shift, _ = hold_recorded(times, pelvis, soles, np.full((len(times), 4), 0.9), EYE)
        return np.asarray(shift[:: fps // 15], np.float64)

    np.testing.assert_allclose(held(30), held(15), atol=0.01)
    np.testing.assert_allclose(held(60), held(30), atol=0.01)


def test_the_banded_system_is_solved_as_a_dense_one() -> None:
    rng, frames = np.random.default_rng(5), 7
    blocks = np.zeros((3, frames, 3, 3))
    dense = np.zeros((3 * frames, 3 * frames))
    for ahead in range(3):
        for t in range(frames - ahead):
            block = rng.normal(size=(3, 3))
            if ahead == 0:
                block = block @ block.T + 30 * np.eye(3)
            blocks[ahead, t] = block
            here, there = slice(3 * t, 3 * t + 3), slice(3 * (t + ahead), 3 * (t + ahead) + 3)
            dense[here, there] = block
            dense[there, here] = block.T
    side = rng.normal(size=(frames, 3))
    expected = np.linalg.solve(dense, side.ravel()).reshape(frames, 3)
    np.testing.assert_allclose(recorded_feet._solve(blocks, side), expected, atol=1e-12)
