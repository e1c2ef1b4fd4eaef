from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from common.errors import UserError
from realtime.sources import demo_clip as module
from realtime.sources import open_source
from realtime.sources.demo_clip import fetch_demo_clip
from tests.conftest import Remarks
from tests.realtime.clips import write_video


class Pip:
    """Stands in for subprocess.run: brings a wheel with ``clip`` in it, or fails with ``error``."""

    def __init__(self, clip: bytes) -> None:
        self.clip = clip
        self.error: str | None = None
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        if self.error is not None:
            return subprocess.CompletedProcess(command, 1, "", f"WARNING: retrying\nERROR: {self.error}\n")
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / "sports2d-0.8.34-py3-none-any.whl", "w") as wheel:
            wheel.writestr(module.MEMBER, self.clip)
            wheel.writestr("sports2d/__init__.py", "raise SystemExit")
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pip:
    clip = write_video(tmp_path / "made.mp4", 3).read_bytes()
    pip = Pip(clip)
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(clip).hexdigest())
    monkeypatch.setattr(module, "FALLBACK", tmp_path / "synthetic.mp4")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return pip


def test_it_is_fetched_once(pip: Pip, tmp_path: Path, remarks: Remarks) -> None:
    path = fetch_demo_clip()
    assert path.read_bytes() == pip.clip
    assert path.parent == tmp_path / "cache" / "motionmesh"
    assert fetch_demo_clip() == path
    assert len(pip.commands) == 1
    assert pip.commands[0][:4] == [sys.executable, "-m", "pip", "download"]
    assert pip.commands[0][-1] == "sports2d==0.8.34"
    assert not remarks
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_damaged_copy_is_fetched_anew(pip: Pip) -> None:
    path = fetch_demo_clip()
    path.write_bytes(b"half")
    assert fetch_demo_clip().read_bytes() == pip.clip
    assert len(pip.commands) == 2


@pytest.mark.parametrize("failure", ["offline", "checksum"])
def test_the_synthetic_clip_stands_in(pip: Pip, failure: str, tmp_path: Path, remarks: Remarks) -> None:
    write_video(tmp_path / "synthetic.mp4", 4)
    if failure == "offline":
        pip.error = "No matching distribution found for sports2d==0.8.34"
    else:
        pip.clip = b"something else"
    with open_source("demo") as source:
        assert source.frame_count == 4
        assert len(remarks) == 1
        assert "a synthetic walk is shown instead" in remarks[0]
        assert ("No matching distribution" if failure == "offline" else "checksum") in remarks[0]
    assert not list((tmp_path / "cache" / "motionmesh").iterdir())


def test_without_either(pip: Pip) -> None:
    pip.error = "offline"
    with pytest.raises(UserError, match=r"cannot be fetched \(offline\).*--source"):
        fetch_demo_clip()


def test_a_cache_that_cannot_be_written(pip: Pip, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    with pytest.raises(UserError, match="demo clip cannot be fetched"):
        fetch_demo_clip()
