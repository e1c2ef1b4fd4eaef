from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from common.errors import UserError
from realtime.outputs.video import VideoRecorder
from realtime.sources import open_source
from tests.conftest import Remarks
from tests.realtime.clips import number, numbered_image


@pytest.fixture(autouse=True)
def nothing_is_damaged(remarks: Remarks) -> Iterator[None]:
    """Whatever a test records can be read back whole."""
    yield
    assert not any("damaged" in line for line in remarks)


def read(path: Path) -> tuple[list[float], list[int]]:
    """Times in seconds and written numbers of a recording."""
    times, numbers = [], []
    with open_source(str(path)) as source:
        buffer = source.new_buffer()
        while (timestamp := source.read_into(buffer)) is not None:
            times.append(timestamp.time_s)
            numbers.append(number(buffer))
    return times, numbers


def test_times_and_frames_come_back(tmp_path: Path) -> None:
    times = [10.0, 10.033, 10.04, 10.5, 10.51, 12.0]
    path = tmp_path / "out.mp4"
    with VideoRecorder(path) as out:
        buffer = np.empty((48, 64, 3), np.uint8)
        for index, time_s in enumerate(times):
            buffer[:] = numbered_image(index)  # one buffer again and again, as the pipeline does
            out.write(buffer, time_s)
    seen, numbers = read(path)
    np.testing.assert_allclose(seen, np.array(times) - 10.0, atol=1e-4)
    assert numbers == list(range(6))


def test_times_that_stand_still_are_mended(tmp_path: Path) -> None:
    with VideoRecorder(tmp_path / "out.mp4") as out:
        for index, time_s in enumerate([0.0, 0.0, 0.1, 0.05, 0.2]):
            out.write(numbered_image(index), time_s)
    times, numbers = read(tmp_path / "out.mp4")
    assert (np.diff(times) > 0).all()
    assert numbers == list(range(5))


def test_other_readers_play_it_and_colours_are_true(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    image = np.empty((64, 64, 3), np.uint8)
    image[:] = (40, 80, 200)
    with VideoRecorder(path) as out:
        for index in range(90):
            out.write(image, index / 30)
    capture = cv2.VideoCapture(str(path))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 90
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(30, abs=0.1)
    count = 0
    while capture.grab():
        count += 1
    assert count == 90
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.codec_context.colorspace == 1, "BT.709"
        assert float(container.duration or 0) / av.time_base == pytest.approx(3.0, abs=0.05)
    with open_source(str(path)) as source:
        buffer = source.new_buffer()
        source.read_into(buffer)
        np.testing.assert_allclose(buffer[32, 32], image[32, 32], atol=4)


def test_odd_sizes_are_padded(tmp_path: Path) -> None:
    with VideoRecorder(tmp_path / "odd.mp4") as out:
        for index in range(3):
            out.write(numbered_image(index, 63, 47), index / 30)
    with open_source(str(tmp_path / "odd.mp4")) as source:
        assert source.size == (64, 48)
    assert read(tmp_path / "odd.mp4")[1] == [0, 1, 2]


def test_a_name_may_look_like_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("out-15:20:00.mp4", "http:x.mp4"):
        with VideoRecorder(name) as out:
            out.write(numbered_image(1, 64, 48), 0.0)
        assert read(tmp_path / name)[1] == [1]


def test_a_killed_program_leaves_a_playable_file(tmp_path: Path) -> None:
    path = tmp_path / "killed.mp4"
    program = (
        "import os, signal, sys\n"
        "from realtime.outputs.video import VideoRecorder\n"
        "from tests.realtime.clips import numbered_image\n"
        "out = VideoRecorder(sys.argv[1])\n"
        "for index in range(250):\n"
        "    out.write(numbered_image(index), index / 30)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", program, str(path)], cwd=root, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    assert count >= 180, "all but the last two seconds and what the encoder held"


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder"):
        VideoRecorder(tmp_path / "missing" / "out.mp4")
    with pytest.raises(UserError, match="is a folder"):
        VideoRecorder(tmp_path)
    with pytest.raises(UserError, match="cannot write"):
        VideoRecorder("/dev/full/out.mp4" if Path("/dev/full").is_dir() else "/proc/out.mp4")


def test_without_frames_nothing_is_touched(tmp_path: Path) -> None:
    old = tmp_path / "old.mp4"
    old.write_bytes(b"precious")
    for path in (old, tmp_path / "new.mp4"):
        VideoRecorder(path).close()
    assert old.read_bytes() == b"precious"
    assert not (tmp_path / "new.mp4").exists()


def test_after_close_nothing_happens(tmp_path: Path) -> None:
    out = VideoRecorder(tmp_path / "out.mp4")
    out.write(numbered_image(0), 0.0)
    out.close()
    out.close()
    out.write(numbered_image(1), 1.0)
    assert read(tmp_path / "out.mp4")[1] == [0]


def test_another_run_with_the_same_name_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    with VideoRecorder(path) as first, VideoRecorder(path) as at_the_same_time:
        first.write(numbered_image(1), 0.0)
        with pytest.raises(UserError, match=r"another run writes .*out\.mp4: give another name"):
            VideoRecorder(path)
        with pytest.raises(UserError, match="another run writes"):
            at_the_same_time.write(numbered_image(2), 0.0)
        first.write(numbered_image(3), 0.1)
    assert read(path)[1] == [1, 3]
    with VideoRecorder(path) as again:
        again.write(numbered_image(4), 0.0)
    assert read(path)[1] == [4]


def test_another_size_is_refused(tmp_path: Path) -> None:
    with VideoRecorder(tmp_path / "out.mp4") as out:
        out.write(numbered_image(0), 0.0)
        with pytest.raises(ValueError, match="takes uint8 images of"):
            out.write(numbered_image(1, 32, 32), 0.1)


@pytest.mark.skipif(not hasattr(os, "fork") or not sys.platform.startswith("linux"), reason="needs file size limits")
def test_a_full_disk_ends_the_recording_with_one_line(tmp_path: Path) -> None:
    # A limit on file sizes fails like a full disk does; it holds for a process of its own.
    path = tmp_path / "full.mp4"
    program = (
        "import resource, signal, sys\n"
        "import numpy as np\n"
        "from realtime.errors import UserError\n"
        "from realtime.outputs.video import VideoRecorder\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))\n"
        "noise = np.random.default_rng(0).integers(0, 255, (20, 96, 128, 3), dtype=np.uint8)\n"
        "out = VideoRecorder(sys.argv[1])\n"
        "try:\n"
        "    for index in range(1000):\n"
        "        out.write(noise[index % 20], index / 30)\n"
        "except UserError as error:\n"
        "    print(error)\n"
        "out.close()\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=root, check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.startswith("recording stopped: ")
    assert done.stdout.count("\n") == 1
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    assert count > 20
