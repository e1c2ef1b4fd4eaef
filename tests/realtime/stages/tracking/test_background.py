"""A change is noticed where nobody is tracked, and nowhere else."""

from __future__ import annotations

import cv2
import numpy as np

from common.arrays import ImageArray
from realtime.stages.tracking.background import BackgroundWatch
from realtime.stages.tracking.overlaps import Extent

ROOM: ImageArray = np.asarray(
    cv2.resize(np.random.default_rng(1).integers(60, 160, (12, 16, 3), np.uint8), (64, 48)), np.uint8
)


def with_somebody(left: int, top: int, right: int, bottom: int) -> ImageArray:
    frame = ROOM.copy()
    frame[top:bottom, left:right] = 220
    return frame


def after(watch: BackgroundWatch, frame: ImageArray, people: list[Extent], first: int, frames: int) -> list[bool]:
    return [watch.is_still(frame, people, 640, step / 30) for step in range(first, first + frames)]


def test_a_room_is_still_once_its_first_round_is_over() -> None:
    still = after(BackgroundWatch(), ROOM, [], 0, 90)
    assert not any(still[:45])
    assert all(still[52:])


def test_noise_is_no_change_and_a_small_person_is_one() -> None:
    watch, rng = BackgroundWatch(), np.random.default_rng(0)
    after(watch, ROOM, [], 0, 60)
    for step in range(60, 100):
        noisy = np.clip(ROOM + rng.normal(0, 3, ROOM.shape), 0, 255).astype(np.uint8)
        assert watch.is_still(noisy, [], 640, step / 30)
    assert not watch.is_still(with_somebody(40, 20, 43, 28), [], 640, 100 / 30)


def test_who_is_tracked_moves_without_being_a_change_and_whoever_comes_beside_is_one() -> None:
    watch = BackgroundWatch()
    after(watch, with_somebody(10, 10, 20, 40), [Extent(90, 90, 210, 410)], 0, 60)
    for step in range(60, 120):
        x = (step - 60) // 2
        frame = with_somebody(10 + x, 10, 20 + x, 40)
        people = [Extent(90 + 10 * x, 90, 210 + 10 * x, 410)]
        assert watch.is_still(frame, people, 640, step / 30), step
    frame[20:30, 2:6] = 220
    assert not watch.is_still(frame, people, 640, 4.0)


def test_a_slow_change_of_light_is_taken_in() -> None:
    watch = BackgroundWatch()
    after(watch, ROOM, [], 0, 60)
    assert all(
        watch.is_still((ROOM + np.uint8((step - 60) // 6)).astype(np.uint8), [], 640, step / 30)
        for step in range(60, 300)
    )


def test_a_new_scene_is_all_new() -> None:
    watch = BackgroundWatch()
    assert after(watch, ROOM, [], 0, 60)[-1]
    watch.reset()
    assert not watch.is_still(ROOM, [], 640, 2.0)
