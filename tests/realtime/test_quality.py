"""What the defaults choose for files and for live sources, and how many people a live source's rate leaves time for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from common.errors import UserError
from realtime.measure import Meter
from realtime.options import Options
from realtime.person_limit import PersonLimit
from realtime.quality import is_best, keypoint_model, look_ahead_frames
from realtime.sources import is_live_source


@pytest.mark.parametrize(
    ("options", "live"),
    [
        (Options(), True),
        (Options(source="/dev/video2"), True),
        (Options(source="rtsp://camera/stream"), True),
        (Options(source="gst:videotestsrc"), True),
        (Options(source="walk.mp4"), False),
        (Options(source="file:///videos/walk.mp4"), False),
        (Options(source="images/"), False),
        (Options(source="demo"), False),
        (Options(source="walk.mp4", live=True), True),
    ],
)
def test_files_get_quality_and_cameras_get_speed(options: Options, live: bool) -> None:
    assert is_live_source(options) is live
    assert is_best(options) is not live
    assert keypoint_model(options) == ("fast" if live else "accurate")
    assert look_ahead_frames(options, 30) == (0 if live else 8)


def test_one_word_says_it_and_explicit_options_win() -> None:
    assert keypoint_model(Options(quality="best")) == "accurate"
    assert look_ahead_frames(Options(quality="best"), 30) == 8
    assert keypoint_model(Options(source="walk.mp4", quality="live")) == "fast"
    assert look_ahead_frames(Options(source="walk.mp4", quality="live"), 30) == 0
    assert keypoint_model(Options(source="walk.mp4", keypoints="fast")) == "fast"
    assert look_ahead_frames(Options(source="walk.mp4", look_ahead=0), 30) == 0
    assert look_ahead_frames(Options(look_ahead=5), 30) == 5


@pytest.mark.parametrize(("fps", "frames"), [(5, 1), (15, 4), (25, 7), (60, 16), (240, 30)])
def test_the_look_ahead_lasts_as_long_at_every_rate(fps: float, frames: int) -> None:
    assert look_ahead_frames(Options(source="walk.mp4"), fps) == frames


@pytest.mark.parametrize("persons", [0, 7])
def test_persons_have_limits(persons: int) -> None:
    with pytest.raises(UserError, match="--persons"):
        Options(persons=persons)


def limit_at(fps: float) -> tuple[PersonLimit, Any]:
    tracker: Any = SimpleNamespace(max_persons=1)
    return PersonLimit(tracker, Meter(), fps), tracker


def test_more_people_are_let_in_while_there_is_time() -> None:
    limit, tracker = limit_at(30)
    limit.adapt(1, 7.0)  # 33 ms, 90 % of which may be used
    assert tracker.max_persons == 4
    limit.adapt(3, 29.0)  # fuller than thought, but in time
    assert tracker.max_persons == 4
    limit.adapt(2, 1.0)
    assert tracker.max_persons == 6  # never more


def test_people_are_let_go_only_where_two_looks_in_a_row_say_so() -> None:
    limit, tracker = limit_at(30)
    tracker.max_persons = 4
    limit.adapt(4, 60.0)
    limit.adapt(4, 30.0)  # it was a hiccup
    limit.adapt(4, 60.0)
    assert tracker.max_persons == 4
    limit.adapt(4, 60.0)
    assert tracker.max_persons == 2
    limit.adapt(1, 500.0)
    limit.adapt(1, 500.0)
    assert tracker.max_persons == 1  # somebody is always followed
