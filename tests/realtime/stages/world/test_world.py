from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from body.soles import Soles
from common.arrays import DoubleArray
from realtime.records import BodyEstimate, WorldFrame
from realtime.stages.world import kernels
from realtime.stages.world.vertical import pitch_and_roll
from realtime.stages.world.world import World
from tests.realtime.stages.world.world_scene import (
    ARRAYS,
    CAMERA,
    Person,
    camera_from_world,
    frame,
    turn_by,
    view_of,
    wall,
)

ASKEW = turn_by((0, 0, 45))
"""No edge of the wall is upright: these tests are of what people say."""
STILL = view_of(wall(), ASKEW)


def degrees_off(found: WorldFrame, view: DoubleArray) -> float:
    cosine = float(found.world_from_camera[1, :3].astype(np.float64) @ view[:3, 1])
    return math.degrees(math.acos(min(1.0, cosine)))


def walk(
    world: World, view: DoubleArray, people: list[Person], frames: int = 120, error: DoubleArray | None = None
) -> list[WorldFrame]:
    """People take a step of 0.6 m every half second, away from the camera."""
    found = []
    for number in range(frames):
        step = 0.6 * (number // 15)
        bodies = [
            person.at(
                (0.8 * who - 0.6, 0.0, -2.5 - step - who),
                view,
                sequence=number,
                up_error=error,
                sigma=0.03 if error is None else 0.1,
            )
            for who, person in enumerate(people)
        ]
        answer = world(frame(number, STILL), bodies)
        assert answer is not None
        found.append(answer)
    return found


@pytest.mark.parametrize(("pitch", "roll"), [(0.0, 0.0), (20.0, -12.0), (35.0, 5.0), (-10.0, 25.0)])
def test_a_walker_says_how_the_camera_is_tilted_and_where_the_floor_is(pitch: float, roll: float) -> None:
    view = camera_from_world(math.radians(pitch), math.radians(roll), 1.6)
    last = walk(World(CAMERA, ARRAYS), view, [Person()])[-1]
    assert degrees_off(last, view) < 2.0
    assert last.world_from_camera[1, 3] == pytest.approx(1.6, abs=0.06)
    assert 0 < last.up_sigma < math.radians(4)
    assert last.floor_sigma < 0.15
    feet = (
        Person().at((0.3, 0.0, -4.0), view).vertices @ last.world_from_camera[:3, :3].T + last.world_from_camera[:3, 3]
    )
    assert feet[:, 1].min() == pytest.approx(0, abs=0.05)


def test_where_the_user_says_how_the_camera_is_tilted_the_network_is_overruled() -> None:
    view = camera_from_world(math.radians(24), math.radians(-20), 2.0)
    last = walk(World(CAMERA, ARRAYS, math.radians(24), math.radians(-20)), view, [Person()], 30, turn_by((12, 0, 9)))[
        -1
    ]
    assert degrees_off(last, view) < 1.0
    only_roll = walk(World(CAMERA, ARRAYS, roll=math.radians(-20)), view, [Person()], 6, turn_by((0, 0, 9)))[-1]
    assert math.degrees(pitch_and_roll(only_roll.world_from_camera[1, :3])[1]) == pytest.approx(-20, abs=1.0)


def test_feet_in_several_places_correct_a_network_that_is_wrong() -> None:
    view = camera_from_world(math.radians(15), 0.0, 1.6)
    wrong = turn_by((-7, 0, 0))
    standing = World(CAMERA, ARRAYS)
    for number in range(60):
        found = standing(
            frame(number, STILL), [Person().at((0, 0, -4), view, sequence=number, up_error=wrong, sigma=0.1)]
        )
    assert found is not None
    assert degrees_off(found, view) > 5
    assert degrees_off(walk(World(CAMERA, ARRAYS), view, [Person()], 180, wrong)[-1], view) < 3.5


def test_a_still_camera_has_the_same_answer_in_every_frame_once_it_is_known() -> None:
    view = camera_from_world(math.radians(10), math.radians(3), 1.5)
    world, rng, person = World(CAMERA, ARRAYS), np.random.default_rng(0), Person()
    found = []
    for number in range(240):
        noisy = np.clip(STILL + rng.normal(0, 4, STILL.shape), 0, 255).astype(np.uint8)
        error = turn_by(tuple(rng.normal(0, 2, 3)))
        found.append(world(frame(number, noisy), [person.at((0, 0, -3), view, sequence=number, up_error=error)]))
    rotations = np.array([one.world_from_camera for one in found[90:] if one is not None])
    assert len(rotations) == 150
    assert (rotations == rotations[0]).all()
    assert not world.motion.has_moved
    sigmas = [one.up_sigma for one in found if one is not None]
    # The deviation grows with the predicted rolls, whose mean moves a little with each frame's noise.
    assert (np.diff(sigmas) <= math.radians(0.02)).all(), "a still camera's answer hardly gets worse"
    assert sigmas[-1] < sigmas[0]


def test_people_in_the_air_or_on_a_box_do_not_move_the_floor() -> None:
    view = camera_from_world(math.radians(12), 0.0, 1.6)
    world, jumper, other = World(CAMERA, ARRAYS), Person(0), Person(1)
    heights = []
    for number in range(300):
        air = 0.5 * max(math.sin(number / 6), 0) if number > 90 else 0.0
        bodies = [
            jumper.at((-0.5, air, -3.0), view, sequence=number, contact=0.99 if number % 3 or number < 90 else 0.2),
            other.at((0.5, 0.45 if number > 150 else 0.0, -3.5), view, sequence=number),
        ]
        answer = world(frame(number, STILL), bodies)
        assert answer is not None
        heights.append(float(answer.world_from_camera[1, 3]))
    assert np.ptp(heights[60:]) < 0.05
    assert heights[-1] == pytest.approx(1.6, abs=0.06)


def test_while_the_floor_moves_it_is_said_where_to() -> None:
    """Somebody on a roof is the first to stand, then many stand on the ground."""
    view = camera_from_world(math.radians(5), 0.0, 1.6)
    world, found = World(CAMERA, ARRAYS), []
    for number in range(240):
        step = 0.3 * (number // 10)
        bodies = [Person(0).at((-0.5, 1.5, -6.0), view, sequence=number)]
        bodies += [Person(1).at((1.0 - step, 0.0, -6.0), view, sequence=number)] if number > 60 else []
        answer = world(frame(number, STILL), bodies)
        assert answer is not None
        found.append(answer)
    begins = next(number for number, one in enumerate(found) if one.world_from_camera[1, 3] > 0.5)
    assert found[begins].settled is not None
    assert found[begins].settled[1, 3] == pytest.approx(1.6, abs=0.1)
    assert found[-1].settled is None
    assert found[-1].world_from_camera[1, 3] == pytest.approx(1.6, abs=0.1)


def larger(body: BodyEstimate, factor: float, growth: float) -> BodyEstimate:
    """``body`` seen by a network that takes him for larger and farther away by ``factor``, and made larger by ``growth``."""
    by = np.float32(factor * growth)
    return replace(
        body,
        transl=by * body.transl,
        joints=by * body.joints,
        coco=by * body.coco,
        vertices=by * body.vertices,
        growth=growth,
    )


@pytest.mark.parametrize("known", [False, True])
def test_people_whose_sizes_are_wrong_come_to_stand_on_one_floor(known: bool) -> None:
    view = camera_from_world(math.radians(12), 0.0, 1.6)
    world, soles = World(CAMERA, ARRAYS, sizes_known=known), Soles(ARRAYS)
    wrong = {0: 1.05, 1: 0.96}
    for number in range(150):
        upright = [Person(who).at((who - 0.5, 0.0, -3.0 - who), view, sequence=number) for who in wrong]
        bodies = [larger(body, wrong[body.person], world.growths.get(body.person, 1.0)) for body in upright]
        answer = world(frame(number, STILL), bodies)
        assert answer is not None
    place = answer.world_from_camera
    heights = [float((soles(body.vertices) @ place[1, :3] + place[1, 3]).mean()) for body in bodies]
    if known:  # the user has said how high people are
        assert world.growths == {}
        assert abs(heights[0] - heights[1]) > 0.08
    else:
        assert abs(heights[0] - heights[1]) < 0.05
        assert np.abs(heights).max() < 0.04
        assert world.growths[0] < 0.98
        assert world.growths[1] > 1.02


def test_a_single_person_keeps_the_size() -> None:
    view = camera_from_world(math.radians(12), 0.0, 1.6)
    world = World(CAMERA, ARRAYS)
    walk(world, view, [Person(size=1.05)])
    assert world.growths == {}


def test_without_a_floor_the_first_lowest_point_lies_at_zero() -> None:
    view = camera_from_world(math.radians(12), 0.0, 1.6)
    found = walk(World(CAMERA, ARRAYS, floor=False), view, [Person()], 10)
    assert all(one.floor_sigma == math.inf for one in found)
    first = Person().at((-0.6, 0, -2.5), view)
    lowest = (first.vertices @ found[0].world_from_camera[1, :3] + found[0].world_from_camera[1, 3]).min()
    assert lowest == pytest.approx(0, abs=0.02)


def test_the_world_begins_under_the_first_person_and_looks_the_way_the_camera_does() -> None:
    view = camera_from_world(math.radians(20), math.radians(8), 1.7)
    found = walk(World(CAMERA, ARRAYS), view, [Person()], 3)[0].world_from_camera.astype(np.float64)
    np.testing.assert_allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3), atol=1e-6)
    assert np.linalg.det(found[:3, :3]) == pytest.approx(1, abs=1e-6)
    pelvis = Person().at((-0.6, 0, -2.5), view).transl
    np.testing.assert_allclose((found[:3, :3] @ pelvis + found[:3, 3])[[0, 2]], 0, atol=1e-5)
    ahead = found[:3, :3] @ (0, 0, 1)
    assert ahead[2] < -0.8
    assert abs(ahead[0]) < 1e-6


