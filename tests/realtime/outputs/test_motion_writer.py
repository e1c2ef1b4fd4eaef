from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from body.rotations import axis_angle_to_matrix
from common.errors import UserError
from formats.motion import Motion, load_motion
from realtime.outputs import journal as journals
from realtime.outputs import motion_writer
from realtime.outputs.journal import Journal, read_journal
from realtime.outputs.motion_files import check_paths
from realtime.outputs.motion_writer import MotionWriter
from realtime.records import Frame, Result, WorldFrame
from tests.conftest import Remarks
from tests.realtime.fakes import CAMERA, FakeRegressor, keypoints_of

ROOT = Path(__file__).parents[3]


def result(sequence: int, people: int = 1) -> Result:
    frame = Frame(sequence, 0, sequence / 30, np.zeros((4, 4, 3), np.uint8))
    bodies = tuple(FakeRegressor()(keypoints_of(frame, person), CAMERA, frame.time_s) for person in range(people))
    return Result(frame, CAMERA, bodies, 0)


def writer(path: Path) -> MotionWriter:
    return MotionWriter(path, CAMERA, 25.0, "walk.mp4", "0" * 64)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion_writer, "FLUSH_S", -1.0)


def kill(out: MotionWriter) -> None:
    """Let go of what a process that ends lets go of."""
    assert out._journal is not None
    out._journal._claim.close()


