"""Nothing leaves the machine, and nothing is kept on it but in the project's own folders."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import no_network

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "assets" / "synthetic_walk.mp4"

pytestmark = pytest.mark.skipif(not no_network.supported(), reason="needs Linux's seccomp")


def run_without_internet(home: Path, *command: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a Python program to which an internet socket is deadly, with empty folders of its own."""
    places = {
        "HOME": "",
        "XDG_CACHE_HOME": "cache",
        "XDG_CONFIG_HOME": "config",
        "XDG_DATA_HOME": "data",
        "TMPDIR": "tmp",
    }
    hidden = {"DISPLAY", "WAYLAND_DISPLAY", "ORT_DISABLE_TELEMETRY", *places}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    for name, folder in places.items():
        (home / folder).mkdir(exist_ok=True, parents=True)
        environment[name] = str(home / folder)
    done = [*prefix, sys.executable, "-B", str(ROOT / "tests" / "no_network.py"), *command]
    return subprocess.run(done, capture_output=True, text=True, cwd=home, env=environment, timeout=110, check=False)


def what_is_kept(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


def test_the_guard_kills_who_opens_an_internet_socket(tmp_path: Path) -> None:
    for family, code in (("AF_INET", -signal.SIGSYS), ("AF_INET6", -signal.SIGSYS), ("AF_UNIX", 0)):
        program = tmp_path / "program.py"
        program.write_text(f"import socket; socket.socket(socket.{family})")
        assert run_without_internet(tmp_path, str(program)).returncode == code, family


@pytest.mark.parametrize("engine", ["auto", "onnxruntime"])
def test_a_run_opens_no_socket_and_leaves_no_file(tmp_path: Path, engine: str) -> None:
    arguments = ("--source", str(CLIP), "--view", "none", "--engine", engine, "--frames", "40", "--save", "out.npz")
    done = run_without_internet(tmp_path, str(ROOT / "run_camera.py"), *arguments)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert "40 frames" in done.stderr
    kept = {name for name in what_is_kept(tmp_path) if not name.startswith("cache/motionmesh/")}
    assert kept == {"out.npz"}


def test_a_run_in_a_network_namespace_without_routes(tmp_path: Path) -> None:
    unshare = shutil.which("unshare")
    prefix = (str(unshare), "-n") if os.geteuid() == 0 else (str(unshare), "-rn")
    if unshare is None or subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces are not allowed here")
    arguments = ("--source", str(CLIP), "--view", "none", "--frames", "5")
    done = run_without_internet(tmp_path, str(ROOT / "run_camera.py"), *arguments, prefix=prefix)
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert "5 frames" in done.stderr
