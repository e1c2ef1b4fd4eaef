"""Quaternions against scipy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation, Slerp

from training.motion import rotations as rot

RNG = np.random.default_rng(1)


def _scipy(quaternions: rot.DoubleArray) -> Rotation:
    return Rotation.from_quat(quaternions[..., [1, 2, 3, 0]])


@pytest.mark.parametrize("order", ["".join(order) for order in itertools.permutations("XYZ")] + ["ZXZ", "YX", "Y"])
def test_euler_orders_multiply_as_written(order: str) -> None:
    angles = RNG.uniform(-3.0, 3.0, size=(20, len(order)))
    expected = Rotation.from_euler(order, angles).as_matrix()
    assert np.allclose(_scipy(rot.from_euler(order, angles)).as_matrix(), expected, atol=1e-12)


def test_axis_angle_both_ways() -> None:
    vectors = RNG.normal(size=(50, 3)) * 0.9
    vectors[0] = 0.0
    vectors[1] = (1e-13, 0.0, 0.0)
    assert np.allclose(_scipy(rot.from_axis_angle(vectors)).as_matrix(), Rotation.from_rotvec(vectors).as_matrix())
    assert np.allclose(rot.to_axis_angle(rot.from_axis_angle(vectors)), vectors, atol=1e-12)
    # More than half a turn comes back the short way round.
    assert np.allclose(rot.to_axis_angle(rot.from_axis_angle([0.0, 4.0, 0.0])), [0.0, 4.0 - 2.0 * np.pi, 0.0])


def test_multiply_rotate_inverse() -> None:
    a, b = rot.unit_quaternion(RNG.normal(size=(2, 10, 4)))
    vectors = RNG.normal(size=(10, 3))
    assert np.allclose(_scipy(rot.multiply(a, b)).as_matrix(), (_scipy(a) * _scipy(b)).as_matrix())
    assert np.allclose(rot.rotate(a, vectors), _scipy(a).apply(vectors))
    assert np.allclose(rot.multiply(a, rot.inverse(a)), [1.0, 0.0, 0.0, 0.0])


def test_slerp_goes_the_short_way_at_constant_speed() -> None:
    a, b = rot.unit_quaternion(RNG.normal(size=(2, 4)))
    fractions = np.linspace(0.0, 1.0, 7)
    expected = Slerp([0.0, 1.0], Rotation.concatenate([_scipy(a), _scipy(b)]))(fractions).as_matrix()
    for end in (b, -b):
        got = rot.slerp(np.tile(a, (7, 1)), np.tile(end, (7, 1)), fractions)
        assert np.allclose(_scipy(got).as_matrix(), expected, atol=1e-12)
    assert np.allclose(rot.slerp(a, a, np.asarray(0.3)), a)


def test_between_is_the_shortest_rotation() -> None:
    for start, end in RNG.normal(size=(10, 2, 3)):
        turn = rot.between(start, end)
        assert np.allclose(rot.rotate(turn, start / np.linalg.norm(start)), end / np.linalg.norm(end))
        assert abs(turn[1:] @ start) < 1e-12
    with pytest.raises(ValueError, match="zero length"):
        rot.between((0, 0, 0), (1, 0, 0))
    with pytest.raises(ValueError, match="opposite"):
        rot.between((1, 0, 0), (-2, 0, 0))


def test_chains() -> None:
    local = rot.unit_quaternion(RNG.normal(size=(5, 4, 4)))
    parents = (-1, 0, 1, 0)
    world = rot.globals_from_locals(local, parents)
    assert np.allclose(world[:, 2], rot.multiply(rot.multiply(local[:, 0], local[:, 1]), local[:, 2]))
    assert np.allclose(rot.locals_from_globals(world, parents), local)


def test_zero_quaternions_of_damaged_files_count_as_no_rotation() -> None:
    assert np.array_equal(rot.to_axis_angle(np.zeros((2, 3, 4))), np.zeros((2, 3, 3)))
    assert rot.to_axis_angle(np.zeros((0, 24, 4))).shape == (0, 24, 3)
    assert rot.from_axis_angle(np.zeros((0, 24, 3))).shape == (0, 24, 4)
