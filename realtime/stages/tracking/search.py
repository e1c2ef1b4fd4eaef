"""When and where the person detector runs, so that newcomers are found soon and tracking is not slowed down for long."""

from __future__ import annotations

import math
from collections.abc import Sequence

from realtime.records import Box
from realtime.stages.tracking.detection import search_regions
from realtime.stages.tracking.region_limits import MAX_OF_IMAGE

_BYSTANDERS_EVERY_S = 2.0
"""Interval of searches for bystanders while as many people are followed as were asked for."""
_EVERY_S = 0.09  # interval of searches while somebody is followed and more may come
_OVERDUE_S = 0.12  # longest time without a search for newcomers
_STILL_S = 0.5  # both of these while nothing changes but the people who are tracked
_URGENT_LIVE_S = 0.06  # interval of searches around doubtful sightings of a live source
_ONE_GROUP = 1.4
"""Greatest side of the region of a group over the side of its largest person's: the network reads it at 256x256 pixels."""
_AROUND = 1.15  # enlarges a group's region, for people who come out from behind it


class Search:
    """Plans the regions that the detector reads: live at most one a frame while anybody is followed.

    Args:
        width, height: of the frame, px.
        thorough: search every region that is due (files); otherwise at most one region a frame (live).
    """

    def __init__(self, width: int, height: int, thorough: bool) -> None:
        self._all = list(search_regions(width, height))
        self._largest = MAX_OF_IMAGE * max(width, height)
        self._thorough = thorough
        self._turn, self._tiles, self._groups, self._close_up = 0, -1, -1, -1
        self._last_s = self._urgent_s = -math.inf
        self._swept = self._was_still = False

    def plan(
        self, time_s: float, room: bool, urgent: Sequence[Box], still: bool = False, around: Sequence[Box] = ()
    ) -> list[Box]:
        """Regions to search now, while somebody is followed. ``urgent`` are those of people with doubtful sightings; ``room``:
        more people may be followed; ``still``: see `realtime.stages.tracking.background`; ``around``: regions of those who are
        followed, behind whom others may stand."""
        self._swept = False
        if self._was_still and not still:  # begin with the whole frame: newcomers are mostly large enough for that
            self._turn = 0
        self._was_still = still
        # Some of a crowd are always doubtful, which must not keep the search for newcomers from running.
        overdue = room and not 0 <= time_s - self._last_s < (_STILL_S if still else _OVERDUE_S)
        doubtful: list[Box] = []
        if urgent and (self._thorough or not (overdue or 0 <= time_s - self._urgent_s < _URGENT_LIVE_S)):
            self._urgent_s = time_s
            # Who is half hidden is too small in a group's region: while more may come, a file is read close up.
            close_up = self._thorough and room
            doubtful = self._by_groups(urgent, 1.0, 1.0) if close_up else self._by_groups(urgent)
            if not overdue:
                return doubtful
        wait_s = _BYSTANDERS_EVERY_S if not room else _STILL_S if still else _EVERY_S
        if 0 <= time_s - self._last_s < wait_s:
            return doubtful
        self._last_s = time_s
        return [*doubtful, *(self._next(() if still else around) if room else self._all[:1])]

    def plan_for_anybody(self, time_s: float, wanted: int) -> tuple[list[Box], int]:
        """Regions to search now, while nobody is followed, and the number of people after which to stop. A file is searched
        everywhere once, and from then on in the whole frame and one tile for each frame."""
        self._last_s = time_s
        if not self._thorough:
            return self._next(()), wanted
        if not self._swept:
            self._swept = True
            return self._all, wanted
        # Something in the whole frame that is taken for a person by mistake must not keep the tiles from being searched.
        return [self._all[0], self._tile()], wanted + len(self._all)

    def _next(self, around: Sequence[Box]) -> list[Box]:
        """The whole frame every other time; otherwise the next tile, or the region of one of the people who are followed:
        only there is somebody half hidden behind them found. Files get both, live sources one of the two."""
        self._turn += 1
        if self._turn % 2:
            return self._all[:1]
        if not around or (not self._thorough and self._turn % 4):
            return [self._tile()]
        self._close_up += 1
        close = around[self._close_up % len(around)]
        return [self._tile(), close] if self._thorough else [close]

    def _tile(self) -> Box:
        tiles = self._all[1:] or self._all
        self._tiles += 1
        return tiles[self._tiles % len(tiles)]

    def _by_groups(self, boxes: Sequence[Box], one_group: float = _ONE_GROUP, around: float = _AROUND) -> list[Box]:
        """A region for each group of people who stand together: all of them for a file, one of them in turn live."""
        groups: list[list[Box]] = []
        for box in sorted(boxes, key=lambda one: -one.size):
            for group in groups:
                if self._around([*group, box]).size <= one_group * group[0].size:
                    group.append(box)
                    break
            else:
                groups.append([box])
        regions = [self._around(group) for group in groups]
        regions = [Box(one.x, one.y, min(around * one.size, self._largest)) for one in regions]
        if self._thorough:
            return regions
        self._groups += 1
        return [regions[self._groups % len(regions)]]

    def _around(self, boxes: Sequence[Box]) -> Box:
        left, right = min(b.x - b.size / 2 for b in boxes), max(b.x + b.size / 2 for b in boxes)
        top, bottom = min(b.y - b.size / 2 for b in boxes), max(b.y + b.size / 2 for b in boxes)
        return Box((left + right) / 2, (top + bottom) / 2, min(max(right - left, bottom - top), self._largest))
