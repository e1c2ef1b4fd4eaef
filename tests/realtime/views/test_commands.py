"""What the keys record: the frames on the screen and the sound that belongs to them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from realtime.draw.mannequin import Mannequin
from realtime.measure import Meter
from realtime.outputs.annotated import Annotator
from realtime.pipeline import Pipeline
from realtime.records import Frame, Result
from realtime.sources import Source, open_source
from realtime.views.commands import ViewCommands
from tests.realtime.shapes import CAMERA
from tests.realtime.sound import FPS, sound_of, times_of, write_tone_video

BEGIN, END = 20, 50


def show(source: Source, commands: ViewCommands, count: int) -> None:
    """Let ``commands`` see the next ``count`` frames of ``source``."""
    buffer = source.new_buffer()
    for _ in range(count):
        stamp = source.read_into(buffer)
        assert stamp is not None
        commands.see(Result(Frame(stamp.index, stamp.captured_ns, stamp.time_s, buffer), CAMERA, (), 0))


def commands_for(source: Source) -> ViewCommands:
    annotator = Annotator(Mannequin(np.array([[0, 1, 2]])), Meter())
    nothing = cast(Pipeline, None)
    return ViewCommands(nothing, lambda: annotator, source.wind, open_audio=source.open_audio)


def test_a_recording_by_key_has_the_sound_of_its_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clip = write_tone_video(tmp_path / "clip.mp4", 90)
    with open_source(str(clip)) as source:
        commands = commands_for(source)
        show(source, commands, BEGIN)
        commands.obey("r")
        show(source, commands, END - BEGIN)
        commands.obey("r")
    (made,) = tmp_path.glob("motionmesh-*.mp4")
    assert len(times_of(made)) == END - BEGIN
    taken = {content: time_s - BEGIN / FPS for time_s, content in sound_of(clip)}
    kept = sound_of(made)
    assert kept[0][0] <= 0.001
    assert kept[-1][0] == pytest.approx((END - BEGIN) / FPS, abs=0.03)
    for time_s, content in kept[1:]:  # players skip what of the first one comes before the first frame
        assert time_s == pytest.approx(taken[content], abs=0.002)


def test_after_a_jump_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_source(str(write_tone_video(tmp_path / "clip.mp4", 60))) as source:
        commands = commands_for(source)
        show(source, commands, 10)
        commands.obey("left")
        show(source, commands, 5)
        commands.obey("r")
        show(source, commands, 10)
        commands.close()
    (made,) = tmp_path.glob("motionmesh-*.mp4")
    assert len(times_of(made)) == 10
    assert sound_of(made) == []
