from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from common.arrays import ImageArray
from common.errors import UserError
from realtime.sources import Source, open_source
from tests.conftest import Remarks
from tests.realtime.clips import blue_corner, number, numbered_image, with_orientation


def numbers(source: Source) -> list[tuple[int, float, int]]:
    """Index, time and written number of every image."""
    seen = []
    buffer = source.new_buffer()
    while (timestamp := source.read_into(buffer)) is not None:
        seen.append((timestamp[0], round(timestamp.time_s, 6), number(buffer)))
    return seen


def test_natural_order_of_names_and_rate(tmp_path: Path, remarks: Remarks) -> None:
    for index in (1, 2, 10, 9, 100):
        cv2.imwrite(str(tmp_path / f"shot{index}.png"), numbered_image(index))
    (tmp_path / "notes.txt").write_text("no image")
    with open_source(str(tmp_path), fps=10) as source:
        assert (source.size, source.fps, source.frame_count, source.live) == ((64, 48), 10, 5, False)
        assert numbers(source) == [(0, 0.0, 1), (1, 0.1, 2), (2, 0.2, 9), (3, 0.3, 10), (4, 0.4, 100)]
        assert not remarks
    with open_source(str(tmp_path)) as source:
        assert source.fps == 30


def test_a_damaged_image_leaves_a_gap_and_sizes_are_fitted(tmp_path: Path, remarks: Remarks) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), numbered_image(0))
    (tmp_path / "1.png").write_bytes(b"\x89PNG no")
    cv2.imwrite(str(tmp_path / "2.png"), numbered_image(2, 128, 96))
    with open_source(str(tmp_path)) as source:
        assert numbers(source) == [(0, 0.0, 0), (2, round(2 / 30, 6), 2)]
        assert [("left out" in line, "fitted" in line) for line in remarks] == [(True, False), (False, True)]


def test_grey_and_transparent_images(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), cv2.cvtColor(numbered_image(3), cv2.COLOR_BGR2GRAY))
    cv2.imwrite(str(tmp_path / "1.png"), cv2.cvtColor(numbered_image(4), cv2.COLOR_BGR2BGRA))
    with open_source(str(tmp_path)) as source:
        assert [seen[2] for seen in numbers(source)] == [3, 4]


CORNERS = ["upper left", "upper right", "lower right", "lower left"] * 2
"""Where the upper left corner of the sensor belongs by EXIF's orientations 1 to 8; the last four are turned by a quarter."""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photo_of_a_phone_stands_upright(tmp_path: Path, orientation: int) -> None:
    jpeg = cv2.imencode(".jpg", numbered_image(0))[1].tobytes()
    (tmp_path / "photo.jpg").write_bytes(with_orientation(jpeg, orientation))
    for path in (tmp_path, tmp_path / "photo.jpg"):
        with open_source(str(path)) as source:
            assert source.size == ((64, 48) if orientation < 5 else (48, 64))
            buffer = source.new_buffer()
            source.read_into(buffer)
            assert blue_corner(buffer) == CORNERS[orientation - 1]


def test_a_small_file_of_too_many_pixels_is_refused(tmp_path: Path) -> None:
    """In a process of its own: OpenCV reads the limit when it is loaded."""
    side = 12_000
    packed = zlib.compress(bytes((side + 1) * side), 1)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    assert (tmp_path / "large.png").stat().st_size < 1_500_000
    program = (
        "import resource, sys\nfrom realtime.sources import open_source\nfrom common.errors import UserError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    open_source(sys.argv[1])\nexcept UserError as error:\n"
        "    print(error)\n    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "large.png")],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    said, grown_kb = done.stdout.strip().splitlines()
    assert "67 million" in said
    assert int(grown_kb) < 100_000


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no images in"):
        open_source(str(tmp_path))
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(UserError, match="can be read"):
        open_source(str(tmp_path))
    with pytest.raises(UserError, match="is no rate"):
        open_source(str(tmp_path), fps=0)


def test_why_an_image_cannot_be_read_is_said(tmp_path: Path, remarks: Remarks) -> None:
    cv2.imwrite(str(tmp_path / "real.tiff"), np.full((8, 8, 3), 0.5, np.float32))
    with pytest.raises(UserError, match="has 32 bits a colour: convert it"):
        open_source(str(tmp_path / "real.tiff"))
    (tmp_path / "empty.png").touch()
    with pytest.raises(UserError, match="png is empty"):
        open_source(str(tmp_path / "empty.png"))
    assert not remarks


def test_many_unreadable_images_are_two_lines(tmp_path: Path, remarks: Remarks) -> None:
    cv2.imwrite(str(tmp_path / "000.png"), numbered_image(0))
    for index in range(1, 50):
        (tmp_path / f"{index:03d}.png").touch()
    with open_source(str(tmp_path)) as source:
        assert numbers(source) == [(0, 0.0, 0)]
    assert ["001.png is empty" in remarks[0], "49 images" in remarks[1], len(remarks)] == [True, True, 2]


def test_images_that_come_meanwhile_are_told(tmp_path: Path, remarks: Remarks) -> None:
    for index in range(2):
        cv2.imwrite(str(tmp_path / f"{index}.png"), numbered_image(index))
    with open_source(str(tmp_path)) as source:
        cv2.imwrite(str(tmp_path / "2.png"), numbered_image(2))
        assert [seen[2] for seen in numbers(source)] == [0, 1]
    assert "1 more images by now" in remarks[0]


def test_a_closed_source_ends(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((4, 4, 3), np.uint8))
    source = open_source(str(tmp_path))
    buffer = source.new_buffer()
    source.close()
    assert source.read_into(buffer) is None


def test_hidden_files_are_no_images(tmp_path: Path, remarks: Remarks) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"f00{index}.jpg"), numbered_image(index))
        (tmp_path / f"._f00{index}.jpg").write_bytes(
            b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ".ljust(4096, b"\0")
        )
    cv2.imwrite(str(tmp_path / ".hidden.png"), numbered_image(9))
    with open_source(str(tmp_path)) as source:
        assert source.frame_count == 3
        assert [seen[:2] for seen in numbers(source)] == [(0, 0.0), (1, round(1 / 30, 6)), (2, round(2 / 30, 6))]
    assert not remarks
    with open_source(str(tmp_path / ".hidden.png")) as source:
        assert numbers(source) == [(0, 0.0, 9)]


