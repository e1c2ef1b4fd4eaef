from __future__ import annotations

import gc
import os
import threading
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from common.errors import UserError
from realtime.sources import Source, animation, open_source
from realtime.sources.pixels import fit_into
from realtime.sources.timing import FileClock, believable_fps, nominal_fps
from tests.conftest import Remarks
from tests.realtime.clips import blue_corner, number, numbered_image, turn_video, with_orientation, write_video
from tests.realtime.sources.reading import read_all, times_of


def test_a_video_arrives_whole_and_in_order(tmp_path: Path, remarks: Remarks) -> None:
    path = write_video(tmp_path / "a.mp4", 20)
    with open_source(str(path)) as source:
        assert (source.size, source.fps, source.frame_count, source.live) == ((64, 48), 30.0, 20, False)
        timestamps, images = read_all(source)
        assert source.read_into(source.new_buffer()) is None
        assert not remarks
    assert [timestamp.index for timestamp in timestamps] == list(range(20))
    assert [number(image) for image in images] == list(range(20))
    np.testing.assert_allclose(times_of(timestamps), np.arange(20) / 30, atol=1e-6)
    captured = [timestamp.captured_ns for timestamp in timestamps]
    assert captured == sorted(captured)


def test_frames_that_were_read_are_freed_without_the_cycle_collector(tmp_path: Path) -> None:
    def alive() -> int:
        return sum(isinstance(thing, av.VideoFrame) for thing in gc.get_objects())

    with open_source(str(write_video(tmp_path / "a.mp4", 40))) as source:
        gc.collect()
        gc.disable()
        try:
            before = alive()
            timestamps, _ = read_all(source)
            assert len(timestamps) == 40
            assert alive() - before <= 3
        finally:
            gc.enable()


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "options"),
    [
        ("grey.mkv", "ffv1", "gray", {}),
        ("grey16.mkv", "ffv1", "gray16le", {}),
        ("colour16.mkv", "ffv1", "rgb48le", {}),
        ("ten_bit.mkv", "ffv1", "yuv420p10le", {}),
        ("alpha.mkv", "ffv1", "bgra", {}),
        ("planar_alpha.mkv", "ffv1", "yuva420p", {}),
        ("motion.avi", "mjpeg", "yuvj420p", {}),
        ("web.webm", "libvpx-vp9", "yuv420p", {"cpu-used": "8", "deadline": "realtime"}),
    ],
)
def test_all_pixel_formats_become_bgr(
    tmp_path: Path, name: str, codec: str, pixels: str, options: dict[str, str]
) -> None:
    path = write_video(tmp_path / name, 3, codec=codec, pixels=pixels, options=options)
    with open_source(str(path)) as source:
        _, images = read_all(source)
    assert [number(image) for image in images] == [0, 1, 2]
    if not pixels.startswith("gray"):
        assert blue_corner(images[-1]) == "upper left"
    else:
        assert 15 < images[-1][5, 5, 0] < 50, "blue is dark grey"


def test_odd_sizes(tmp_path: Path) -> None:
    path = write_video(tmp_path / "odd.mp4", 3, size=(63, 47), pixels="yuv444p")
    with open_source(str(path)) as source:
        assert source.size == (63, 47)
        _, images = read_all(source)
    assert [number(image) for image in images] == [0, 1, 2]


@pytest.mark.parametrize(
    ("matrix", "size", "corner"),
    [
        ((0, 1, -1, 0), (48, 64), "upper right"),  # a phone held upright
        ((0, -1, 1, 0), (48, 64), "lower left"),
        ((-1, 0, 0, -1), (64, 48), "lower right"),
        ((-1, 0, 0, 1), (64, 48), "upper right"),  # mirrored
        ((0, 1, 1, 0), (48, 64), "upper left"),  # mirrored along the diagonal
    ],
)
def test_rotated_videos_stand_upright(
    tmp_path: Path, matrix: tuple[int, int, int, int], size: tuple[int, int], corner: str
) -> None:
    path = write_video(tmp_path / "phone.mp4", 2)
    turn_video(path, *matrix)
    with open_source(str(path)) as source:
        assert source.size == size
        _, images = read_all(source)
    assert [blue_corner(image) for image in images] == [corner, corner]


