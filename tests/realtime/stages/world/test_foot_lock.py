from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from body.lbs import NumpyBody
from body.soles import Soles
from common.arrays import DoubleArray, FloatArray
from realtime.records import BodyEstimate
from realtime.stages.world import foot_kernels
from realtime.stages.world.foot_kernels import MAX_ACROSS_M, MAX_ALONG
from realtime.stages.world.foot_lock import FootLock, Held
from realtime.stages.world.leg_reach import MAX_JOINT_SHIFT_M, LegReach
from realtime.stages.world.world import World
from tests.realtime.stages.world.test_world import STILL
from tests.realtime.stages.world.world_scene import ARRAYS, CAMERA, Person, camera_from_world, frame

POSE = np.zeros((23, 3), np.float32)
POSE[[0, 1], 0], POSE[[3, 4], 0] = -0.5, 0.8  # hips and knees bent
SOLES = Soles(ARRAYS)


LEGS = LegReach(ARRAYS)


def bent(pose: FloatArray, root: FloatArray) -> BodyEstimate:
    """A body in a pose, its pelvis at the origin."""
    body = NumpyBody(ARRAYS)
    vertices, joints = body.pose(root, pose, np.zeros(3))
    upright = Person().at((0, 0, -3), camera_from_world(0, 0, 1))
    coco, nowhere = body.coco(vertices), np.zeros(3, np.float32)
    return replace(
        upright, global_orient=root, body_pose=pose, transl=nowhere, vertices=vertices, joints=joints, coco=coco
    )


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-0.012, 0.012), min_size=6, max_size=6), st.floats(-3, 3))
def test_a_leg_brings_its_foot_where_it_should_be_and_nothing_else_moves(values: list[float], turn: float) -> None:
    root = np.array([0.2, turn, 0.1], np.float32)
    moves = np.array(values).reshape(2, 3)
    before = bent(POSE, root)
    after = LEGS(before, moves)
    others = [joint for joint in range(24) if joint not in (4, 5, 7, 8, 10, 11)]
    np.testing.assert_array_equal(after.joints[others], before.joints[others])
    made = after.joints[[7, 8]] - before.joints[[7, 8]]
    np.testing.assert_allclose(
        (SOLES(after.vertices) - SOLES(before.vertices)).reshape(2, 2, 3), np.repeat(made[:, None], 2, 1), atol=1e-3
    )
    assert np.linalg.norm(after.joints - before.joints, axis=1).max() <= MAX_JOINT_SHIFT_M + 1e-4
    for side in (0, 1):
        if np.linalg.norm(made[side]) > 0:
            full = moves[side] * min(1, MAX_JOINT_SHIFT_M / max(float(np.linalg.norm(moves[side])), 1e-9))
            leg = before.joints[7 + side] - before.joints[1 + side]
            leg = leg / np.linalg.norm(leg)
            np.testing.assert_allclose(made[side] - made[side] @ leg * leg, full - full @ leg * leg, atol=5e-4)
            assert -1e-4 <= made[side] @ leg * np.sign(full @ leg) <= abs(full @ leg) + 1e-4
    # The same pose, posed from its parameters.
    again = bent(after.body_pose, root)
    np.testing.assert_allclose(after.joints, again.joints, atol=1e-5)
    np.testing.assert_allclose(after.coco[11:], again.coco[11:], atol=3e-3)
    assert np.linalg.norm(after.vertices - again.vertices, axis=1).max() < 3e-3
    assert np.linalg.norm(after.vertices - again.vertices, axis=1).mean() < 2e-4


def test_a_straight_leg_is_not_stretched_and_its_knee_never_bends_backwards() -> None:
    before = bent(np.zeros((23, 3), np.float32), np.zeros(3, np.float32))
    for move in ((0, -0.02, 0), (0, 0.02, 0), (0, 0, 0.02), (0, 0, -0.02)):
        after = LEGS(before, np.array([move, move], np.float64)).joints
        assert np.linalg.norm(after - before.joints, axis=1).max() <= MAX_JOINT_SHIFT_M + 1e-4
        for hip, knee, ankle in ((1, 4, 7), (2, 5, 8)):
            line = after[ankle] - after[hip]
            forward = after[knee] - after[hip] - (after[knee] - after[hip]) @ line / (line @ line) * line
            assert forward[2] > -1e-3