def test_nothing_is_said_while_nobody_was_seen_and_all_of_it_stays_when_people_have_gone() -> None:
    view = camera_from_world(0.1, 0.0, 1.6)
    world = World(CAMERA, ARRAYS)
    assert world(frame(0, STILL), []) is None
    seen = [world(frame(number, STILL), [Person().at((0, 0, -3), view, sequence=number)]) for number in range(1, 40)][
        -1
    ]
    gone = [world(frame(number, STILL), []) for number in range(40, 100)]
    assert seen is not None
    assert all(one is not None for one in gone)
    np.testing.assert_allclose(gone[-1].world_from_camera, seen.world_from_camera, atol=0.02)  # type: ignore[union-attr]


@settings(max_examples=6, deadline=None)
@given(st.floats(-25, 25), st.floats(-10, 30))
def test_turning_the_camera_turns_the_answer_with_it(roll: float, pitch: float) -> None:
    """The same scene from a tilted camera: where the network is sure, bodies are at the same places of the world."""
    at = []
    for view in (camera_from_world(0.1, 0.0, 1.5), camera_from_world(math.radians(pitch), math.radians(roll), 1.5)):
        world = World(CAMERA, ARRAYS)
        found = None
        for number in range(12):
            body = Person().at((0, 0, -4), view, sequence=number, sigma=0.005)
            found = world(frame(number, STILL), [body])
        assert found is not None
        at.append(body.joints @ found.world_from_camera[:3, :3].T + found.world_from_camera[:3, 3])
    np.testing.assert_allclose(at[1][:, 1], at[0][:, 1], atol=0.02)
    upright = at[1][12] - at[1][0]
    assert abs(upright[1] - (at[0][12] - at[0][0])[1]) < 0.01


