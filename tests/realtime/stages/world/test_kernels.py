"""The compiled loops of the world's stage, compared with the same in numpy."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.stages.world.kernels import keep_background

HEIGHT, WIDTH = 240, 320


@pytest.mark.parametrize("people", [0, 1, 3])
def test_points_of_the_background_are_kept_and_counted(people: int) -> None:
    rng = np.random.default_rng(people)
    # Whole and half pixels, so that many points lie exactly on a limit.
    key = (rng.integers(-8, [2 * WIDTH + 8, 2 * HEIGHT + 8], (2000, 2)) / 2).astype(np.float32)
    found = (key + rng.integers(-2, 3, key.shape) / 4).astype(np.float32)
    corners = rng.integers(-20, [WIDTH, HEIGHT], (people, 2))
    boxes = np.hstack([corners, corners + rng.integers(20, 120, (people, 2))])
    tracked = rng.random(len(key)) < 0.9

    wanted = tracked & (found > 1).all(1) & (found < (WIDTH - 2, HEIGHT - 2)).all(1)
    for left, top, right, bottom in boxes:
        wanted &= ~((found > (left, top)) & (found < (right, bottom))).all(1)
    apart = np.abs(found - key).max(1)[wanted]

    good = tracked.copy()
    counted = keep_background(found, key, boxes, HEIGHT, WIDTH, np.float32(0.5), good)
    np.testing.assert_array_equal(good, wanted)
    assert counted == (wanted.sum(), (apart < 0.5).sum())
    assert 0 < counted[1] < counted[0] < tracked.sum()
