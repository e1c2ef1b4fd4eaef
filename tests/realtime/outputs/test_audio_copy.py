"""Recordings keep the source's sound: the same packets, at the same time beside the frames."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from realtime.outputs.video import VideoRecorder
from realtime.sources import open_source
from tests.conftest import Remarks
from tests.realtime.sound import FPS, RATE, sound_of, times_of, write_tone_video

PACKET_S = 1024 / RATE
"""AAC's."""


def record(clip: Path, path: Path, most: int | None = None) -> Path:
    """Record the frames of ``clip``, at most so many, with its sound."""
    with open_source(str(clip)) as source, VideoRecorder(path, zero_s=0.0) as out:
        out.add_audio(source.open_audio())
        buffer = source.new_buffer()
        for _ in itertools.count() if most is None else range(most):
            if (stamp := source.read_into(buffer)) is None:
                break
            out.write(buffer, stamp.time_s)
    return path


@pytest.mark.parametrize(
    ("name", "video_from_s", "tone_from_s"),
    [
        ("same.mp4", 0.0, 0.0),
        ("early.mp4", 0.5, 0.0),
        ("early.mkv", 0.5, 0.0),
        ("late.mp4", 0.0, 0.3),
        ("late.mov", 1.0, 1.4),
    ],
)
def test_the_packets_and_their_place_are_those_of_the_source(
    name: str, video_from_s: float, tone_from_s: float, tmp_path: Path
) -> None:
    clip = write_tone_video(tmp_path / name, video_from_s=video_from_s, tone_from_s=tone_from_s)
    zero_s = times_of(clip)[0]
    assert zero_s == pytest.approx(video_from_s, abs=2e-3)
    recorded = record(clip, tmp_path / "out.mp4")
    frames = times_of(recorded)
    np.testing.assert_allclose(frames, np.array(times_of(clip)) - zero_s, atol=1e-4)
    end_s = zero_s + frames[-1] + 1 / FPS
    expected = [(time_s - zero_s, data) for time_s, data in sound_of(clip) if zero_s - PACKET_S - 1e-3 < time_s < end_s]
    found = sound_of(recorded)
    assert len(found) > 50
    assert [data for _, data in found] == [data for _, data in expected]
    np.testing.assert_allclose([time_s for time_s, _ in found], [time_s for time_s, _ in expected], atol=1e-3)


def test_sound_of_a_transport_stream_is_kept(tmp_path: Path) -> None:
    """Its packets carry ADTS headers, which an MP4 has not."""
    clip = write_tone_video(tmp_path / "clip.ts", video_from_s=0.5)
    zero_s = times_of(clip)[0]
    expected = [(time_s - zero_s, data[7:]) for time_s, data in sound_of(clip) if time_s > zero_s - PACKET_S]
    found = sound_of(record(clip, tmp_path / "out.mp4"))
    assert [data for _, data in found] == [data for _, data in expected[: len(found)]]
    np.testing.assert_allclose(
        [time_s for time_s, _ in found], [time_s for time_s, _ in expected[: len(found)]], atol=1e-3
    )
    assert len(expected) - len(found) <= 3


def test_it_ends_with_the_last_frame(tmp_path: Path) -> None:
    clip = write_tone_video(tmp_path / "clip.mp4")
    whole, part = sound_of(clip), sound_of(record(clip, tmp_path / "out.mp4", most=20))
    assert part == whole[: len(part)]
    assert 20 / FPS - PACKET_S < part[-1][0] < 20 / FPS


@pytest.mark.parametrize("codec", ["libmp3lame", "ac3", "flac", "libopus"])
def test_other_codecs_are_copied_too(codec: str, tmp_path: Path) -> None:
    clip = write_tone_video(tmp_path / "clip.mkv", codec=codec)
    found = sound_of(record(clip, tmp_path / "out.mp4"))
    assert len(found) > 15
    assert {data for _, data in found} <= {data for _, data in sound_of(clip)}


def test_what_an_mp4_cannot_hold_is_left_out_with_one_line(tmp_path: Path, remarks: Remarks) -> None:
    clip = write_tone_video(tmp_path / "clip.mkv", codec="wavpack")
    recorded = record(clip, tmp_path / "out.mp4")
    assert not sound_of(recorded)
    assert len(times_of(recorded)) == 60
    assert [line for line in remarks if "sound" in line] == [
        f"the sound of {clip} is not recorded: an MP4 cannot hold its codec"
    ]


def test_sound_that_begins_much_later_is_left_out(tmp_path: Path, remarks: Remarks) -> None:
    clip = write_tone_video(tmp_path / "clip.mkv", 90, tone_from_s=2.0, tone_s=0.9)
    recorded = record(clip, tmp_path / "out.mp4")
    assert not sound_of(recorded)
    assert len(times_of(recorded)) == 90
    assert any("begins only after 2.0 s" in line for line in remarks)


def test_another_speed_a_loop_and_live_have_no_sound(tmp_path: Path) -> None:
    clip = write_tone_video(tmp_path / "clip.mp4", 10)
    for how in ({"fps": 60.0}, {"loop": True}, {"live": True}):
        with open_source(str(clip), **how) as source:  # type: ignore[arg-type]
            assert source.open_audio() is None
    with open_source(str(clip), rotate=90) as source:
        assert source.open_audio() is not None


def test_a_jump_ends_it(tmp_path: Path) -> None:
    clip = write_tone_video(tmp_path / "clip.mp4")
    with open_source(str(clip)) as source:
        audio = source.open_audio()
        assert audio is not None
        buffer = source.new_buffer()
        source.read_into(buffer)
        before = audio.take(0.1)
        source.wind(1.0)
        source.read_into(buffer)
        assert 0 < len(before) <= 6
        assert len(audio.take(10.0)) <= 1, "no more than what had been read already"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
@pytest.mark.parametrize("tone_s", [10.0, 0.8])
def test_a_killed_program_leaves_a_playable_file(tone_s: float, tmp_path: Path) -> None:
    """Also where the sound has ended long ago, which the muxer would wait for."""
    clip = write_tone_video(tmp_path / "clip.mp4", 300, tone_from_s=0.2, tone_s=tone_s)
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from realtime.outputs.video import VideoRecorder\n"
        "from realtime.sources import open_source\n"
        "source, out = open_source(sys.argv[1]), VideoRecorder(sys.argv[2])\n"
        "out.add_audio(source.open_audio())\n"
        "buffer = source.new_buffer()\n"
        "while (stamp := source.read_into(buffer)) is not None:\n"
        "    out.write(buffer, stamp.time_s)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path, root = tmp_path / "killed.mp4", Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program, clip, path], cwd=root, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    frames, sound = times_of(path), sound_of(path)
    assert len(frames) >= 210, "all but the last two seconds and what was held back"
    np.testing.assert_allclose(np.diff(frames), 1 / FPS, atol=2e-3)
    expected = sound_of(clip)[: len(sound)]
    assert len(sound) > 30
    assert [data for _, data in sound] == [data for _, data in expected]
    np.testing.assert_allclose([time_s for time_s, _ in sound], [time_s for time_s, _ in expected], atol=1e-3)
