"""Drawing when the stages of a run worked: one lane a thread, one frame's way through them in colour."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from common.arrays import ImageArray
from realtime.draw.error_plot import save_plot

Run = tuple[str, float, float]
"""One run of a stage: its name, and when it began and ended, ms."""

_BEFORE: Final[dict[str, tuple[str, ...]]] = {
    "capture": (),
    "keypoints": ("capture",),
    "flow": ("capture",),
    "regressor": ("keypoints", "flow"),
    "world": ("regressor",),
}
"""The stages that every frame passes, each with those that it waits for."""
_WIDTH: Final = 1400
_LANE: Final = 44
_LEFT: Final = 130
_RIGHT: Final = 40  # half of the last tick's label
_TOP: Final = 24
_GREY: Final = (190, 190, 190)
_COLOUR: Final = (60, 120, 230)
_INK: Final = (40, 40, 40)


def way_of_a_frame(runs: Sequence[Run]) -> list[Run]:
    """The runs of one frame in the middle of ``runs``: the capture, the keypoints, the flow, which on a busy machine may begin
    when they have ended but not after the next frame's, and the regressor and the world's stage that followed. Empty where too
    little was seen."""
    keypoints = [run for run in runs if run[0] == "keypoints"]
    if not keypoints:
        return []
    middle = len(keypoints) // 2
    chosen, later = keypoints[middle], keypoints[middle + 1 : middle + 2]
    end = later[0][1] - 5 if later else float("inf")
    before = [run for run in runs if run[0] == "capture" and run[2] <= chosen[1]]
    beside = [run for run in runs if run[0] == "flow" and chosen[1] - 5 <= run[1] < max(end, chosen[2])]
    ready = max(run[2] for run in (chosen, *beside[:1]))
    after = [run for run in runs if run[0] == "regressor" and run[1] >= ready]
    last = [run for run in runs if run[0] == "world" and after and run[1] >= after[0][2]]
    return [*before[-1:], chosen, *beside[:1], *after[:1], *last[:1]]


def draw_timeline(runs: Sequence[Run]) -> ImageArray:
    """``runs`` as an image, uint8 (H, W, 3) BGR. Raises ``ValueError`` where there are none."""
    if not runs:
        raise ValueError("nothing was measured")
    names = [name for name in _BEFORE if any(run[0] == name for run in runs)]
    names += sorted({run[0] for run in runs} - set(names))
    begin, end = min(run[1] for run in runs), max(run[2] for run in runs)
    scale = (_WIDTH - _LEFT - _RIGHT) / max(end - begin, 1e-6)
    image: ImageArray = np.full((_TOP + _LANE * len(names) + 40, _WIDTH, 3), 255, np.uint8)

    def across(ms: float) -> int:
        return _LEFT + round((ms - begin) * scale)

    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if step * scale > 60)
    bottom = _TOP + _LANE * len(names)
    for tick in range(0, int(end - begin) + 1, step):
        cv2.line(image, (across(begin + tick), _TOP), (across(begin + tick), bottom), (235, 235, 235), 1)
        _text(image, f"{tick} ms", across(begin + tick) - 12, bottom + 22)
    way = way_of_a_frame(runs)
    for lane, name in enumerate(names):
        top = _TOP + lane * _LANE
        _text(image, name, 8, top + 26)
        for run in runs:
            if run[0] == name:
                colour = _COLOUR if run in way else _GREY
                right = max(across(run[2]), across(run[1]) + 1)
                cv2.rectangle(image, (across(run[1]), top + 8), (right, top + _LANE - 8), colour, -1)
    for run, before in itertools.product(way, way):
        if before[0] in _BEFORE[run[0]]:
            start = across(before[2]), _TOP + names.index(before[0]) * _LANE + _LANE // 2
            stop = across(run[1]), _TOP + names.index(run[0]) * _LANE + _LANE // 2
            cv2.line(image, start, stop, _COLOUR, 1, cv2.LINE_AA)
    return image


def save_timeline(runs: Sequence[Run], path: Path) -> None:
    """Write the image as a PNG file."""
    save_plot(path, draw_timeline(runs))


def _text(image: ImageArray, text: str, x: int, y: int) -> None:
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA)