def test_narrow_pixels_are_widened(tmp_path: Path) -> None:
    path = write_video(tmp_path / "dv.mp4", 2, options={"aspect": "2:1", "x264-params": "sar=2/1"})
    with open_source(str(path)) as source:
        assert source.size == (128, 48)
        _, images = read_all(source)
    assert number(images[1]) == 1


@pytest.mark.parametrize(
    ("name", "codec", "options", "size"),
    [
        ("container.mp4", "mpeg4", {"aspect": "4:3"}, (64, 48)),
        ("container.mov", "mjpeg", {"aspect": "4:3"}, (64, 48)),
        ("both.mp4", "libx264", {"aspect": "4:3", "x264-params": "sar=2/1"}, (64, 48)),
        ("codec.h264", "libx264", {"x264-params": "sar=4/3"}, (64, 48)),
        ("narrow.mp4", "libx264", {"aspect": "1:2"}, (24, 48)),
    ],
)
def test_the_containers_pixel_shape_comes_before_the_codecs(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], size: tuple[int, int]
) -> None:
    path = write_video(
        tmp_path / name,
        2,
        size=(48, 48),
        codec=codec,
        options=options,
        pixels="yuvj420p" if codec == "mjpeg" else "yuv420p",
    )
    with open_source(str(path)) as source:
        assert source.size == size


def test_the_rate_of_a_browsers_recording_comes_from_its_timestamps(tmp_path: Path) -> None:
    jitter = np.random.default_rng(1).integers(0, 12, 60)
    times_ms = [round(1000 * index / 30) + int(late) for index, late in enumerate(jitter)]
    path = write_video(tmp_path / "a.mkv", 60, times_ms=times_ms, rate=1000)
    with open_source(str(path)) as source:
        assert source.fps == pytest.approx(30, rel=0.05)


def test_rates_that_are_believed() -> None:
    steady = [index / 60 for index in range(40)]
    assert believable_fps((59.35, 60.0), steady) == 60.0
    assert believable_fps((None, 1000.0), steady) == pytest.approx(60)
    assert believable_fps((25.0,), []) == 25.0
    paused = [*steady[:20], *(5 + time_s for time_s in steady)]
    assert believable_fps((12.0,), paused) == pytest.approx(60)


def test_slow_motion_is_played_at_the_rate_that_it_was_taken_at(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 31)
    with open_source(str(path), fps=240) as source:
        timestamps, _ = read_all(source)
        assert source.fps == 240
    assert times_of(timestamps)[-1] == pytest.approx(0.125)


def test_a_gap_of_many_hours_is_closed_and_said(tmp_path: Path, remarks: Remarks) -> None:
    times_ms = [33 * index + (30_000_000 if index >= 10 else 0) for index in range(20)]
    with open_source(str(write_video(tmp_path / "gap.mkv", 20, times_ms=times_ms))) as source:
        timestamps, _ = read_all(source)
    np.testing.assert_allclose(np.diff(times_of(timestamps)), 0.033, atol=2e-3)
    assert ["gap of 30000 s" in line for line in remarks] == [True]
    times_ms = [33 * index + (20_000_000 if index >= 10 else 0) for index in range(20)]
    with open_source(str(write_video(tmp_path / "hours.mkv", 20, times_ms=times_ms))) as source:
        timestamps, _ = read_all(source)
    assert times_of(timestamps)[-1] == pytest.approx(20_000.627, abs=0.01)