def slides(locked: bool, moving: bool = False) -> tuple[float, float, list[BodyEstimate], list[BodyEstimate]]:
    """Mean slide of the feet in mm a frame, mean distance error of the pelvis in m, and the bodies before and after."""
    view = camera_from_world(math.radians(15), 0.0, 1.7)
    world, rng = World(CAMERA, ARRAYS, foot_lock=locked), np.random.default_rng(3)
    feet, off, before, after = [], [], [], []
    wander = 0.0
    for number in range(150):
        wander = 0.95 * wander + rng.normal(0, 0.008)
        place = (0.0, 0.0, -4.0 - (0.02 * number if moving else 0.0))
        truth = Person().at(place, view, sequence=number)
        seen = Person(size=1 + wander).at(place, view, sequence=number, contact=0.1 if moving else 0.95)
        world(frame(number, STILL), [seen])
        (out,) = world.with_feet_locked((seen,), number / 30)
        feet.append(SOLES(out.vertices))
        off.append(float(np.linalg.norm(out.transl - truth.transl)))
        before.append(seen)
        after.append(out)
    steps = np.linalg.norm(np.diff(np.array(feet), axis=0), axis=-1)
    return float(steps[30:].mean()) * 1000, float(np.mean(off[30:])), before, after


def test_standing_feet_stay_and_the_distance_gets_better() -> None:
    slide, off, _, _ = slides(False)
    calm, near, before, after = slides(True)
    assert slide > 15
    assert calm < 2.0
    assert near < off
    for one, other in zip(before, after, strict=True):
        shift = (other.transl - one.transl).astype(np.float64)
        ray = one.transl / np.linalg.norm(one.transl)
        assert np.linalg.norm(shift - shift @ ray * ray) <= MAX_ACROSS_M + 1e-4
        assert abs(shift @ ray) <= MAX_ALONG * np.linalg.norm(one.transl) + 1e-4
        bent = (other.joints - other.transl) - (one.joints - one.transl)
        assert np.linalg.norm(bent, axis=1).max() <= MAX_JOINT_SHIFT_M + 1e-4


def test_people_in_the_air_are_left_where_they_are() -> None:
    _, _, before, after = slides(True, moving=True)
    for one, other in zip(before[30:], after[30:], strict=True):
        np.testing.assert_allclose(other.transl, one.transl, atol=0.004)


LEG = np.array([[0.0, -0.9, 0.0], [0.0, -0.5, -0.05], [0.0, -0.08, 0.0], [0.0, -0.03, -0.12]])  # from its heel


def legs_of(feet: DoubleArray) -> DoubleArray:
    """Hips, knees, ankles and toes (2, 4, 3) over the heels of ``feet`` (4, 3)."""
    return feet[::2, None] + LEG


def held_feet(held: Held) -> DoubleArray:
    """Where contact points (4, 3) are shown."""
    return held.turned + held.shift + np.repeat(held.moves, 2, 0)


def feet_at(place: tuple[float, float, float]) -> DoubleArray:
    return np.array(place) + np.array([[0.1, 0, 0], [0.1, 0, -0.2], [-0.1, 0, 0], [-0.1, 0, -0.2]])


@pytest.mark.parametrize("contact", [0.0, 0.95])
def test_a_foot_is_tied_only_while_it_stands_and_somebody_new_is_not_tied_to_the_last_one(contact: float) -> None:
    lock = FootLock()
    sure = np.full(4, contact, np.float32)
    pelvis = np.array([0, 0, 4.0])
    for number in range(20):
        feet = feet_at((0, 1, 4 + 0.004 * number))
        held = lock(0, pelvis, feet, legs_of(feet), sure, number / 30, None)
    assert (abs(held.shift[2]) > 0.02) == (contact > 0.5)
    assert (np.abs(held.moves).max() > 0) == (contact > 0.5)
    lock.forget(set())
    feet = feet_at((0, 1, 9))
    held = lock(0, pelvis, feet, legs_of(feet), sure, 21 / 30, None)
    np.testing.assert_allclose(held.shift, 0, atol=1e-9)


@pytest.mark.parametrize("across", [0.005, 0.07])
def test_a_single_standing_foot_holds_through_noise_but_not_through_a_step(across: float) -> None:
    lock, rng = FootLock(), np.random.default_rng(5)
    contact = np.array([0.9, 0.9, 0.1, 0.1], np.float32)
    given, held, wander = [], [], 0.0
    for number in range(90):
        wander = 0.95 * wander + rng.normal(0, 0.006)  # of the network's distance, and a few mm of the foot across it
        noise = rng.normal(0, 0.005, 2) if across < 0.01 else np.array([across * number, 0.0])
        pelvis = np.array([0, 0, 4.0]) * (1 + wander)
        feet = feet_at((0, 1, 4)) * (1 + wander) + np.array([*noise, 0.0])
        given.append(feet[0])
        held.append(held_feet(lock(0, pelvis, feet, legs_of(feet), contact, number / 30, None))[0])
    raw, slide = (
        np.linalg.norm(np.diff(feet, axis=0), axis=1)[30:].mean() for feet in (np.array(given), np.array(held))
    )
    if across < 0.01:
        assert slide < 0.2 * raw
    else:
        assert slide > 0.9 * across