def rescue(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.rescue", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)


def test_what_is_written_as_it_goes_can_be_rescued(tmp_path: Path) -> None:
    out = writer(tmp_path / "m.npz")
    for sequence in range(300):
        out.write(result(sequence, people=sequence % 3))
    assert not (tmp_path / "m.npz").exists()
    unfinished = tmp_path / "m.npz.part"
    done = rescue(unfinished)
    assert (done.returncode, done.stderr) == (0, "")
    assert "300 frames" in done.stdout
    rescued = load_motion(tmp_path / "m.npz")
    (tmp_path / "m.npz").unlink()
    out.fps = 30.0
    out.close()
    closed = load_motion(tmp_path / "m.npz")
    assert not unfinished.exists()
    for name in ("frame", "time_s", "person", "joints_m", "camera_matrix", "transl"):
        np.testing.assert_array_equal(getattr(rescued, name), getattr(closed, name))
    assert (rescued.source, rescued.fps, closed.fps) == ("walk.mp4", 25.0, 30.0)
    assert out.frames == 300


def test_a_second_run_leaves_what_the_first_one_left(tmp_path: Path, remarks: Remarks) -> None:
    killed = writer(tmp_path / "m.npz")
    killed.write(result(7))
    kill(killed)
    with writer(tmp_path / "m.npz") as out:
        out.write(result(8))
        assert (tmp_path / "m-2.npz.part").exists()
    assert "tools.rescue" in remarks[0]
    assert list(load_motion(tmp_path / "m.npz").frame) == [8]
    assert "exists: name another output" in rescue(tmp_path / "m.npz.part").stderr
    assert rescue(tmp_path / "m.npz.part", tmp_path / "old.npz").returncode == 0
    assert list(load_motion(tmp_path / "old.npz").frame) == [7]


@pytest.mark.parametrize("stem", ["m" * 247, "m" * 251, "m" * 246 + "é", "é" * 125, "\udce9"])
def test_the_longest_names_are_written_as_they_go_too(tmp_path: Path, remarks: Remarks, stem: str) -> None:
    left = writer(tmp_path / f"{stem}.npz")
    left.write(result(7))
    kill(left)
    with writer(tmp_path / f"{stem}.npz") as out:
        out.write(result(8))
        unfinished = sorted(tmp_path.glob("*.npz.part"))
        assert len(unfinished) == 2
        assert all(path.name[0] == stem[0] for path in unfinished)
        assert len(remarks) == 1
        assert "is left of a run" in remarks[0]
    assert list(load_motion(tmp_path / f"{stem}.npz").frame) == [8]
    assert rescue(next(tmp_path.glob("*.npz.part")), tmp_path / "old.npz").returncode == 0
    assert list(load_motion(tmp_path / "old.npz").frame) == [7]


def test_rows_reach_the_disk_within_half_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where no later row follows, as when a camera is away for an hour."""
    monkeypatch.setattr(motion_writer, "FLUSH_S", 0.1)
    with writer(tmp_path / "m.npz") as out:
        for first in (0, 3):
            for sequence in range(first, first + 3):
                out.write(result(sequence))
            deadline = time.monotonic() + 20
            while len(read_journal(tmp_path / "m.npz.part")[0]) < first + 3:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    assert list(load_motion(tmp_path / "m.npz").frame) == list(range(6))


def test_another_run_with_the_same_name_is_refused_while_one_writes(tmp_path: Path, remarks: Remarks) -> None:
    with writer(tmp_path / "m.npz") as out:
        out.write(result(0))
        with pytest.raises(UserError, match=r"another run writes .*m\.npz\.part: give another name"):
            writer(tmp_path / "m.npz")
    assert list(load_motion(tmp_path / "m.npz").frame) == [0]
    writer(tmp_path / "m.npz").close()


def test_of_two_runs_that_begin_together_none_is_lost(tmp_path: Path, remarks: Remarks) -> None:
    first, second = writer(tmp_path / "m.npz"), writer(tmp_path / "m.npz")
    first.write(result(1))
    second.write(result(2))
    first.close()
    with pytest.raises(UserError, match=r"written by another program meanwhile: the motion is in .*m-2\.npz instead"):
        second.close()
    assert [list(load_motion(tmp_path / name).frame) for name in ("m.npz", "m-2.npz")] == [[1], [2]]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m-2.npz", "m.npz"]
    assert not remarks


def full(*arguments: object, **more: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_gets_full_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, remarks: Remarks) -> None:
    out = writer(tmp_path / "m.npz")
    out.write(result(0))
    with monkeypatch.context() as patched:
        patched.setattr(journals.os, "fsync", full)
        for sequence in range(1, 600):
            out.write(result(sequence))
    out.close()
    assert list(load_motion(tmp_path / "m.npz").frame) == list(range(600))
    assert ["stays in memory" in line for line in remarks] == [True]


def test_where_the_file_cannot_be_written_it_lies_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, here = tmp_path / "full", tmp_path / "here"
    target.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    out = writer(target / "m.npz")
    out.write(result(3))
    real = motion_writer.save_motion

    def save(path: Path, arrays: object) -> None:
        full() if path.parent == target else real(path, arrays)  # type: ignore[arg-type]

    monkeypatch.setattr(motion_writer, "save_motion", save)
    with pytest.raises(UserError, match=r"is full\): the motion is in .*here/m\.npz instead"):
        out.close()
    assert list(load_motion(here / "m.npz").frame) == [3]


def test_a_current_folder_that_is_gone_costs_no_motion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("here", "spare"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(motion_writer.tempfile, "gettempdir", lambda: str(tmp_path / "spare"))
    out = writer(Path("m.npz"))
    out.write(result(3))
    shutil.rmtree(tmp_path / "here")
    with pytest.raises(UserError, match=r"the motion is in .*spare/m\.npz instead"):
        out.close()
    assert list(load_motion(tmp_path / "spare" / "m.npz").frame) == [3]
    with pytest.raises(UserError, match="the current folder is gone"):
        check_paths([Path("m.npz")])


def test_where_nothing_can_be_written_the_journal_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = writer(tmp_path / "m.npz")
    out.write(result(3))
    monkeypatch.setattr(motion_writer, "save_motion", full)
    with pytest.raises(UserError, match=r"free space, then python -m tools\.rescue .*m\.npz\.part"):
        out.close()
    assert len(read_journal(tmp_path / "m.npz.part")[0]) == 1


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("journal") / "m.part"
    rows = np.zeros(5, journals.RESULT_ROW)
    rows["frame"] = np.arange(5)
    journal = Journal(path, {"fps": np.float64(30)})
    for row in range(5):
        journal.append(rows[row : row + 1])
    journal.close()
    return path.read_bytes()


@given(st.data())
def test_a_journal_cut_anywhere_gives_what_is_whole(
    whole: bytes, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    length = data.draw(st.integers(0, len(whole)))
    path = tmp_path_factory.mktemp("cut") / "m.part"
    path.write_bytes(whole[:length] + data.draw(st.sampled_from([b"", bytes(5000), b"\xff" * 5000])))
    try:
        rows, _ = read_journal(path)
    except UserError:
        assert length < 60
        return
    chunk = (len(whole) - length) // (journals.RESULT_ROW.itemsize + 8)
    assert list(rows["frame"]) == list(range(len(rows)))
    assert len(rows) >= 5 - chunk - 1


@given(st.binary(max_size=300))
def test_foreign_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("foreign") / "m.part"
    for head in (b"", journals.MAGIC):
        path.write_bytes(head + content)
        with pytest.raises(UserError):
            read_journal(path)
            raise UserError("an empty journal")


def test_rescue_says_what_it_cannot_do(tmp_path: Path) -> None:
    (tmp_path / "x.npz.part").write_bytes(b"no")
    for arguments, says in (
        ((tmp_path / "x.npz.part",), "is no unfinished motion"),
        ((tmp_path / "none.npz.part",), "No such file"),
        ((tmp_path / "x",), "does not end in .npz"),
    ):
        done = rescue(*arguments)
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1
        assert says in done.stderr


def test_a_folder_that_is_removed_meanwhile_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, here = tmp_path / "gone", tmp_path / "here"
    gone.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    out = writer(gone / "m.npz")
    for sequence in range(20):
        out.write(result(sequence))
    shutil.rmtree(gone)
    out.write(result(20))
    with pytest.raises(UserError, match="instead"):
        out.close()
    assert list(load_motion(here / "m.npz").frame) == list(range(21))


def worlds(sequence: int, turned: bool = False, shot: int = 0) -> WorldFrame:
    """A camera that looks down by less and less."""
    pitch = 0.3 + 0.4 / (1 + sequence)
    matrix = np.diag([1.0, -1.0, -1.0, 1.0])
    down = np.array([[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]])
    matrix[:3, :3] = matrix[:3, :3] @ down
    matrix[:3, 3] = 0, 1.5 + pitch, 3
    return WorldFrame(matrix.astype(np.float32), 0.1 * pitch, np.inf if sequence < 3 else 0.02, shot, turned)


def written(path: Path, given: list[WorldFrame | None], people: int = 1) -> Motion:
    with writer(path) as out:
        for sequence, world in enumerate(given):
            out.write(replace(result(sequence, people), world=world))
    return load_motion(path)


def test_a_still_camera_has_the_last_world_in_every_row(tmp_path: Path) -> None:
    given = [None, *(worlds(sequence) for sequence in range(1, 20))]
    motion = written(tmp_path / "m.npz", given, people=2)
    assert (motion.version, len(motion.frame)) == (2, 40)
    last = worlds(19)
    assert motion.world_from_camera is not None
    assert motion.world_joints_m is not None
    assert motion.world_transl is not None
    assert motion.world_global_orient is not None
    known = motion.frame > 0
    assert (motion.world_from_camera[known] == last.world_from_camera).all()
    for name in ("transl", "joints_m"):
        moved = getattr(motion, name)[known] @ last.world_from_camera[:3, :3].T + last.world_from_camera[:3, 3]
        np.testing.assert_allclose(getattr(motion, f"world_{name}")[known], moved, atol=1e-5)
    turned = axis_angle_to_matrix(motion.world_global_orient[-1])
    np.testing.assert_allclose(turned, last.world_from_camera[:3, :3], atol=1e-5)
    assert motion.up is not None
    np.testing.assert_allclose(motion.up[known], np.tile(last.world_from_camera[1, :3], (38, 1)), atol=1e-6)
    assert motion.up_sigma_deg is not None
    np.testing.assert_allclose(motion.up_sigma_deg[known], np.degrees(last.up_sigma), rtol=1e-5)
    assert motion.floor_sigma_m is not None
    np.testing.assert_allclose(motion.floor_sigma_m[known], 0.02)


def test_a_still_camera_whose_floor_was_still_moving_has_the_world_that_it_moved_to(tmp_path: Path) -> None:
    moving = replace(worlds(3), settled=worlds(19).world_from_camera)
    motion = written(tmp_path / "m.npz", [worlds(2), moving])
    assert motion.world_from_camera is not None
    assert (motion.world_from_camera == worlds(19).world_from_camera).all()
    assert motion.up is not None
    assert (motion.up == worlds(19).world_from_camera[1, :3]).all()
    turning = written(tmp_path / "turned.npz", [worlds(2), replace(moving, camera_turned=True)])
    assert turning.world_from_camera is not None
    assert (turning.world_from_camera[1] == moving.world_from_camera).all()


def test_a_camera_that_turned_keeps_the_world_of_each_frame_and_so_does_each_shot(tmp_path: Path) -> None:
    given = [worlds(sequence, turned=sequence > 4) for sequence in range(10)]
    motion = written(tmp_path / "m.npz", [*given, *(worlds(sequence, shot=1) for sequence in range(10))])
    assert motion.world_from_camera is not None
    for sequence, world in enumerate(given):
        np.testing.assert_array_equal(motion.world_from_camera[sequence], world.world_from_camera)
    assert (motion.world_from_camera[10:] == worlds(9).world_from_camera).all()


def test_a_motion_without_a_world_has_no_arrays_of_one(tmp_path: Path) -> None:
    motion = written(tmp_path / "m.npz", [None, None])
    assert not motion.has_world
    assert motion.up is None
    assert motion.contact is None


def test_what_is_rescued_has_the_last_world_too(tmp_path: Path) -> None:
    out = writer(tmp_path / "m.npz")
    for sequence in range(12):
        out.write(replace(result(sequence), world=worlds(sequence)))
    kill(out)
    assert rescue(tmp_path / "m.npz.part").returncode == 0
    rescued = load_motion(tmp_path / "m.npz").world_from_camera
    assert rescued is not None
    assert (rescued == worlds(11).world_from_camera).all()
