"""GStreamer pipelines: a script that plays gst-launch-1.0, and the real one where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from common.arrays import ImageArray
from common.errors import UserError
from realtime.errors import SourceLost
from realtime.sources import Source, State, check_source, gst_launch, gstreamer, open_source, threaded_capture
from realtime.sources.gstreamer import CsiMode, parse_csi
from tests.conftest import Remarks
from tests.realtime.clips import number

REAL = shutil.which(gstreamer.PROGRAM)
SCRIPT = Path(__file__).with_name("gst_launch.py")


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Puts the script on PATH under the program's name. The file holds the arguments of each start."""
    program = tmp_path / "bin" / gstreamer.PROGRAM
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{SCRIPT}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GST_STARTS", str(tmp_path / "starts"))
    monkeypatch.setattr(threaded_capture, "_FIRST_GAP_S", 0.02)
    return tmp_path / "starts"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline has stalled after a tenth of a second, and is started again after one second; a process that does not stop is
    killed half a second later."""
    monkeypatch.setattr(threaded_capture, "_STALLED_S", 0.1)
    monkeypatch.setattr(gstreamer, "_SILENT_S", 1.0)
    monkeypatch.setattr(gstreamer, "_SILENT_FRAMES", 0)
    monkeypatch.setattr(gst_launch, "_EXIT_S", 0.5)


def runs(pid: int) -> bool:
    """Whether the process ``pid`` is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def play(source: Source) -> tuple[list[float], list[int], list[int]]:
    """Times, written numbers and indexes of all frames that a reader gets."""
    buffer, times, numbers, indexes = source.new_buffer(), [], [], []
    while (stamp := source.read_into(buffer)) is not None:
        times.append(stamp.time_s)
        numbers.append(number(buffer))
        indexes.append(stamp.index)
    return times, numbers, indexes


@pytest.mark.parametrize("size", ["64x48", "67x50"])  # rows of whole words, and padded ones
def test_frames_come_with_the_pipelines_own_times(starts: Path, size: str) -> None:
    with open_source(f"gst:source frames=12 size={size} step_ms=70 gap_ms=5") as source:
        assert (source.live, source.size) == (True, tuple(int(side) for side in size.split("x")))
        times, numbers, indexes = play(source)
    assert numbers == indexes  # what was too fast to be read is a gap in both
    assert numbers[-1] == 11
    # The frames come every 5 ms; the pipeline says 70.
    np.testing.assert_allclose(times, 0.07 * np.array(indexes), atol=1e-6)


def test_what_comes_faster_than_it_plays_is_held_back(starts: Path) -> None:
    began = time.monotonic()
    with open_source("gst:source frames=10 step_ms=100") as source:
        play(source)
    assert time.monotonic() - began > 0.6  # 0.9 s of frames, of which a quarter of a second may come in a burst


def test_frames_without_timestamps_have_their_times_of_arrival(starts: Path) -> None:
    with open_source("gst:source frames=8 clockless gap_ms=30") as source:
        times, _, indexes = play(source)
    assert len(times) > 2
    assert times[-1] >= 0.03 * (indexes[-1] - 1)


def test_the_arguments_of_a_csi_camera(starts: Path) -> None:
    with open_source("csi:1?fps=60", width=1920, height=1080) as source:
        assert source.name == "csi:1?fps=60"
    words = json.loads(starts.read_text().splitlines()[0])
    assert words[:4] == ["-v", "nvarguscamerasrc", "sensor-id=1", "!"]
    assert words[4] == "video/x-raw(memory:NVMM),width=1920,height=1080,framerate=60/1"
    assert " ".join(words[5:]).startswith(
        "! nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR !"
    )


def test_csi_modes() -> None:
    assert parse_csi("csi:0") == CsiMode(0, 1280, 720, 30.0)
    assert parse_csi("csi:2?width=640&height=480&fps=29.97", 1920, 1080, 60) == CsiMode(2, 640, 480, 29.97)
    for wrong in ("csi:", "csi:x", "csi:0?size=3", "csi:0?width=", "csi:0?width=-1", "csi:0?fps=0"):
        with pytest.raises(UserError, match="write csi:0"):
            parse_csi(wrong)


