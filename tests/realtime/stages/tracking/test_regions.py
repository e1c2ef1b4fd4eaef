"""The parts of a frame that networks read: of a person, and of a search."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.stages.tracking.detection import search_regions
from realtime.stages.tracking.regions import mean_confidence, region_of
from tests.realtime.stages.tracking.people_in_view import HEIGHT, POSE, WIDTH


@pytest.mark.parametrize(
    "size", [(640, 480), (480, 640), (1920, 1080), (320, 320), (3000, 400), (8192, 40), (40, 8192)]
)
def test_the_search_covers_the_frame(size: tuple[int, int]) -> None:
    width, height = size
    seen = np.zeros((height // 10, width // 10), int)
    y, x = np.mgrid[: height // 10, : width // 10] * 10 + 5
    for box in list(search_regions(width, height))[1:]:
        seen += (abs(x - box.x) <= box.size / 2) & (abs(y - box.y) <= box.size / 2)
    assert seen.min() >= 1
    assert len(list(search_regions(width, height))) <= 40, "a search takes seconds"


def test_the_region_holds_what_is_seen_and_ignores_doubtful_keypoints() -> None:
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
    # A board before the chest: the network predicts shoulders right under the chin.
    points[5:7] = points[0] + np.array([[15, 20], [-15, 20]], np.float32)
    confidence[5:7] = 0.3
    predicted = region_of(points, confidence, WIDTH, HEIGHT)
    for box in (alone, predicted):
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
