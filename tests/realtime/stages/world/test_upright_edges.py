from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from common.arrays import DoubleArray, ImageArray
from common.camera import Camera
from realtime.records import WorldFrame
from realtime.stages.world.plane_fit import tangents
from realtime.stages.world.upright_edges import UprightEdges, find_upright_edges, fit_upright_edges, with_meeting_points
from realtime.stages.world.vertical import nearest_up, pitch_and_roll, up_of
from realtime.stages.world.world import World
from tests.realtime.stages.world.world_scene import ARRAYS, Person, camera_from_world, frame, turn_by

CAMERA = Camera(640.0, 640.0, 319.5, 239.5)
SIGMA = math.radians(8)


def room(view: DoubleArray, seed: int = 0, boards: bool = False) -> ImageArray:
    """Cupboards of all colours on a floor, and perhaps floor boards, seen by `CAMERA` from ``view`` (4, 4)."""
    rng = np.random.default_rng(seed)
    image = np.full((480, 640, 3), 110, np.uint8)

    def paint(corners: DoubleArray) -> None:
        at = corners @ view[:3, :3].T + view[:3, 3]
        if (at[:, 2] > 0.3).all():
            pixels = CAMERA.project(at)
            if np.abs(pixels).max() < 2000:
                colour = tuple(rng.integers(0, 255, 3).tolist())
                cv2.fillPoly(image, [np.round(pixels * 16).astype(np.int32)], colour, cv2.LINE_AA, 4)

    if boards:
        for x in np.arange(-3, 3, 0.15):
            paint(np.array([[x, 0, -8], [x + 0.08, 0, -8], [x + 0.08, 0, -2.5], [x, 0, -2.5]]))
    for _ in range(14):
        x, z, low, high = rng.uniform(-4, 4), -rng.uniform(4, 7), rng.uniform(0, 1), rng.uniform(1.4, 3)
        paint(np.array([[x, low, z], [x, high, z], [x + 0.5, high, z], [x + 0.5, low, z]]))
    noise = rng.normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def corrected(image: ImageArray, start: DoubleArray, people: tuple[np.ndarray, ...] = ()) -> DoubleArray:
    """What edges make of a ``start`` of up."""
    edges = find_upright_edges(image, CAMERA, people, np.eye(3))
    assert edges is not None
    found = fit_upright_edges(edges, start, SIGMA)
    if found is None:
        return start
    return nearest_up(np.eye(3) / SIGMA**2 + found[0], start / SIGMA**2 + found[1], start)[0]


def degrees_apart(first: DoubleArray, second: DoubleArray) -> float:
    return math.degrees(math.acos(min(1.0, float(first @ second))))


@pytest.mark.parametrize("boards", [False, True])
@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (20, -14), (-12, 22), (8, 3)])
def test_upright_edges_correct_a_vertical_that_is_ten_degrees_wrong(pitch: float, roll: float, boards: bool) -> None:
    true = up_of(math.radians(pitch), math.radians(roll))
    image = room(camera_from_world(math.radians(pitch), math.radians(roll), 1.5), 5, boards)
    for offset in ((10.0, 0.0), (-7.0, 7.0), (0.0, -10.0)):
        start = true + tangents(true) @ np.radians(offset)
        start /= np.linalg.norm(start)
        found = corrected(image, start)
        assert degrees_apart(found, true) < 3.0
        assert abs(math.degrees(pitch_and_roll(found)[1]) - roll) < 1.5


