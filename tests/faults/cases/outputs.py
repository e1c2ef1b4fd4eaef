"""Recordings that are slow, hang or fail, and disks that get full."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

from tests.faults.cases.case import FILE, FRAMES, LIVE, Skipped, case
from tests.faults.program import must, running


@case("outputs", "nothing goes wrong", "all 40 frames in both files; exit 0")
def _(folder: Path) -> None:
    with running(folder, *FILE, *FRAMES) as run:
        run.end(0, "report: ")
        must(run.saved_frames() == run.recorded_frames() == 40, "frames are missing")
        must(run.report()["saved"] == 40, "the report does not say so")


@case("outputs", "the recorder's writes take 0.3 s each, live", "every result in the motion; N of M said; exit 0")
def _(folder: Path) -> None:
    with running(folder, *LIVE, fault={"model": "record", "kind": "slow", "at": 1}) as run:
        run.end(0, "report: ")
        report = run.report()
        must(run.saved_frames() == report["results"] > report["recorded"] > 0, "results are missing")
        must(f"{report['recorded']} of {report['results']} frames" in run.said, "it is not said")


@case("outputs", "the motion's writes take 0.3 s each, live", "every result in the motion all the same; exit 0")
def _(folder: Path) -> None:
    with running(folder, *LIVE, fault={"model": "save", "kind": "slow", "at": 1, "until": 30}) as run:
        run.end(0, "report: ")
        must(run.saved_frames() == run.report()["results"], "results are missing")


def _output_hangs(name: str, kept: str) -> None:
    @case("outputs", f"--{name} hangs; Ctrl-C twice", f"{kept}; exit 130")
    def _(folder: Path) -> None:
        with running(folder, *FILE, fault={"model": name, "kind": "hang", "at": 15}) as run:
            run.wait_for_line(f"{name} has not answered for 5 s")
            run.send(signal.SIGINT)
            run.wait_for_line("finishing: waiting for")
            run.send(signal.SIGINT)
            run.end(130)
            if name == "save":
                must("tools.rescue" in run.said, "nothing was said of the motion so far")
                run.rescue()
            must(run.saved_frames() >= 10, "frames are missing")
            must(name == "record" or run.recorded_frames() >= 10, "frames are missing")
            run.report()


_output_hangs("record", "the motion whole")
_output_hangs("save", "the video whole, the motion to rescue, which is said")


@case("outputs", "the recorder fails at its 15th frame", "the motion whole; the error on the last line; exit 2")
def _(folder: Path) -> None:
    with running(folder, *FILE, *FRAMES, fault={"model": "record", "kind": "raise", "at": 15}) as run:
        run.end(2, "record fails")
        must(run.saved_frames() == 40, "frames are missing")
        must(run.recorded_frames() == 14, "frames are missing")


def _disk(size: str, folder: Path, inner: Path) -> tuple[str, ...]:
    """Runs what follows with a small disk at ``inner``, whose files are copied to ``folder`` at the end."""
    if os.geteuid() or shutil.which("unshare") is None:
        raise Skipped("needs root, who may mount a small disk")
    inner.mkdir(parents=True)
    mount = f'mount -t tmpfs -o size={size} tmpfs "{inner}" || exit 99'
    script = f'{mount}; "$@"; code=$?; cp -r "{inner}"/. "{folder}"; exit $code'
    return ("unshare", "-m", "sh", "-c", script, "sh")


def _full_disk(kind: str, ending: str, size: str, must_be: str) -> None:
    @case("outputs", f"the disk of --{kind} gets full", must_be)
    def _(folder: Path) -> None:
        inner = folder / "disk"
        rest = " ".join({"save", "record", "report"} - {kind})
        options = ("--frames", "60", f"--{kind}", str(inner / f"full.{ending}"))
        with running(folder, *FILE, *options, outputs=rest, prefix=_disk(size, folder, inner)) as run:
            run.end(2, "is full")
            if kind == "save":
                where = run.last_line.split("the motion is in ")[-1].removesuffix(" instead")
                must(Path(where).is_file(), "the motion is nowhere")
                shutil.move(where, folder / "out.npz")
            must(run.saved_frames() == 60, "frames are missing")
            must(kind == "record" or run.recorded_frames() == 60, "frames are missing")
            must(kind != "report" or not (folder / "full.json").exists(), "half a report")


_full_disk("record", "mp4", "100k", "the motion whole; the reason on the last line; exit 2")
_full_disk("save", "npz", "60k", "the motion whole in the current folder, which the last line says; exit 2")


@case("outputs", "the folder of the outputs is removed meanwhile", "the motion in the current folder; exit 2")
def _(folder: Path) -> None:
    gone = folder / "gone"
    gone.mkdir(parents=True)
    with running(folder, *FILE, "--save", str(gone / "m.npz"), outputs="record report") as run:
        run.wait_for(lambda: any(gone.glob("*.part")), "first result")
        shutil.rmtree(gone)
        run.end(2, "the motion is in")
        where = Path(run.last_line.split("the motion is in ")[-1].removesuffix(" instead"))
        shutil.move(where, folder / "out.npz")
        must(run.saved_frames() == run.report()["results"], "frames are missing")