def test_the_pages_of_a_tiff_are_frames(tmp_path: Path) -> None:
    path = tmp_path / "stack.tiff"
    assert cv2.imwritemulti(str(path), [numbered_image(index) for index in range(5)])
    with open_source(str(path), fps=10) as source:
        assert source.frame_count == 5
        assert numbers(source) == [(index, pytest.approx(index / 10), index) for index in range(5)]


def test_a_jpeg_that_is_cut_short_is_named(tmp_path: Path, remarks: Remarks) -> None:
    data = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8))[1].tobytes()
    thumbnail = cv2.imencode(".jpg", numbered_image(1))[1].tobytes()
    exif = b"Exif\0\0" + thumbnail
    with_thumbnail = data[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + data[2:]
    (tmp_path / "0.jpg").write_bytes(data)
    (tmp_path / "1.jpg").write_bytes(with_thumbnail)
    (tmp_path / "2.jpg").write_bytes(with_thumbnail[: -len(data) // 2])
    (tmp_path / "3.jpg").write_bytes(data[: len(data) // 2])
    with open_source(str(tmp_path)) as source:
        assert [index for index, _, _ in numbers(source)] == [0, 1, 2, 3]
    assert ["2.jpg is cut short" in line for line in remarks] == [True], "once, and not the two whole ones"


def test_animated_images_in_a_folder_count_once_and_say_so(tmp_path: Path, remarks: Remarks) -> None:
    animation = cv2.Animation()
    animation.frames = [numbered_image(index) for index in range(3)]
    animation.durations = [40, 40, 40]
    for name in ("1.png", "2.webp"):
        cv2.imwriteanimation(str(tmp_path / name), animation)
    cv2.imwrite(str(tmp_path / "0.png"), numbered_image(9))
    with open_source(str(tmp_path)) as source:
        assert [written for _, _, written in numbers(source)] == [9, 0, 0]
    assert ["1.png is animated" in line for line in remarks] == [True]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_turned_tiffs(tmp_path: Path, orientation: int) -> None:
    """Scanners turn images by a tag; each is stored so that the tag makes it upright."""
    upright = numbered_image(5, 64, 48)
    turns = {1: 0, 3: 2, 6: 1, 8: 3}  # quarter turns to the left undo the tag
    stored = np.ascontiguousarray(np.rot90(upright, turns[orientation])[..., ::-1])
    height, width = stored.shape[:2]
    pixels = stored.tobytes()
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 2), (273, 4, 200), (274, 3, orientation),
               (277, 3, 3), (278, 4, height), (279, 4, len(pixels))]  # fmt: skip
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    head += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries) + bytes(4)
    (tmp_path / "scan.tif").write_bytes(head.ljust(200, b"\0") + pixels)
    with open_source(str(tmp_path / "scan.tif")) as source:
        assert source.size == (64, 48)
        buffer = source.new_buffer()
        assert source.read_into(buffer) is not None
        assert (number(buffer), blue_corner(buffer)) == (5, "upper left")


def test_names_with_other_peoples_digits(tmp_path: Path) -> None:
    for name, written in (("1\u00b22.png", 1), ("1\u00b23.png", 2), ("\u0663.png", 3)):
        (tmp_path / name).write_bytes(cv2.imencode(".png", numbered_image(written))[1].tobytes())
    with open_source(str(tmp_path)) as source:
        assert len(numbers(source)) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
def test_names_that_are_no_utf8(tmp_path: Path, ending: str, remarks: Remarks) -> None:
    """Files of old disks and foreign archives, and any umlaut where the locale is C: OpenCV ends the process on their names."""
    folder = tmp_path / os.fsdecode(b"bilder-\xe4")
    folder.mkdir()
    kinds = {"png": cv2.imwrite, "tif": lambda name, image: cv2.imwritemulti(name, [image] * 2), "webp": _animate}
    kinds[ending](str(tmp_path / f"a.{ending}"), numbered_image(7))
    image = folder / os.fsdecode(b"\xe4." + ending.encode())
    (tmp_path / f"a.{ending}").rename(image)
    for path, count in ((folder, 1 + (ending == "tif")), (image, 1 if ending == "png" else 2)):
        with open_source(str(path)) as source:
            found = numbers(source)
            assert (found[0][2], len(found)) == (7, count)
            source.name.encode()  # or it could be written nowhere
    "".join(remarks).encode()
    image.write_bytes(b"no image")
    with pytest.raises(UserError, match="damaged"):
        open_source(str(image)).open()


def _animate(name: str, image: ImageArray) -> None:
    moving = cv2.Animation()
    moving.frames, moving.durations = [image, 255 - image], [100] * 2
    assert cv2.imwriteanimation(name, moving, [cv2.IMWRITE_WEBP_QUALITY, 101])
