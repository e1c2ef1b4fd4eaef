"""Following people: found, followed, lost, found again, and told apart."""

from __future__ import annotations

import numpy as np
import pytest

from common.arrays import FloatArray, ImageArray
from realtime.records import Box, Frame
from realtime.stages.keypoints import search_regions
from realtime.stages.tracking import Tracker, mean_confidence, region_of

WIDTH, HEIGHT = 640, 480
POSE = np.random.default_rng(0).uniform([-0.3, -0.5], [0.3, 0.5], (17, 2)).astype(np.float32)
POSE[:5] = [[0, -0.44], [0.02, -0.46], [-0.02, -0.46], [0.04, -0.45], [-0.04, -0.45]]  # a head's size
POSE[[5, 6, 11, 12]] = [[-0.1, -0.3], [0.1, -0.3], [-0.08, 0.05], [0.08, 0.05]]


class World:
    """People at known places; a detector and a keypoint network that see whoever is inside of what they are shown."""

    def __init__(self) -> None:
        self.people: list[tuple[float, float, float]] = []  # x, y, height
        self.detector_calls = 0
        self.confidence = 0.8

    def points(self, person: tuple[float, float, float]) -> FloatArray:
        x, y, height = person
        return np.asarray(POSE * height + [x, y], np.float32)

    def movenet(self, image: ImageArray, box: Box) -> tuple[FloatArray, FloatArray]:
        half = box.size / 2
        inside = [
            p for p in self.people if abs(p[0] - box.x) < half and abs(p[1] - box.y) < half and p[2] > box.size / 6
        ]
        if not inside:
            return np.zeros((17, 2), np.float32), np.full(17, 0.05, np.float32)
        nearest = min(inside, key=lambda p: abs(p[0] - box.x) + abs(p[1] - box.y))
        return self.points(nearest), np.full(17, self.confidence, np.float32)

    def detector(self, image: ImageArray, region: Box) -> list[tuple[Box, float]]:
        self.detector_calls += 1
        half = region.size / 2
        return [
            (Box(x, y, 1.2 * height), 0.9)
            for x, y, height in self.people
            if abs(x - region.x) < half and abs(y - region.y) < half and height > region.size / 8
        ]


class Run:
    def __init__(self, most: int = 1, thorough: bool = True) -> None:
        self.world = World()
        self.tracker = Tracker(self.world.movenet, self.world.detector, most, thorough)  # type: ignore[arg-type]
        self.number = 0

    def step(self, *people: tuple[float, float, float]) -> list[int]:
        self.world.people = list(people)
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        found = self.tracker.update(Frame(self.number, 0, self.number / 30, image))
        self.number += 1
        for keypoints in found:
            assert any(np.allclose(keypoints.points, self.world.points(p)) for p in people)
        return sorted(keypoints.person for keypoints in found)


def test_a_person_is_found_at_once_and_then_followed_without_the_detector() -> None:
    run = Run()
    assert run.step((300, 240, 200)) == [0]
    calls = run.world.detector_calls
    for step in range(40):
        assert run.step((300 + 4 * step, 240, 200 + step)) == [0]
    assert run.world.detector_calls == calls


def test_an_empty_picture_has_nobody_in_it() -> None:
    run = Run()
    assert [run.step() for _ in range(5)] == [[]] * 5


def test_a_small_far_person_is_found_in_a_tile() -> None:
    assert Run().step((560, 300, 50)) == [0]


def test_a_live_search_looks_at_one_tile_a_frame_and_finds_within_a_round() -> None:
    run = Run(thorough=False)
    rounds = len(list(search_regions(WIDTH, HEIGHT)))
    answers = []
    for _ in range(rounds):
        before = run.world.detector_calls
        answers.append(run.step((560, 300, 50)))
        assert run.world.detector_calls - before <= 1
    assert answers[-1] == [0] or [0] in answers


