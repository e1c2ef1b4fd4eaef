"""What is chosen where the user leaves the choice: quality for files and folders, speed for cameras and streams."""

from __future__ import annotations

from typing import Final

from realtime.options import KeypointModel, Options
from realtime.sources import is_live_source

LOOK_AHEAD_S: Final = 8 / 30
"""Seconds of later frames that steady a frame; docs/results/look-ahead.md shows what they are worth."""
_LONGEST: Final = 30  # frames of look-ahead, at any rate


def is_best(options: Options) -> bool:
    """Whether quality counts more than speed: what ``--quality`` says; ``auto``: for files and folders that nothing forces to
    be played live."""
    return options.quality == "best" or (options.quality == "auto" and not is_live_source(options))


def keypoint_model(options: Options) -> KeypointModel:
    """The keypoint network that ``options`` ask for."""
    if options.keypoints != "auto":
        return options.keypoints
    return "accurate" if is_best(options) else "fast"


def look_ahead_frames(options: Options, fps: float) -> int:
    """Frames to wait for before a frame of a source of ``fps`` frames/s is answered."""
    if options.look_ahead != "auto":
        return options.look_ahead
    return min(max(round(LOOK_AHEAD_S * fps), 1), _LONGEST) if is_best(options) else 0