def test_why_a_pipeline_does_not_start_is_one_line(starts: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_source("gst:source error='cannot open rtsp://name:secret@host/live'")
    assert str(caught.value) == "gst:source: cannot open rtsp://host/live (what it says)"


def test_a_name_holds_no_secrets(starts: Path) -> None:
    with open_source("gst:rtspsrc location='rtsp://me:secret@host/' user-pw=secret ! decodebin frames=1") as source:
        assert source.name == "gst:rtspsrc ! decodebin"


def test_a_camera_that_breaks_off_is_started_again(starts: Path, remarks: Remarks) -> None:
    with open_source("gst:source fails_after=4 gap_ms=20 error='not there' error_from=3", retry_s=1.0) as source:
        buffer, seen = source.new_buffer(), 0
        with pytest.raises(SourceLost, match=r"not there \(what it says\); it did not come back"):
            while source.read_into(buffer) is not None:
                seen += 1
        assert source.state == "lost"
    assert seen > 4, "frames of several starts"
    assert len(starts.read_text().splitlines()) > 3


def test_why_there_is_no_csi_camera(starts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NVIDIA's element names the reason, and ends without an error."""
    monkeypatch.setenv("GST_NO_CAMERA", "yes")
    with pytest.raises(UserError) as caught:
        open_source("csi:3")
    assert str(caught.value) == "csi:3: No cameras available"


def test_a_csi_camera_that_ends_has_broken_off(starts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GST_FRAMES", "4")
    with open_source("csi:0", retry_s=10) as source:
        buffer, seen = source.new_buffer(), 0
        while seen < 6 and source.read_into(buffer) is not None:
            seen += 1
            monkeypatch.setenv("GST_FRAMES", "1000")
    assert seen == 6
    assert len(starts.read_text().splitlines()) == 2


@pytest.mark.parametrize("hangs", ["", "hangs"])
def test_close_ends_the_process(starts: Path, hangs: str) -> None:
    source = open_source(f"gst:source gap_ms=5 {hangs}")
    buffer = source.new_buffer()
    source.read_into(buffer)
    assert isinstance(source, gstreamer.PipelineSource)
    child = source._child
    assert child is not None
    waiting = threading.Thread(target=lambda: [None for _ in iter(lambda: source.read_into(buffer), None)])
    waiting.start()
    source.close()
    waiting.join(5)
    assert not waiting.is_alive()
    assert source._thread is not None
    source._thread.join(5)
    assert child._process.poll() is not None


def states_until_it_is_back(source: Source, buffer: ImageArray, frames: int) -> list[State]:
    """Reads ``frames`` frames. Returns the states that the source had meanwhile, each once in a row."""
    states: list[State] = [source.state]
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(0.002):
            if source.state != states[-1]:
                states.append(source.state)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        for _ in range(frames):
            assert source.read_into(buffer) is not None
    finally:
        is_over.set()
        watching.join()
    return states


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("program", ["itself", "behind a script"])
@pytest.mark.parametrize(
    "how",
    [
        "stalls_after=4",
        "stalls_after=4 hangs",
        "stalls_after=4 floods",
        "stalls_after=4 floods=endless hangs",
        "half_after=4",
        "half_after=4 floods hangs",
    ],
)
def test_a_pipeline_that_falls_silent_is_started_again(
    starts: Path, impatient: None, monkeypatch: pytest.MonkeyPatch, remarks: Remarks, how: str, program: str
) -> None:
    monkeypatch.setattr(threaded_capture, "_FIRST_GAP_S", 0.3)
    if program == "behind a script":
        script = starts.parent / "bin" / gstreamer.PROGRAM
        script.write_text(script.read_text().replace("exec ", "") + "exit $?\n")
    with open_source(f"gst:source gap_ms=20 well_from=2 {how}") as source:
        states = states_until_it_is_back(source, source.new_buffer(), 8)
        first, second = (int(line) for line in Path(f"{starts}.pids").read_text().split())
        assert not runs(first), "it would keep the camera"
        assert runs(second)
    lost = states.index("lost")
    assert states[lost - 1 : lost + 3] == ["stalled", "lost", "connecting", "live"]
    assert remarks[0] == "gst:source: no frame came for 1 s; trying again"
    assert "is there again after" in remarks[1]


def test_the_gaps_between_starts_grow(starts: Path, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_source("gst:source stalls_after=0 well_from=1 gap_ms=20") as source:
        assert isinstance(source, gstreamer.PipelineSource)
        monkeypatch.setattr(gstreamer, "_OPEN_TIMEOUT_S", 0.4)
        gaps: list[float] = []
        real_pause = source._pause
        monkeypatch.setattr(source, "_pause", lambda seconds: gaps.append(seconds) or real_pause(seconds))
        source._elements = [word for word in source._elements if not word.startswith("well_from")]
        child = source._child
        assert child is not None
        child.kill()
        buffer = source.new_buffer()
        while len(gaps) < 4:
            time.sleep(0.01)
        source.close()
        while source.read_into(buffer) is not None:
            pass
    assert gaps[:4] == [0.02, 0.04, 0.08, 0.16]


def test_a_pipeline_that_stays_silent_is_lost(starts: Path, impatient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_source("gst:source stalls_after=3 gap_ms=20", retry_s=0) as source:
        buffer = source.new_buffer()
        with pytest.raises(SourceLost, match="no frame came for 1 s; it did not come back"):
            while source.read_into(buffer) is not None:
                pass
        assert source.state == "lost"


def test_a_pipeline_that_ends_within_a_frame_has_broken_off(starts: Path, remarks: Remarks) -> None:
    with open_source("gst:source half_after=3 exits well_from=2 frames=5 gap_ms=20") as source:
        _, numbers, _ = play(source)
    assert numbers[-1] == 4
    assert len(starts.read_text().splitlines()) == 2
    assert remarks[0] == "gst:source: gst-launch-1.0 ended within a frame; trying again"


def test_a_slow_pipeline_is_not_silent(starts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer, "_SILENT_S", 0.1)
    with open_source("gst:source frames=4 rate=1/1 clockless gap_ms=400") as source:
        play(source)
    assert len(starts.read_text().splitlines()) == 1


def test_without_gstreamer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for spec in ("gst:videotestsrc", "csi:0"):
        with pytest.raises(UserError, match=r"needs gst-launch-1\.0: sudo apt install"):
            check_source(spec)


def test_mistyped_pipelines_are_refused_before_work_begins(starts: Path) -> None:
    for spec, why in (("gst:", "needs a pipeline"), ("gst:a ! ", "needs a pipeline"), ("gst:a 'b", "cannot be read")):
        with pytest.raises(UserError, match=why):
            check_source(spec)
    assert not starts.exists()


@pytest.mark.skipif(REAL is None, reason="gst-launch-1.0 is not installed")
class TestReal:
    def test_a_test_pattern(self) -> None:
        caps = "video/x-raw,format=I420,width=101,height=76,framerate=50/1"
        with open_source(f"gst:videotestsrc num-buffers=20 pattern=blue ! {caps}") as source:
            assert (source.size, source.fps) == ((101, 76), 50.0)
            buffer, times = source.new_buffer(), []
            while (stamp := source.read_into(buffer)) is not None:
                times.append(stamp.time_s)
                np.testing.assert_allclose(buffer, np.broadcast_to([255, 0, 0], buffer.shape), atol=4)
        assert len(times) > 3
        np.testing.assert_allclose(times[-1], 0.38, atol=1e-6)
        np.testing.assert_allclose(np.array(times) * 50, np.round(np.array(times) * 50), atol=1e-5)

    def test_it_is_interrupted(self) -> None:
        with open_source("gst:videotestsrc is-live=true ! video/x-raw,width=64,height=48") as source:
            source.read_into(source.new_buffer())
            child = source._child  # type: ignore[attr-defined]
        source._thread.join(5)  # type: ignore[attr-defined]
        assert child._process.returncode == 0

    def test_an_element_that_hangs(self, monkeypatch: pytest.MonkeyPatch, impatient: None, remarks: Remarks) -> None:
        """`sleep-time`, microseconds, holds the stream's own thread, which cannot be interrupted either."""
        caps = "video/x-raw,width=64,height=48,framerate=30/1"
        with open_source(f"gst:videotestsrc is-live=true ! {caps} ! identity sleep-time=0") as source:
            assert isinstance(source, gstreamer.PipelineSource)
            source._elements = [word.replace("sleep-time=0", "sleep-time=60000000") for word in source._elements]
            monkeypatch.setattr(gstreamer, "_OPEN_TIMEOUT_S", 1.0)
            child = source._child
            assert child is not None
            child._process.send_signal(signal.SIGSTOP)
            while len(remarks) < 1:
                time.sleep(0.02)
            while source._child is child:
                time.sleep(0.02)
            hanging = source._child
            source._elements = [word.replace("sleep-time=60000000", "sleep-time=0") for word in source._elements]
            buffer = source.new_buffer()
            while source.state != "live":
                assert source.read_into(buffer) is not None
            assert child._process.returncode == -signal.SIGKILL
            assert hanging is not None
            assert hanging._process.returncode is not None
        assert "no frame came for 1 s; trying again" in remarks[0]
        assert "is there again after" in remarks[1]

    def test_errors(self) -> None:
        with pytest.raises(UserError, match=r'^gst:filesrc ! decodebin: Resource not found \(No such file "/nope"\)$'):
            open_source("gst:filesrc location=/nope ! decodebin")
        with pytest.raises(UserError, match=r'^gst:nosuchsrc: no element "nosuchsrc"$'):
            open_source("gst:nosuchsrc")
        if not os.path.exists("/etc/nv_tegra_release"):
            with pytest.raises(UserError, match="nvarguscamerasrc comes with JetPack"):
                open_source("csi:0")


@pytest.mark.skipif(REAL is None, reason="GStreamer is not installed")
def test_an_error_without_details_is_told_alone() -> None:
    """The lines that follow belong to the next one."""
    with open_source("gst:videotestsrc num-buffers=9 ! identity error-after=3", retry_s=0.0) as source:
        buffer = source.new_buffer()
        with pytest.raises(SourceLost, match=r"identity: Failed after iterations as requested; it did not come back$"):
            while source.read_into(buffer) is not None:
                pass