def test_a_cut_begins_a_new_world() -> None:
    view = camera_from_world(0.1, 0.0, 1.6)
    other = camera_from_world(0.5, 0.3, 2.5)
    world, person = World(CAMERA, ARRAYS), Person()
    elsewhere = view_of(wall(5), turn_by((0, 30, 0)) @ ASKEW)
    for number in range(60):
        world(frame(number, STILL), [person.at((0, 0, -3), view, sequence=number)])
    for number in range(60, 90):
        found = world(frame(number, elsewhere), [Person(1).at((0, 0, -3), other, sequence=number)])
    assert world.motion.shot == 1
    assert found is not None
    assert degrees_off(found, other) < 3


def test_no_frame_waits_for_loops_to_be_compiled() -> None:
    world = World(CAMERA, ARRAYS)
    loops = {name: loop for name, loop in vars(kernels).items() if hasattr(loop, "signatures")}
    before = {name: list(loop.signatures) for name, loop in loops.items()}
    view = camera_from_world(0.1, 0.0, 1.6)
    for number in range(12):
        people = (Person().at((0.0, 0.0, -3.0), view, sequence=number),)
        world(frame(number, STILL), people)
        world.with_feet_locked(people, number / 30)
    assert len(loops) >= 5
    assert {name: list(loop.signatures) for name, loop in loops.items()} == before  # of inner ones none where cached
    assert any(before.values())
