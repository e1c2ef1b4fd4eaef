from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from numba.core import config

from common import compiled

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def unchosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(compiled.tempfile, "gettempdir", lambda: str(tmp_path))


def test_where_the_sources_can_be_written_numba_chooses(tmp_path: Path) -> None:
    (tmp_path / "body").mkdir()
    assert compiled.choose_numba_cache(tmp_path) is None
    assert config.CACHE_DIR == ""


def test_a_read_only_installation_uses_the_projects_cache(tmp_path: Path) -> None:
    assert compiled.choose_numba_cache(tmp_path / "nowhere") == tmp_path / "cache" / "motionmesh" / "numba"


def test_without_a_home_it_is_a_private_temporary_folder(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    chosen = compiled.choose_numba_cache(tmp_path / "nowhere")
    assert chosen == tmp_path / f"motionmesh-{os.getuid()}" / "numba"
    assert chosen.parent.stat().st_mode & 0o022 == 0


def test_a_folder_that_others_can_write_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    shared = tmp_path / f"motionmesh-{os.getuid()}" / "numba"
    shared.mkdir(parents=True)
    shared.parent.chmod(0o777)
    chosen = compiled.choose_numba_cache(tmp_path / "nowhere")
    assert chosen is not None
    assert chosen != shared
    shutil.rmtree(chosen)


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="needs root, who can be somebody else")
def test_kernels_load_for_a_user_who_can_write_nothing(tmp_path: Path) -> None:
    code = (
        "import numpy as np; from body.lbs import NumpyBody; from body.model import load_body; NumpyBody(load_body())"
    )
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-c", code]
    if subprocess.run([*command[:4], sys.executable, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip("the interpreter lies where only root can read it")
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={"HOME": "/nonexistent", "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    shutil.rmtree(Path(tempfile.gettempdir()) / "motionmesh-65534", ignore_errors=True)
