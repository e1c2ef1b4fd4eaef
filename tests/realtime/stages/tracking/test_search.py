from __future__ import annotations

import pytest

from realtime.records import Box
from realtime.stages.tracking.search import Search

_LEFT, _BESIDE, _RIGHT = Box(150, 240, 200), Box(190, 250, 160), Box(520, 240, 150)


def covers(region: Box, box: Box) -> bool:
    """Whether ``box`` lies in ``region``."""
    reach = (region.size - box.size) / 2
    return abs(region.x - box.x) <= reach and abs(region.y - box.y) <= reach


def test_people_who_stand_together_are_searched_together_and_close_up() -> None:
    groups = Search(640, 480, thorough=True).plan(0.0, room=False, urgent=[_RIGHT, _LEFT, _BESIDE])[:2]
    assert [[covers(region, box) for box in (_LEFT, _BESIDE, _RIGHT)] for region in groups] == [
        [True, True, False],
        [False, False, True],
    ]
    assert all(region.size < 320 for region in groups)


def test_a_file_is_searched_close_up_while_more_people_may_come() -> None:
    search = Search(640, 480, thorough=True)
    search.plan(0.0, room=True, urgent=[])
    for turn in range(1, 5):
        alone = search.plan(0.01 * turn, room=True, urgent=[_RIGHT, _LEFT, _BESIDE])
        assert sorted(alone, key=lambda one: one.x) == [_LEFT, _BESIDE, _RIGHT]
    groups = search.plan(0.05, room=False, urgent=[_RIGHT, _LEFT, _BESIDE])
    assert [region.size > 1.1 * _LEFT.size for region in groups] == [True, False], "everybody is known"
    assert covers(groups[0], _LEFT)
    assert covers(groups[0], _BESIDE)


def test_live_groups_take_turns() -> None:
    search = Search(640, 480, thorough=False)
    search.plan(0.0, room=False, urgent=[])
    regions = [search.plan(0.1 * turn, room=False, urgent=[_LEFT, _RIGHT]) for turn in range(1, 5)]
    assert all(len(one) == 1 for one in regions)
    assert [covers(one[0], _LEFT) for one in regions] == [True, False, True, False]


@pytest.mark.parametrize("thorough", [True, False])
def test_a_crowd_in_doubt_does_not_keep_the_search_for_newcomers_from_running(thorough: bool) -> None:
    search = Search(640, 480, thorough)
    regions = [search.plan(frame / 30, room=True, urgent=[_LEFT]) for frame in range(30)]
    assert sum(any(not covers(region, _LEFT) or region.size > 400 for region in one) for one in regions) >= 7