@pytest.mark.parametrize(
    "name", ["12:30:05.mp4", "a:b.mp4", "http:c.mp4", "rtsp:d@e.mp4", "50%.mp4", "#1?.mp4", "-i.mp4", "~nobody.mp4"]
)
def test_names_that_look_like_something_else(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_video(tmp_path / "a.mp4", 2).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    with open_source(name) as source:
        assert len(read_all(source)[0]) == 2


@pytest.mark.parametrize("name", ["moving.png", "moving.webp", "moving.gif", "moving.avif"])
def test_animated_images(tmp_path: Path, name: str) -> None:
    moving = cv2.Animation()
    moving.frames = [numbered_image(index) for index in range(5)]
    moving.durations = [100, 100, 200, 100, 100]
    if name.endswith("avif") and not cv2.haveImageWriter(name):
        pytest.skip("OpenCV is built without AVIF here")
    assert cv2.imwriteanimation(str(tmp_path / name), moving)
    with open_source(str(tmp_path / name)) as source:
        timestamps, images = read_all(source)
        assert source.fps == pytest.approx(10, rel=0.2)
    assert [number(image) for image in images] == list(range(5))
    np.testing.assert_allclose(times_of(timestamps), [0, 0.1, 0.2, 0.4, 0.5], atol=0.011)


def test_an_animated_webp_is_decoded_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animation, "_BLOCK_BYTES", 2 * 64 * 48 * 4)
    moving = cv2.Animation()
    moving.frames = [numbered_image(index) for index in range(7)]
    moving.durations = [100] * 7
    assert cv2.imwriteanimation(str(tmp_path / "a.webp"), moving)
    asked: list[int] = []
    decode = cv2.imreadanimation

    def counted(path: str, start: int, count: int) -> object:
        asked.append(count)
        return decode(path, start, count)

    monkeypatch.setattr(cv2, "imreadanimation", counted)
    with open_source(str(tmp_path / "a.webp")) as source:
        timestamps, images = read_all(source)
    assert [number(image) for image in images] == list(range(7))
    np.testing.assert_allclose(times_of(timestamps), np.arange(7) * 0.1, atol=1e-6)
    assert asked == [2, 2, 2, 2]  # never more at a time


@pytest.mark.parametrize(
    ("orientation", "corner"), [(1, "upper left"), (3, "lower right"), (6, "upper right"), (8, "lower left")]
)
def test_a_cameras_jpegs_may_carry_exif_data(tmp_path: Path, orientation: int, corner: str) -> None:
    """PyAV 18 knows no name for what FFmpeg 8.1 makes of them, and raises."""
    jpeg = cv2.imencode(".jpg", numbered_image(0))[1].tobytes()
    (tmp_path / "a.mjpeg").write_bytes(with_orientation(jpeg, orientation) * 3)
    with open_source(str(tmp_path / "a.mjpeg")) as source:
        _, images = read_all(source)
    assert [blue_corner(image) for image in images] == [corner] * 3


