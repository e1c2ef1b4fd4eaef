"""Recording headless: the script that systemd and Docker start, its unit and the images."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from realtime.options import Options
from realtime.sources import open_source

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
SCRIPT = DOCKER / "record.sh"
CLIP = ROOT / "assets" / "synthetic_walk.mp4"


def started(folder: Path, *arguments: str, **variables: str) -> list[str]:
    """What `record.sh` starts the program with."""
    program = folder / "program"
    program.write_text('#!/bin/sh\nfor word in "$@"; do echo "$word"; done\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "MOTIONMESH_PROGRAM": str(program),
        "MOTIONMESH_RECORDINGS": str(folder / "out"),
        **variables,
    }
    done = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.splitlines()


def test_a_recording_is_named_by_the_time(tmp_path: Path) -> None:
    words = started(
        tmp_path, MOTIONMESH_SOURCE="csi:0", MOTIONMESH_MINUTES="5", MOTIONMESH_OPTIONS="--persons 2 --quiet"
    )
    video, motion = (Path(words[words.index(option) + 1]) for option in ("--record", "--save"))
    assert re.fullmatch(r"\d{8}T\d{6}Z\.mp4", video.name)
    assert (video.parent, motion) == (tmp_path / "out", video.with_suffix(".npz"))
    assert words[words.index("--source") + 1] == "csi:0"
    assert words[words.index("--duration") + 1] == "300"
    assert words[-3:] == ["--persons", "2", "--quiet"]


def test_a_second_start_within_a_second_overwrites_nothing(tmp_path: Path) -> None:
    names = set()
    for _ in range(4):
        words = started(tmp_path)
        names.add(words[words.index("--record") + 1])
        Path(words[words.index("--record") + 1]).touch()
    assert len(names) == 4


def test_every_option_of_the_script_is_one_of_the_program(tmp_path: Path) -> None:
    known = {f"--{name.replace('_', '-')}" for name in Options.__dataclass_fields__}
    assert {word for word in started(tmp_path) if word.startswith("--")} <= known


@pytest.mark.timeout(300)
def test_a_stop_finishes_the_files(tmp_path: Path) -> None:
    program = tmp_path / "motionmesh"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/run_camera.py" "$@"\n')
    program.chmod(0o755)
    environment = {
        **os.environ,
        "MOTIONMESH_PROGRAM": str(program),
        "MOTIONMESH_RECORDINGS": str(tmp_path / "out"),
        "MOTIONMESH_SOURCE": str(CLIP),
        "MOTIONMESH_OPTIONS": "--live --engine onnxruntime --encoder x264",
    }
    process = subprocess.Popen([SCRIPT], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 200
        while not any((tmp_path / "out").glob("*.mp4")):  # the first frame has come
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)  # to the one process there is: the script has become the program
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == int(unit()["SuccessExitStatus"]), said
    (video,) = (tmp_path / "out").glob("*.mp4")
    with np.load(video.with_suffix(".npz"), allow_pickle=False) as motion, open_source(str(video)) as source:
        buffer = source.new_buffer()
        assert sum(1 for _ in iter(lambda: source.read_into(buffer), None)) >= 1
        assert len(motion["frame"]) >= 1


def unit() -> dict[str, str]:
    """The unit's settings, the last of each name."""
    lines = (DOCKER / "motionmesh.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def test_the_unit_starts_again_and_stops_cleanly() -> None:
    settings = unit()
    assert (settings["Restart"], settings["WantedBy"]) == ("always", "multi-user.target")
    assert settings["StartLimitIntervalSec"] == "0", "it never gives up"
    assert settings["KillMode"] == "mixed", "children are ended by the program"
    assert settings["ExecStart"] == "/opt/motionmesh/docker/record.sh"
    assert "PrivateTmp" not in settings, "the CSI camera's daemon listens in /tmp"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    copy = tmp_path / "motionmesh.service"
    text = (DOCKER / "motionmesh.service").read_text()
    copy.write_text(text.replace("/opt/motionmesh/docker/record.sh", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "motionmesh" not in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck() -> None:
    subprocess.run(["shellcheck", SCRIPT], check=True)


@pytest.mark.parametrize("name", ["desktop", "l4t"])
def test_engines_and_their_key_outlive_the_container(name: str) -> None:
    """Both are in the one volume: an engine that this machine's key has not signed is built anew."""
    text = (DOCKER / f"Dockerfile.{name}").read_text()
    assert "XDG_CACHE_HOME=/cache" in text
    assert "MOTIONMESH_ENGINES" not in text
    (made,) = re.findall(r"install -d -o motionmesh -g motionmesh (.*)", text)
    (volumes,) = re.findall(r"VOLUME (.*)", text)
    assert made.split() == json.loads(volumes) == ["/recordings", "/cache"], "the user's own, as the volumes begin"


def test_docker_makes_no_folder_that_the_container_cannot_write() -> None:
    """A missing folder of the host would become root's."""
    text = (DOCKER / "compose.yaml").read_text()
    assert text.count("type: bind") == text.count("create_host_path: false") == 2, "recordings and the camera's socket"
    assert not re.search(r"^ *- \./", text, re.MULTILINE)
    assert text.count("- cache:/cache") == 2, "the desktop's and the Jetson's"
    assert text.endswith("\nvolumes:\n  cache:\n")
    user = re.search(r"useradd --uid (\d+)", (DOCKER / "Dockerfile.desktop").read_text())
    assert user is not None
    owned = f"sudo install -d -o {user[1]} -g {user[1]} docker/recordings"
    assert owned in (ROOT / "docs" / "headless.md").read_text()


@pytest.mark.parametrize("name", ["desktop", "l4t"])
def test_images_hold_what_they_copy_and_run(name: str) -> None:
    text = (DOCKER / f"Dockerfile.{name}").read_text()
    assert 'ENTRYPOINT ["/opt/motionmesh/docker/record.sh"]' in text
    assert os.access(SCRIPT, os.X_OK)
    assert f"docker/Dockerfile.{name}" in (DOCKER / "compose.yaml").read_text()
    extra = re.search(r"-e '\.\[([a-z-]+)\]'", text)
    assert extra is not None
    assert f"\n{extra[1]} = [" in (ROOT / "pyproject.toml").read_text(), "the extra exists"
    hadolint = Path(sys.executable).with_name("hadolint")
    if hadolint.exists():
        subprocess.run([hadolint, DOCKER / f"Dockerfile.{name}"], check=True)
