"""Homes, folders, options and files that are not as they should be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.faults.cases.case import FILE, Skipped, case
from tests.faults.program import ROOT, must, running


@case("surroundings", "no HOME, no cache folder", "runs; exit 0")
def _(folder: Path) -> None:
    surroundings = dict.fromkeys(("HOME", "XDG_CACHE_HOME", "USER", "LOGNAME"))
    with running(folder, *FILE, "--frames", "10", environment=surroundings) as run:
        run.end(0, "report: ")
        must(run.saved_frames() == 10, "frames are missing")


@case("surroundings", "a user who may write neither the program's folder nor a home", "runs; exit 0")
def _(folder: Path) -> None:
    prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    if os.geteuid() or subprocess.run([*prefix, sys.executable, "-c", ""], capture_output=True, check=False).returncode:
        raise Skipped("needs root, and an interpreter that others may read")
    folder.mkdir(parents=True)
    os.chmod(folder, 0o777)
    with running(folder, *FILE, "--frames", "10", prefix=prefix, environment={"HOME": "/nonexistent"}) as run:
        run.end(0, "report: ")
        must(run.saved_frames() == 10, "frames are missing")


@case("surroundings", "standard error is closed", "both files whole; exit 0")
def _(folder: Path) -> None:
    with running(folder, *FILE, "--frames", "10", stderr_closed=True) as run:
        run.end(0)
        must(run.saved_frames() == run.recorded_frames() == 10, "frames are missing")


@case("surroundings", "standard error is a log on a full disk", "both files whole; exit 0")
def _(folder: Path) -> None:
    with running(folder, *FILE, "--frames", "10", prefix=("sh", "-c", 'exec "$@" 2>/dev/full', "sh")) as run:
        run.end(0)
        must(run.saved_frames() == run.recorded_frames() == 10, "frames are missing")


@case("surroundings", "whoever read standard error has gone", "both files whole; exit 0")
def _(folder: Path) -> None:
    script = '("$@" 2>&1; echo $? >"$0") | head -n 0; exit "$(cat "$0")"'
    folder.mkdir(parents=True)
    with running(folder, *FILE, "--frames", "10", prefix=("sh", "-c", script, str(folder / "code"))) as run:
        run.end(0)
        must(run.saved_frames() == run.recorded_frames() == 10, "frames are missing")


def _cannot_write(kind: str, ending: str) -> None:
    @case("surroundings", f"--{kind} into a folder that nobody can write", "one line before the camera starts; exit 2",
          "--save, --record or --report into a folder that nobody can write")  # fmt: skip
    def _(folder: Path) -> None:
        with running(folder, *FILE, f"--{kind}", f"/proc/x.{ending}", outputs="") as run:
            run.end(2, f"/proc/x.{ending}")
            must(len(run.said.splitlines()) == 1, "more than one line")


for _name, _ending in (("save", "npz"), ("record", "mp4"), ("report", "json")):
    _cannot_write(_name, _ending)


def _wrong(happens: str, says: str, *options: str) -> None:
    @case("surroundings", happens, "one line; exit 2",
          "no source, a mistyped address, no right angle, a text as a video or as a body")  # fmt: skip
    def _(folder: Path) -> None:
        with running(folder, *options, outputs="") as run:
            run.end(2, says)
            must(len(run.said.splitlines()) == 1, "more than one line")


_wrong("--source ''", "--source is empty", "--source", "")
_wrong("an address that is mistyped", "neither a file nor an address", "--source", "rtsp:/bob:HUNTER22@x/live")
_wrong("--rotate 45", "no right angle", *FILE, "--rotate", "45")
_wrong("a text as a video", "README.md", "--source", str(ROOT / "README.md"))
_wrong("a text as a body", "README.md", *FILE, "--body", str(ROOT / "README.md"))