def noisy_run(frames: int) -> list[DoubleArray]:
    """Shifts and moves of somebody who stands, steps and hops on a known floor, with noise from a fixed seed."""
    lock, rng, out = FootLock(), np.random.default_rng(11), []
    place, contact, wander = np.array([0.0, 1.0, 4.0]), np.full(4, 0.9), 0.0
    floor = (np.array([0.0, -1.0, 0.0]), 1.02, 0.05)
    for number in range(frames):
        if number % 20 == 19:
            place[0] += 0.1
            contact = rng.uniform(0, 1, 4)
        wander = 0.95 * wander + rng.normal(0, 0.006)
        feet = (feet_at((place[0], place[1], place[2])) + rng.normal(0, 0.004, (4, 3))) * (1 + wander)
        known = floor if number > 10 else None
        out += lock(0, np.array([0, 0, 4.0]), feet, legs_of(feet), contact.astype(np.float32), number / 30, known)
    return out


def test_the_compiled_loop_gives_what_plain_python_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = noisy_run(200)
    for name in (
        "_apart",
        "_carry",
        "_over_floor",
        "_place_body",
        "_shift_body",
        "_share_within",
        "_shorten",
        "_turn_foot",
        "invert",
        "reach",
        "turn_vector",
    ):
        monkeypatch.setattr(foot_kernels, name, getattr(foot_kernels, name).py_func)
    monkeypatch.setattr("realtime.stages.world.foot_lock.hold_feet", foot_kernels.hold_feet.py_func)
    plain = noisy_run(200)
    assert max(float(np.abs(one).max()) for one in plain) > 0.01
    for one, other in zip(compiled, plain, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


def test_a_body_that_is_held_aside_of_its_person_comes_back_soon() -> None:
    lock, contact, pelvis = FootLock(), np.full(4, 0.95, np.float32), np.array([0, 0, 4.0])
    aside = []
    for number in range(90):
        x = 0.0 if number < 30 else 0.02  # the network's feet go aside by less than a step, and stay there
        feet = feet_at((x, 1, 4))
        aside.append(abs(float(lock(0, pelvis, feet, legs_of(feet), contact, number / 30, None).shift[0])))
    assert max(aside) > 0.005
    assert aside[-1] < 0.001


def test_a_body_goes_back_to_where_it_was_predicted_once_no_foot_is_seen() -> None:
    lock, pelvis, shifts = FootLock(), np.array([0, 0, 4.0]), []
    for number in range(130):
        away = 4 + 0.01 * min(number, 10)  # the predicted distance changes while the feet stand
        contact = np.full(4, 0.9 if number < 12 else 0.0, np.float32)
        feet = feet_at((0, 1, away))
        shifts.append(float(np.linalg.norm(lock(0, pelvis, feet, legs_of(feet), contact, number / 30, None).shift)))
    assert shifts[11] > 0.03
    assert shifts[41] < 0.5 * shifts[11]
    assert shifts[-1] < 0.1 * shifts[11]


@pytest.mark.parametrize("speed", [0.8, 1.2, -1.2])
@pytest.mark.parametrize("contact", [0.6, 0.95])
def test_a_treadmill_does_not_carry_its_walker_off(speed: float, contact: float) -> None:
    """The belt takes the standing foot away from the camera, or towards it, while the pelvis stays where it is."""
    lock, step_s, shifts = FootLock(), 0.6, []
    for number in range(450):
        feet, stands = np.zeros((4, 3)), np.full(4, 0.1, np.float32)
        for side in (0, 1):
            phase = (number / 30 / (2 * step_s) + 0.5 * side) % 1
            share = 2 * phase if phase < 0.5 else 2 - 2 * phase
            for point in (2 * side, 2 * side + 1):
                feet[point] = 0.1 - 0.2 * side, 1.0, 4.0 + (share - 0.5) * speed * step_s - 0.2 * (point % 2)
                if phase < 0.5:
                    stands[point] = contact
                else:
                    feet[point, 1] -= 0.05
        floor = np.array([0.0, -1.0, 0.0]), 1.0, 0.02
        held = lock(0, np.array([0, 0, 4.0]), feet, legs_of(feet), stands, number / 30, floor)
        shifts.append(float(held.shift[2]))
    assert np.abs(shifts[240:]).max() < 0.15, "8 s later it walks where it is seen"
    assert np.ptp(shifts[240:]) < 0.1


def test_a_standing_foot_that_is_predicted_with_another_direction_is_turned_back() -> None:
    """Closed form: a foot predicted 0.1 rad aside about its heel is shown where it was."""
    lock, contact, pelvis, first = FootLock(), np.full(4, 0.95, np.float32), np.array([0, 0, 4.0]), feet_at((0, 1, 4))
    for number in range(30):
        feet = first.copy()
        if number >= 20:
            feet[1] = first[0] + 0.2 * np.array([math.sin(0.1), 0.0, -math.cos(0.1)])
        held = lock(0, pelvis, feet, legs_of(first), contact, number / 30, None)
        if number == 20:
            np.testing.assert_allclose(held_feet(held), first, atol=4e-3)
            follows = 1 - 1 / 30 / 0.6  # the place goes a little towards what is seen
            np.testing.assert_allclose(held.turns[0], [0, 0.1 * follows, 0], atol=2e-3)
            assert np.abs(held.turns[1]).max() < 4e-3


def test_two_standing_feet_that_drift_apart_share_what_their_legs_cannot_bridge() -> None:
    lock, contact, pelvis, shown = FootLock(), np.full(4, 0.95, np.float32), np.array([0, 0, 4.0]), []
    for number in range(60):
        feet = feet_at((0, 1, 4))
        feet[:2, 2] += 0.003 * max(number - 10, 0)  # 15 cm in all; both legs bridge 2 cm each
        held = lock(0, pelvis, feet, legs_of(feet), contact, number / 30, None)
        assert np.linalg.norm(held.moves, axis=1).max() <= MAX_JOINT_SHIFT_M + 1e-9
        shown.append(held_feet(held))
    steps = np.abs(np.diff(np.array(shown), axis=0))
    assert steps[:20].max() < 1e-3, "within the legs' reach nothing slides"
    left, right = steps[40:, 0, 2].mean(), steps[40:, 2, 2].mean()
    assert 0.25 < left / right < 4
    assert left + right < 0.0045


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-0.3, 0.3), min_size=6, max_size=6), st.floats(-3, 3))
def test_turned_feet_are_what_the_turned_pose_gives(values: list[float], turn: float) -> None:
    root, turns = np.array([0.2, turn, 0.1], np.float32), np.array(values).reshape(2, 3) / 3
    before = bent(POSE, root)
    after = LEGS(before, np.full((2, 3), 0.004), turns=turns)
    again = bent(after.body_pose, root)
    np.testing.assert_allclose(after.joints, again.joints, atol=1e-5)
    assert np.linalg.norm(after.vertices - again.vertices, axis=1).max() < 5e-3
    for side in (0, 1):
        toes = before.joints[10 + side] - before.joints[7 + side]
        expected = cv2.Rodrigues(turns[side])[0] @ toes
        np.testing.assert_allclose(after.joints[10 + side] - after.joints[7 + side], expected, atol=1e-5)


@pytest.mark.parametrize("rate", [30.0, 60.0])
def test_a_body_does_not_jump_where_the_predicted_legs_do(rate: float) -> None:
    lock, pelvis, shifts = FootLock(), np.array([0.0, -1.0, 4.0]), []
    feet = np.array([[0.1, 0, 4.0], [0.1, 0, 3.8], [-0.1, 0, 4.0], [-0.1, 0, 3.8]])
    legs = np.array([[[x, -0.9, 4.0], [x, -0.5, 3.9], [x, -0.08, 4.0], [x, -0.03, 3.85]] for x in (0.1, -0.1)])
    for number in range(60):
        away = np.array([0.0, 0.0, 0.05 if number >= 30 else 0.0])
        moved = legs.copy()
        moved[:, 2:] += away
        shifts.append(lock(0, pelvis, feet + away, moved, np.full(4, 0.9, np.float32), number / rate, None).shift)
    steps = np.linalg.norm(np.diff(np.array(shifts), axis=0), axis=-1)
    assert steps[29] > 0.3 / rate  # it follows its feet
    assert steps.max() <= 0.6 / rate + 1e-9