def test_interlaced_frames_have_no_combs(tmp_path: Path) -> None:
    """Lines of two moments, white and black: one of them counts."""
    image = np.full((48, 64, 3), 230, np.uint8)
    image[1::2] = 20
    with av.open(str(tmp_path / "a.mpg"), "w") as out:
        stream = out.add_stream("mpeg2video", rate=25, options={"flags": "+ildct+ilme", "qmax": "2"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        out.mux(stream.encode(None))
    with open_source(str(tmp_path / "a.mpg")) as source:
        _, images = read_all(source)
    assert images[0].min() > 200


@pytest.mark.parametrize(
    ("turn", "mirror", "size", "corner"),
    [
        (0, False, (64, 48), "upper left"),
        (90, False, (48, 64), "upper right"),
        (180, False, (64, 48), "lower right"),
        (270, False, (48, 64), "lower left"),
        (0, True, (64, 48), "upper right"),
        (90, True, (48, 64), "upper left"),
    ],
)
@pytest.mark.parametrize("live", [False, True])
def test_cameras_mounted_on_their_side(
    tmp_path: Path, turn: int, mirror: bool, size: tuple[int, int], corner: str, live: bool
) -> None:
    path = write_video(tmp_path / "a.mp4", 3)
    with open_source(str(path), live=live, rotate=turn, mirror=mirror) as source:
        assert (source.size, source.live, source.fps) == (size, live, 30)
        buffer = source.new_buffer()
        assert source.read_into(buffer) is not None
    assert blue_corner(buffer) == corner


@pytest.mark.parametrize("spec", ["", "  "])
def test_no_source(spec: str) -> None:
    with pytest.raises(UserError, match="--source is empty"):
        open_source(spec)


@pytest.mark.parametrize("spec", ["rtsp:/bob:HUNTER22@x/live", "bob:HUNTER22@x/live", "x/video?user=bob&pwd=HUNTER22"])
def test_a_mistyped_address_does_not_show_its_password(spec: str) -> None:
    with pytest.raises(UserError) as caught:
        open_source(spec)
    assert "HUNTER22" not in str(caught.value)
    assert "bob" not in str(caught.value)


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times_ms = [0, 33, 40, 200, 210, 900]
    path = write_video(tmp_path / "vfr.mkv", 6, times_ms=times_ms)
    with open_source(str(path)) as source:
        timestamps, _ = read_all(source)
    np.testing.assert_allclose(times_of(timestamps), np.array(times_ms) / 1000, atol=2e-3)


def test_a_stream_without_times_gets_nominal_ones(tmp_path: Path) -> None:
    path = write_video(tmp_path / "raw.h264", 6)
    with open_source(str(path)) as source:
        timestamps, images = read_all(source)
    assert [number(image) for image in images] == list(range(6))
    assert (np.diff(times_of(timestamps)) > 0).all()


def test_a_wrong_buffer_is_refused(tmp_path: Path) -> None:
    with open_source(str(write_video(tmp_path / "a.mp4", 2))) as source:
        with pytest.raises(ValueError, match="48, 64, 3"):
            source.read_into(np.empty((64, 48, 3), np.uint8))
        timestamp = source.read_into(source.new_buffer())
        assert timestamp is not None
        assert timestamp[0] == 0, "the refused read took nothing away"


def test_close_from_another_thread_while_reading(tmp_path: Path) -> None:
    path = write_video(tmp_path / "long.mp4", 200, size=(320, 240))
    for delay_s in (0.0, 0.005, 0.02):
        source = open_source(str(path))
        reads: list[int] = []

        def read(source: Source = source, reads: list[int] = reads) -> None:
            buffer = source.new_buffer()
            while source.read_into(buffer) is not None:
                reads.append(1)

        thread = threading.Thread(target=read)
        thread.start()
        time.sleep(delay_s)
        source.close()
        source.close()
        thread.join(1.0)
        assert not thread.is_alive()


def test_file_addresses_and_notice_about_the_size(tmp_path: Path, remarks: Remarks) -> None:
    path = write_video(tmp_path / "with space.mp4", 2)
    with open_source(path.as_uri(), width=1280) as source:
        assert not source.live
        assert "keeps its size of 64x48" in remarks[0]


def test_file_addresses_as_people_write_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a b.mp4", "c#d.mp4", " e.mp4"):
        write_video(tmp_path / name, 2)
    typed = (f"file:{tmp_path}/a%20b.mp4", f"file:{tmp_path}/a b.mp4", f"file://{tmp_path}/c#d.mp4", "file://a b.mp4")
    for spec in (*typed, f"file:{tmp_path}/c%23d.mp4", f"file://localhost{tmp_path}/a%20b.mp4", " e.mp4", " a b.mp4 "):
        with open_source(spec) as source:
            assert source.read_into(source.new_buffer()) is not None
    with pytest.raises(UserError, match="is empty"):
        open_source("file://")


def test_why_a_file_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "round")
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("round", "symbolic links"), ("pipe", "a pipe"), ("x" * 300, "too long"), ("none", "no file")):
        with pytest.raises(UserError, match=why):
            open_source(str(tmp_path / name))


def test_standard_input_and_empty_files_are_called_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="standard input"):
        open_source("-")
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UserError, match="it is empty"):
        open_source(str(tmp_path / "a.mp4"))


def test_file_clock_never_stands_still() -> None:
    clock = FileClock(10.0)
    timestamps = [5.0, 5.1, 5.1, None, 5.2, 5.5, 0.0, 0.1, 0.5]
    times = [clock.time_of(timestamp) for timestamp in timestamps]
    np.testing.assert_allclose(times, [0, 0.1, 0.15, 0.25, 0.3, 0.5, 0.6, 0.7, 1.1], atol=1e-9)


def test_unbelievable_rates() -> None:
    assert nominal_fps(None, 0, 90000, 25) == 25.0
    assert nominal_fps(None) == 30.0


def test_fit_into_centres() -> None:
    buffer = np.full((40, 40, 3), 9, np.uint8)
    fit_into(np.full((10, 20, 3), 200, np.uint8), buffer)
    assert (buffer[10:30] == 200).all()
    assert (buffer[:10] == 0).all()
    assert (buffer[30:] == 0).all()


def test_16_bit_image(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "deep.png"), numbered_image(5).astype(np.uint16) * 257)
    with open_source(str(tmp_path / "deep.png")) as source:
        assert (source.frame_count, source.live) == (1, False)
        timestamps, images = read_all(source)
    assert [timestamp[::2] for timestamp in timestamps] == [(0, 0.0)]
    np.testing.assert_array_equal(images[0], numbered_image(5))