def test_who_leaves_is_gone_at_once_and_keeps_the_name_when_back_soon() -> None:
    run = Run()
    run.step((300, 240, 200))
    assert run.step() == []
    for _ in range(10):
        assert run.step() == []
    assert run.step((320, 240, 200)) == [0]


def test_somebody_elsewhere_later_is_somebody_else() -> None:
    run = Run()
    run.step((150, 240, 200))
    for _ in range(60):
        run.step()
    assert run.step((500, 240, 200)) == [1]


def test_two_people_keep_their_names_while_they_walk() -> None:
    run = Run(most=2)
    assert run.step((150, 240, 200), (480, 240, 200)) == [0, 1]
    for step in range(30):
        assert run.step((150 + 3 * step, 240, 200), (480 - step, 240, 200)) == [0, 1]


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1920, 1080), (320, 320), (3000, 400)])
def test_the_search_covers_the_picture(size: tuple[int, int]) -> None:
    width, height = size
    seen = np.zeros((height // 10, width // 10), int)
    y, x = np.mgrid[: height // 10, : width // 10] * 10 + 5
    for box in list(search_regions(width, height))[1:]:
        seen += (abs(x - box.x) <= box.size / 2) & (abs(y - box.y) <= box.size / 2)
    assert seen.min() >= 1


def test_the_region_holds_what_is_seen_and_ignores_what_is_guessed() -> None:
    points = POSE * 200 + np.float32(300)
    confidence = np.full(17, 0.9, np.float32)
    confidence[13:] = 0.05
    points[13:] = 5000
    box = region_of(points, confidence, WIDTH, HEIGHT)
    assert box is not None
    seen = points[:13]
    assert (np.abs(seen - [box.x, box.y]) <= box.size / 2).all()
    assert box.size < 500
    assert region_of(points, np.full(17, 0.1, np.float32), WIDTH, HEIGHT) is None
    assert mean_confidence(confidence) == pytest.approx(0.9)


def test_a_head_whose_body_is_hidden_gets_the_room_that_its_body_would_need() -> None:
    points = POSE * 400 + np.float32(240)
    confidence = np.full(17, 0.05, np.float32)
    confidence[:5] = 0.8
    head = 0.08 * 400
    alone = region_of(points, confidence, WIDTH, HEIGHT)
    # A board before the chest: the network guesses shoulders right under the chin.
    points[5:7] = points[0] + np.array([[15, 20], [-15, 20]], np.float32)
    confidence[5:7] = 0.3
    guessed = region_of(points, confidence, WIDTH, HEIGHT)
    for box in (alone, guessed):
        assert box is not None
        assert box.size >= 5.9 * head
        assert (np.abs(points[:5] - [box.x, box.y]) <= box.size / 2).all()
    assert alone is not None
    assert alone.y > points[:5, 1].max() + head


def test_shoulders_get_room_for_the_arms() -> None:
    points = POSE * 300 + np.float32(240)
    confidence = np.full(17, 0.05, np.float32)
    confidence[[0, 5, 6]] = 0.8
    box = region_of(points, confidence, WIDTH, HEIGHT)
    assert box is not None
    assert box.size >= 2.9 * np.linalg.norm(points[5] - points[6])


def test_who_stands_beside_somebody_that_left_does_not_get_his_name() -> None:
    run = Run(most=1)
    assert run.step((300, 200, 200)) == [0]
    for _ in range(30):
        assert run.step((300, 200, 200), (300, 350, 180)) == [0]
    names = [name for _ in range(20) for name in run.step((300, 350, 180))]
    assert names, "the other one is found"
    assert set(names) == {1}


def test_who_goes_behind_a_tree_is_not_guessed_on() -> None:
    run = Run()
    assert run.step((300, 240, 200)) == [0]
    run.world.confidence = 0.34  # what is said of the tree
    assert [run.step((300, 240, 200)) for _ in range(10)] == [[]] * 10
    run.world.confidence = 0.5
    assert run.step((300, 240, 200)) == [0]
