"""Files are whole or as they were, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import UserError
from common.files import cache_folder, check_writable, reason_of, write_atomically, write_bytes_atomically

on_posix = pytest.mark.skipif(os.name != "posix", reason="permissions and signals are POSIX's")


@given(old=st.binary(max_size=100), new=st.binary(max_size=100))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes) -> None:
    path = tmp_path_factory.mktemp("files") / "file.bin"
    for data in (old, new):
        write_bytes_atomically(path, data)
        assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(error), write_atomically(path) as file:
        file.write(b"half of the new")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_no_new_file(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), write_atomically(tmp_path / "file.bin") as file:
        file.write(b"half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@on_posix
def test_a_killed_process_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    program = (
        "import os, signal, sys; from pathlib import Path; from common.files import write_atomically\n"
        "with write_atomically(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half of the new'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run([sys.executable, "-c", program, str(path)], cwd=root, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_a_failed_replacement_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def full(*_names: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="full"):
        write_bytes_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@on_posix
@pytest.mark.parametrize("mode", [0o644, 0o600, 0o755])
def test_permissions_are_those_asked_for(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file.bin"
    write_bytes_atomically(path, b"data", mode)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        write_bytes_atomically(tmp_path / "nowhere" / "file.bin", b"data")


@pytest.mark.skipif(sys.platform != "linux", reason="XDG folders are Linux's")
def test_the_cache_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache" / "motionmesh"
    assert not cache_folder().exists()
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "motionmesh"


def test_checking_leaves_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    check_writable(path)
    assert not path.exists()
    path.write_bytes(b"old")
    check_writable(path)
    assert path.read_bytes() == b"old"


def test_checking_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give the name of a file"):
        check_writable(tmp_path)
    with pytest.raises(UserError, match="create it first"):
        check_writable(tmp_path / "nowhere" / "file.bin")
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(UserError, match="cannot write"):
            check_writable(tmp_path / name)


def test_nobody_is_waited_for_at_the_other_end_of_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is a pipe"):
        check_writable(tmp_path / "pipe")


def test_a_name_of_the_greatest_length_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("é" * 125 + ".json")
    check_writable(path)
    write_bytes_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"


def test_the_reason_of_a_full_disk(tmp_path: Path) -> None:
    reason = reason_of(OSError(errno.ENOSPC, "No space left on device"), tmp_path / "out.mp4")
    assert reason == f"the disk of {tmp_path} is full"


def test_reasons_are_in_words(tmp_path: Path) -> None:
    assert reason_of(OSError(errno.EACCES, ""), tmp_path / "a") == os.strerror(errno.EACCES)
    assert reason_of(RuntimeError("encoder stopped"), tmp_path / "a") == "encoder stopped"


def test_a_link_stays_one_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link, target = tmp_path / "latest.npz", tmp_path / "disk" / "today.npz"
    link.symlink_to("disk/today.npz")
    check_writable(link)
    assert link.is_symlink()
    assert not target.exists()
    write_bytes_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["today.npz"]


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_a_device_is_never_replaced_by_a_file(tmp_path: Path, device: str) -> None:
    link = tmp_path / "out.npz"
    link.symlink_to(device)
    with pytest.raises(UserError, match="is a device"):
        check_writable(link)


def test_links_that_lead_to_one_another_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").symlink_to("b.npz")
    (tmp_path / "b.npz").symlink_to("a.npz")
    with pytest.raises(UserError, match="cannot write"):
        check_writable(tmp_path / "a.npz")