def boards_only(view: DoubleArray, yaw: float) -> UprightEdges:
    """The seams of a floor that run ``yaw`` degrees aside of the way `CAMERA` looks, as far as they look upright."""
    along, side = turn_by((0, yaw, 0)) @ (0, 0, -1), turn_by((0, yaw, 0)) @ (1, 0, 0)
    places = np.array([[x, z] for x in np.linspace(-4, 4, 60) for z in (1.5, 2.6, 3.7)])
    ends = places[:, None, :1] * side + (places[:, None, 1:] + [[0.0], [1.0]]) * along
    ends = ends @ view[:3, :3].T + view[:3, 3]
    pixels = CAMERA.project(ends)
    steep = np.abs(np.diff(pixels[..., 0])) < 0.6 * np.abs(np.diff(pixels[..., 1]))
    seen = (ends[..., 2] > 0.3).all(1) & ((pixels > 0) & (pixels < (640, 480))).all((1, 2)) & steep[:, 0]
    length = np.linalg.norm(pixels[seen, 0] - pixels[seen, 1], axis=-1)
    rays = ends[seen] / np.linalg.norm(ends[seen], axis=-1, keepdims=True)
    normals, middles = np.cross(rays[:, 0], rays[:, 1]), rays.sum(1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    middles /= np.linalg.norm(middles, axis=-1, keepdims=True)
    weight, sigma = np.minimum(length / 48, 3), np.hypot(0.014, 0.7 / length)
    return with_meeting_points(normals, middles, weight, sigma, np.eye(3)[2])


@pytest.mark.parametrize("yaw", [-25.0, 25.0])
def test_floor_boards_alone_do_not_roll_the_camera(yaw: float) -> None:
    """Of a fan of boards some look upright to a camera that is rolled by 25 degrees and more."""
    edges = boards_only(camera_from_world(math.radians(28), 0.0, 1.6), yaw)
    assert len(edges.weight) > 12
    for pitch in (0.0, 6.0, 12.0, 20.0):
        start = up_of(math.radians(pitch), math.radians(2))
        found = fit_upright_edges(edges, start, math.radians(10))
        if found is not None:
            prior = np.eye(3) / math.radians(10) ** 2
            moved = nearest_up(prior + found[0], prior @ start + found[1], start)[0]
            assert degrees_apart(moved, start) < 2


def test_clutter_without_upright_edges_moves_nothing_far() -> None:
    moved = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        image = np.full((480, 640, 3), 110, np.uint8)
        for _ in range(60):
            middle, size, angle = rng.uniform((0, 0), (640, 480)), rng.uniform(15, 90, 2), rng.uniform(0, 180)
            box = cv2.boxPoints((tuple(middle), tuple(size), angle))
            cv2.fillPoly(image, [box.astype(np.int32)], tuple(rng.integers(0, 255, 3).tolist()))
        start = up_of(math.radians(8), 0.0)
        moved.append(degrees_apart(corrected(image, start), start))
    assert np.median(moved) < 1.0
    assert np.mean(np.array(moved) > 3.0) <= 0.15, moved


def test_edges_of_people_and_bars_at_the_sides_of_a_film_say_nothing() -> None:
    image = np.full((480, 640, 3), 110, np.uint8)
    image[:, :80] = image[:, -80:] = 0
    for x in range(240, 400, 20):  # a striped shirt that leans
        cv2.line(image, (x, 120), (x + 60, 400), (230, 230, 230), 6)
    person = np.stack([np.linspace(230, 470, 17), np.linspace(110, 410, 17)], 1).astype(np.float32)
    seen = find_upright_edges(image, CAMERA, [person], np.eye(3))
    assert seen is not None
    assert len(seen.weight) == 0
    without = find_upright_edges(image, CAMERA, [], np.eye(3))
    assert without is not None
    assert len(without.weight) > 4


def test_what_a_turned_camera_sees_is_told_in_the_first_cameras_axes() -> None:
    first = camera_from_world(math.radians(10), 0.0, 1.5)
    turn = turn_by((0, 12, 6))
    later = np.eye(4)
    later[:3, :3], later[:3, 3] = turn.T @ first[:3, :3], turn.T @ first[:3, 3]
    edges = find_upright_edges(room(later, 4), CAMERA, [], turn)
    assert edges is not None
    true = first[:3, 1]
    found = fit_upright_edges(edges, true, SIGMA)
    assert found is not None
    assert degrees_apart(nearest_up(*found, true)[0], true) < 2.5


def test_a_room_tells_the_world_how_the_camera_is_rolled_while_the_network_is_wrong() -> None:
    view = camera_from_world(math.radians(12), math.radians(18), 1.5)

    def last(image: ImageArray) -> WorldFrame:
        world, found = World(CAMERA, ARRAYS), None
        for number in range(45):
            body = Person().at((0, 0, -3.5), view, sequence=number, up_error=turn_by((0, 0, 12)), sigma=0.12)
            found = world(frame(number, image), [body])
        assert found is not None
        return found

    def off(answer: WorldFrame) -> float:
        return degrees_apart(answer.world_from_camera[1, :3].astype(np.float64), view[:3, 1])

    assert off(last(np.full((480, 640, 3), 110, np.uint8))) > 5
    assert off(last(room(view))) < 2
