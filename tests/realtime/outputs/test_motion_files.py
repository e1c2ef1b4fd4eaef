"""Every --save of a run is written, whatever its format."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from body.model import BodyArrays, load_body
from common.camera import Camera
from common.errors import UserError
from formats.endings import MeshLook
from formats.motion import load_motion
from formats.save import open_motion
from realtime.outputs.motion_files import MotionFiles, check_paths
from tests.realtime.outputs.live_results import CAMERA, result, tilted


@pytest.fixture(scope="module")
def arrays() -> BodyArrays:
    return load_body("body_1722")


def write(arrays: BodyArrays, *paths: Path, people: tuple[int, ...] = (0, 2)) -> None:
    files = MotionFiles(paths, CAMERA, 30.0, "walk.mp4", arrays)
    for sequence in range(5):
        files.write(result(arrays, sequence, *people))
    files.close()
    files.close()
    assert files.frames == 5


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_all_are_written(arrays: BodyArrays, tmp_path: Path) -> None:
    write(
        arrays, tmp_path / "a.glb", tmp_path / "a.npz", tmp_path / "a.bvh", tmp_path / "b.amass.npz", tmp_path / "c.npz"
    )
    several = [
        f"{stem}.person-{person}.{ending}" for stem, ending in (("a", "bvh"), ("b", "amass.npz")) for person in (0, 2)
    ]
    assert names(tmp_path) == sorted(["a.glb", "a.npz", "c.npz", *several])
    np.testing.assert_array_equal(load_motion(tmp_path / "a.npz").transl, load_motion(tmp_path / "c.npz").transl)


def test_without_an_npz_none_is_left(arrays: BodyArrays, tmp_path: Path) -> None:
    write(arrays, tmp_path / "a.jsonl", tmp_path / "a.csv")
    assert names(tmp_path) == ["a.csv", "a.jsonl"]
    assert open_motion(tmp_path / "a.jsonl").people == [0, 2]


def test_all_take_the_frame_of_reference_that_is_asked_for(arrays: BodyArrays, tmp_path: Path) -> None:
    found = {}
    for frame in (None, "camera"):
        path = tmp_path / "a.bvh"
        files = MotionFiles([path], CAMERA, 30.0, "walk.mp4", arrays, frame)
        for sequence in range(3):
            files.write(tilted(result(arrays, sequence, 0)))
        files.close()
        found[frame] = open_motion(path).world_transl
    camera, upright = found["camera"], found[None]
    assert camera is not None
    assert upright is not None
    matrix = np.asarray(tilted(result(arrays, 0, 0)).world.world_from_camera)
    np.testing.assert_allclose((camera * [1, -1, -1]) @ matrix[:3, :3].T + matrix[:3, 3], upright, atol=1e-4)


def test_meshes_look_as_in_the_window(arrays: BodyArrays, tmp_path: Path) -> None:
    contents = {}
    looks: tuple[MeshLook, ...] = ("suit", "clay")
    for look in looks:
        files = MotionFiles([tmp_path / "a.glb"], CAMERA, 30.0, "walk.mp4", arrays, look=look)
        files.write(result(arrays, 0, 0))
        files.close()
        contents[look] = (tmp_path / "a.glb").read_bytes()
    assert b"baseColorTexture" in contents["suit"]
    assert b"baseColorTexture" not in contents["clay"]


def test_a_format_that_fails_costs_no_other(
    arrays: BodyArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from formats import save

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(save, "write_bytes_atomically", full)
    with pytest.raises(UserError, match=r"the motion is in .*\.a\.csv\.motion\.npz"):
        write(arrays, tmp_path / "a.csv")
    assert len(load_motion(tmp_path / ".a.csv.motion.npz").people) == 2


def test_a_fault_in_one_format_costs_no_other(
    arrays: BodyArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from formats import save

    def broken(*_: object) -> bytes:
        raise ZeroDivisionError("a fault of the program")

    monkeypatch.setattr(save, "to_csv", broken)
    with pytest.raises(ZeroDivisionError):
        write(arrays, tmp_path / "a.csv", tmp_path / "a.npz", tmp_path / "a.jsonl")
    assert names(tmp_path) == ["a.jsonl", "a.npz"]


def _npz_is_full_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No motion file can be written in ``folder``; the current one takes it."""
    from realtime.outputs import motion_writer

    write_one = motion_writer.save_motion

    def full(path: Path, arrays: Any) -> None:
        if path.parent == folder:
            raise OSError(28, "No space left on device")
        write_one(path, arrays)

    monkeypatch.setattr(motion_writer, "save_motion", full)
    (folder.parent / "here").mkdir()
    monkeypatch.chdir(folder.parent / "here")


def test_a_full_disk_under_the_npz_costs_no_other_format(
    arrays: BodyArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    _npz_is_full_at(tmp_path / "disk", monkeypatch)
    paths = tmp_path / "disk" / "a.npz", tmp_path / "a.csv"
    files = MotionFiles(paths, CAMERA, 30.0, "walk.mp4", arrays)
    files.write(result(arrays, 0, 0, 2))
    with pytest.raises(UserError, match=r"is full\): the motion is in .*here/a\.npz instead"):
        files.close()
    assert files.unwritten == {paths[0]}
    assert paths[1].exists()
    assert load_motion(tmp_path / "here" / "a.npz").people == [0, 2]


def test_a_stand_in_that_was_written_elsewhere_is_no_loss(
    arrays: BodyArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    _npz_is_full_at(tmp_path / "disk", monkeypatch)
    write(arrays, tmp_path / "disk" / "a.csv")
    assert names(tmp_path / "disk") == ["a.csv"]
    assert names(tmp_path / "here") == []


def test_what_is_kept_elsewhere_can_be_seen(
    arrays: BodyArrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from formats import save

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "disk").mkdir()
    _npz_is_full_at(tmp_path / "disk", monkeypatch)
    monkeypatch.setattr(save, "write_bytes_atomically", full)
    path = tmp_path / "disk" / "a.glb"
    files = MotionFiles([path], CAMERA, 30.0, "walk.mp4", arrays)
    files.write(result(arrays, 0, 0))
    with pytest.raises(UserError, match=r"here/a\.glb\.motion\.npz instead, python -m formats\.convert"):
        files.close()
    assert files.unwritten == {path}
    assert names(tmp_path / "here") == ["a.glb.motion.npz"]


def test_nobody_was_seen(arrays: BodyArrays, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        write(arrays, tmp_path / "a.bvh", tmp_path / "a.npz", people=())
    assert "nobody was seen" in caplog.text
    assert names(tmp_path) == ["a.npz"]


def test_wrong_paths(arrays: BodyArrays, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ending chooses"):
        check_paths([tmp_path / "a.mp4"])
    with pytest.raises(UserError, match="given twice"):
        check_paths([tmp_path / "a.bvh", tmp_path / "a.bvh"])
    with pytest.raises(UserError, match="no folder"):
        MotionFiles([tmp_path / "none" / "a.bvh"], Camera(1, 1, 0, 0), 30.0, "x", arrays)
