"""Cuts are noticed; motion, panning and flashes are not taken for them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from common.arrays import ImageArray
from realtime.stages.tracking.scene_cut import SceneCut


def place(seed: int, tint: tuple[int, int, int], width: int = 640, height: int = 480) -> ImageArray:
    """A room twice as wide as the frame, in colours of its own."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 110, (12, 32, 3), np.uint8) + np.array(tint, np.uint8)
    return np.asarray(cv2.resize(coarse, (2 * width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


ONE, OTHER = place(1, (120, 20, 40)), place(2, (20, 110, 90))


def view(room: ImageArray, left: int) -> ImageArray:
    return np.ascontiguousarray(room[:, left : left + room.shape[1] // 2])


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1920, 1080), (64, 48)])
def test_another_place_is_a_cut(width: int, height: int) -> None:
    cut = SceneCut()
    first, second = (cv2.resize(view(room, 0), (width, height)) for room in (ONE, OTHER))
    assert [cut(first), cut(first), cut(second), cut(second), cut(first)] == [False, False, True, False, True]


def test_a_pan_a_flash_and_a_person_who_jumps_in_are_none() -> None:
    cut = SceneCut()
    for step in range(12):
        assert not cut(view(ONE, 50 * step))  # 1,500 px a second
    still = view(ONE, 300)
    cut(still)
    for gain in (1.0, 2.2, 1.0, 0.4, 1.0):
        assert not cut(np.clip(still * gain, 0, 255).astype(np.uint8))
    person = still.copy()
    cv2.rectangle(person, (260, 100), (350, 460), (40, 40, 200), -1)
    assert not cut(person)


def test_noise_is_none() -> None:
    cut, rng = SceneCut(), np.random.default_rng(0)
    for _ in range(5):
        assert not cut(np.clip(view(ONE, 0) + rng.normal(0, 15, (480, 640, 3)), 0, 255).astype(np.uint8))
