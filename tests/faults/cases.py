"""What goes wrong, and what must be on the disk and on the last line afterwards. Each case is a function of a new folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.faults.program import CLIP, ROOT, Run, must, running
from tests.faults.servers import Camera, TransportStream, camera, free_port


class Skipped(Exception):
    """The case cannot be tried here, and why."""


@dataclass(frozen=True, slots=True)
class Case:
    """``happens`` and ``must_be`` are columns of the table in docs/reliability.md."""

    group: str
    happens: str
    must_be: str
    check: Callable[[Path], None]


CASES: list[Case] = []
FILE = ("--source", str(CLIP))
LIVE = (*FILE, "--live")
FRAMES = ("--frames", "40")


def case(group: str, happens: str, must_be: str) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Register a case."""

    def register(check: Callable[[Path], None]) -> Callable[[Path], None]:
        CASES.append(Case(group, happens, must_be, check))
        return check

    return register


@case("nothing", "a video is processed", "all 40 frames in both files; exit 0")
def _(folder: Path) -> None:
    with running(folder, *FILE, *FRAMES) as run:
        run.end(0, "report: ")
        must(run.saved_frames() == run.recorded_frames() == 40, "frames are missing")
        must(run.report()["saved"] == 40, "the report does not say so")


# Stages


def _stage_raises(name: str, model: str, kind: str) -> None:
    line = "as it was told"
    code = 2 if kind == "raise" else 1

    @case("stages", f"{name} {'fails' if kind == 'raise' else 'has a bug'} at its 15th run",
          f"both files with what was done; one line; exit {code}")  # fmt: skip
    def _(folder: Path) -> None:
        with running(folder, *FILE, *FRAMES, fault={"model": model, "kind": kind, "at": 15}) as run:
            run.end(code, line)
            must(run.saved_frames() >= 10, "frames are missing")
            must(run.recorded_frames() >= 10, "frames are missing")
            run.report()


def _network_lies(name: str, model: str, kind: str) -> None:
    @case("stages", f"{name} answers {'NaN' if kind == 'nan' else '1e30'} at its runs 15 to 17",
          "all frames saved, finite, the person found again; counted and said once; exit 0")  # fmt: skip
    def _(folder: Path) -> None:
        with running(folder, *FILE, *FRAMES, fault={"model": model, "kind": kind, "at": 15, "until": 17}) as run:
            run.end(0, "report: ")
            must(run.saved_frames() == run.recorded_frames() == 40, "frames are missing")
            must(run.report()["bad_answers"] == 3, "bad answers are not counted")
            must(run.report()["meshes"] >= 33, "the person was not found again")
            must(run.said.count("numbers that cannot be") == 1, "it was not said once")


def _stage_hangs(name: str, model: str) -> None:
    @case("stages", f"{name} never answers; Ctrl-C twice",
          "named after 5 s; both files with what was done; exit 130")  # fmt: skip
    def _(folder: Path) -> None:
        with running(folder, *FILE, fault={"model": model, "kind": "hang", "at": 15}) as run:
            run.wait_for_line("has not answered for 5 s")
            run.send(signal.SIGINT)
            run.wait_for_line("finishing: waiting for")
            run.send(signal.SIGINT)
            run.end(130)
            must(run.saved_frames() >= 10, "frames are missing")
            must(run.recorded_frames() >= 10, "frames are missing")
            run.report()


def _stage_is_slow(name: str, model: str) -> None:
    @case("stages", f"{name} takes 0.3 to 0.5 s each time, live", "every result saved, said as N of M; exit 0")
    def _(folder: Path) -> None:
        fault: dict[str, object] = {"model": model, "kind": "slow", "at": 5, "until": 12}
        with running(folder, *LIVE, fault=fault) as run:
            run.end(0, "report: ")
            report = run.report()
            must(run.saved_frames() == report["saved"] == report["results"], "results are missing")
            must(run.recorded_frames() >= report["recorded"] > 0, "frames are missing")


_STAGES = (("keypoints", "lightning"), ("regressor", "motion"), ("flow", "flow"))
for _name, _model in (*_STAGES, ("capture", "capture")):
    for _kind in ("raise", "crash"):
        _stage_raises(_name, _model, _kind)
for _name, _model in _STAGES[:2]:
    for _kind in ("nan", "huge"):
        _network_lies(_name, _model, _kind)
for _name, _model in _STAGES:
    _stage_hangs(_name, _model)
    _stage_is_slow(_name, _model)


# Sinks


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
                run.rescue()
            must(run.saved_frames() >= 10, "frames are missing")
            must(name == "record" or run.recorded_frames() >= 10, "frames are missing")
            run.report()


_output_hangs("record", "the motion whole")
_output_hangs("save", "the video whole, the motion to rescue")


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


# Signals


def _interrupted(after_s: float) -> None:
    @case(
        "signals",
        f"Ctrl-C {after_s:.2f} s after the program's first line",
        "one line, no traceback; files whole if begun; exit 130",
    )
    def _(folder: Path) -> None:
        with running(folder, *LIVE) as run:
            run.wait_for_first_line()
            time.sleep(after_s)
            run.send(signal.SIGINT)
            run.end(130 if run.process.poll() is None or run.process.returncode else 0)
            must("stopped" in run.said or run.process.returncode == 0, "nothing was said")
            for name, look in (("out.npz", run.saved_frames), ("out.mp4", run.recorded_frames)):
                must(not (folder / name).exists() or look() > 0, f"{name} is empty")
            must(not any(folder.glob("*.part")), "a journal is left")


for _place in range(20):
    _interrupted(_place * 0.25)


def _ended_by(name: str) -> None:
    @case("signals", f"{name} while recording", "both files and the report whole; exit 130")
    def _(folder: Path) -> None:
        with running(folder, *LIVE) as run:
            run.wait_for_rows()
            run.send(getattr(signal, name))
            run.end(130, "report: " if name != "SIGHUP" else "")
            must(run.saved_frames() > 0 and run.recorded_frames() > 0, "frames are missing")
            run.report()


for _name in ("SIGINT", "SIGTERM", "SIGHUP"):
    _ended_by(_name)


@case("signals", "SIGKILL while recording", "all but the last second to rescue; the video plays")
def _(folder: Path) -> None:
    with running(folder, *LIVE) as run:
        run.wait_for_rows()
        time.sleep(2)
        run.send(signal.SIGKILL)
        run.end(-signal.SIGKILL)
        run.rescue()
        must(run.saved_frames() > 0, "frames are missing")


@case("signals", "SIGSTOP for 3 s, then SIGCONT", "goes on; both files whole; exit 0")
def _(folder: Path) -> None:
    with running(folder, *LIVE) as run:
        run.wait_for_rows()
        run.send(signal.SIGSTOP)
        time.sleep(3)
        run.send(signal.SIGCONT)
        run.end(0, "report: ")
        must(run.saved_frames() == run.report()["results"] > 0, "frames are missing")


@case("signals", "Ctrl-C ten times in a second", "files whole; exit 130")
def _(folder: Path) -> None:
    with running(folder, *LIVE) as run:
        run.wait_for_rows()
        for _ in range(10):
            run.send(signal.SIGINT)
            time.sleep(0.1)
        run.end(130)
        must(run.saved_frames() > 0, "frames are missing")


# Streams


def _stream(
    happens: str,
    must_be: str,
    act: Callable[[Camera], None],
    *options: str,
    code: int = 130,
    line: str = "",
    says: str = "",
) -> None:
    """Results, then ``act``, then (exit 130) Ctrl-C after more results."""

    @case("streams", happens, must_be)
    def _(folder: Path) -> None:
        with camera() as server, running(folder, "--source", server.url, *options) as run:
            run.wait_for_rows()
            act(server)
            if says:
                run.wait_for_line(says)
            if code == 130:
                before = (folder / "out.npz.part").stat().st_size
                run.wait_for(lambda: (folder / "out.npz.part").stat().st_size > before + 2000, "more results")
                run.send(signal.SIGINT)
            run.end(code, line)
            must(run.saved_frames() == run.report()["results"], "results are missing")
            must(run.recorded_frames() > 0, "frames are missing")


def _back_after(seconds: float) -> Callable[[Camera], None]:
    def act(server: Camera) -> None:
        server.breaks = True
        time.sleep(seconds)
        server.breaks = False

    return act


def _for_a_while(name: str, seconds: float) -> Callable[[Camera], None]:
    def act(server: Camera) -> None:
        setattr(server, name, True)
        time.sleep(seconds)
        setattr(server, name, False)

    return act


_stream("an MJPEG stream, then Ctrl-C", "every result saved; exit 130", lambda server: None, line="report: ")
_stream("the camera is away for 3 s", "found again; one file goes on; exit 130", _back_after(3), says="connected again")
_stream("the camera sends nothing for 7 s", "found again; exit 130", _for_a_while("stalled", 7))
_stream("half frames, all bits flipped, for 2 s", "goes on; exit 130", _for_a_while("garbage", 2))
_stream(
    "the frames' size changes",
    "fitted, said; exit 130",
    lambda server: setattr(server, "small", True),
    says="fitted into",
)
_stream("300 frames a second", "newest wins; exit 130", _for_a_while("burst", 3))
_stream("the camera goes and does not come back, --retry 3", "files whole; the reason on the last line; exit 2",
        lambda server: server.stop(), "--retry", "3", code=2, line="did not come back")  # fmt: skip


@case("streams", "the camera is not on yet, for 5 s", "waited for; exit 130")
def _(folder: Path) -> None:
    port = free_port()
    with running(folder, "--source", f"http://127.0.0.1:{port}/stream") as run:
        run.wait_for_line("waiting for it")
        time.sleep(2)
        with camera(port):
            run.wait_for_rows()
            run.send(signal.SIGINT)
            run.end(130)
        must(run.saved_frames() > 0, "frames are missing")


def _refused(happens: str, must_be: str, path: str, says: str, password: bool = False, *options: str) -> None:
    @case("streams", happens, must_be)
    def _(folder: Path) -> None:
        with camera() as server:
            server.password = password
            address = server.url.replace("/stream", path).replace("http://", "http://admin:p@S3cret@")
            with running(folder, "--source", address, *options) as run:
                run.end(2, says)
                must("S3cret" not in run.said, "the password is shown")


_refused("a wrong password", "one line; the password nowhere; exit 2", "/stream", "401", True)
_refused("a wrong path", "one line; exit 2", "/nothing", "404")


@case("streams", "user name, password and token in the address", "in no line and in no file")
def _(folder: Path) -> None:
    with camera() as server:
        address = server.url.replace("http://", "http://admin:p@S3cret@") + "?user=admin&pwd=S3cret"
        with running(folder, "--source", address) as run:
            run.wait_for_rows()
            must(b"S3cret" not in next(folder.glob("*.part")).read_bytes(), "it is in the journal")
            run.send(signal.SIGINT)
            run.end(130)
            for path in folder.glob("*.*"):
                must(b"S3cret" not in path.read_bytes(), f"it is in {path.name}")
            must(run.saved_frames() > 0, "frames are missing")


@case("streams", "nobody listens, --retry 0", "one line; exit 2")
def _(folder: Path) -> None:
    with running(folder, "--source", f"rtsp://admin:S3cret@127.0.0.1:{free_port()}/live", "--retry", "0") as run:
        run.end(2, "refused")
        must("S3cret" not in run.said, "the password is shown")


def _transport(happens: str, must_be: str, garbage: bool = False, breaks: bool = False) -> None:
    @case("streams", happens, must_be)
    def _(folder: Path) -> None:
        server = TransportStream(folder, garbage=garbage) if folder.mkdir(parents=True) is None else None
        assert server is not None
        try:
            with running(folder, "--source", server.url) as run:
                run.wait_for_rows()
                if breaks:
                    server.breaks = True
                    run.wait_for_line("trying again")
                    server.breaks = False
                    run.wait_for_line("connected again")
                time.sleep(6)  # the clip, and so its timestamps, begin again
                run.send(signal.SIGINT)
                run.end(130)
                must(run.saved_frames() == run.report()["results"] > 0, "results are missing")
        finally:
            server.stop()


_transport("MPEG-TS over TCP whose timestamps jump back", "times go on; exit 130")
_transport("MPEG-TS with a tenth of it zeroed", "goes on; exit 130", garbage=True)
_transport("MPEG-TS that breaks off", "found again; exit 130", breaks=True)


def _video_file(name: str) -> None:
    @case("streams", f"a video file behind an address: {name}", "plays once and ends; exit 0")
    def _(folder: Path) -> None:
        import av

        folder.mkdir(parents=True)
        path = folder / name
        with av.open(str(CLIP)) as source, av.open(str(path), "w") as out:
            stream = out.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    out.mux(packet)
        with camera() as server:
            server.files[f"/{name}"] = path.read_bytes()
            with running(folder, "--source", server.url.replace("/stream", f"/{name}")) as run:
                run.end(0, "report: ")
                must(run.saved_frames() == run.report()["results"] > 0, "results are missing")


_video_file("clip.ts")
_video_file("index_at_the_end.mp4")


@case("streams", "RTSP", "as the others")
def _(folder: Path) -> None:
    raise Skipped("no RTSP server among the packages that the tests install")


# The window


@contextlib.contextmanager
def _display() -> Iterator[str]:
    """The name of a display without a screen. Raises `Skipped` where none can be made."""
    if shutil.which("Xvfb") is None:
        raise Skipped("needs Xvfb")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x800x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=(writing,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    try:
        with os.fdopen(reading) as number:
            yield f":{number.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


def _window_of(run: Run) -> int | None:
    """The window's process."""
    for number in Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{number}/cmdline").read_bytes():
                return int(number)
    return None


def _window_ends(name: str, must_be: str, says: str, code: int) -> None:
    @case("window", f"the window's process gets {name}", must_be)
    def _(folder: Path) -> None:
        with _display() as display:  # noqa: SIM117
            with running(folder, *LIVE, "--view", "window", environment={"DISPLAY": display}) as run:
                run.wait_for_rows()
                if "without a window" in run.said:
                    raise Skipped(f"no window opens here: {run.last_line}")
                window = _window_of(run)
                must(window is not None, "there is no window")
                assert window is not None
                os.kill(window, getattr(signal, name))
                if says:
                    run.wait_for_line(says)
                run.end(code, "report: ")
                must(run.saved_frames() == run.report()["results"] > 0, "results are missing")
                must(run.recorded_frames() > 0, "frames are missing")


for _name in ("SIGSEGV", "SIGKILL"):
    _window_ends(_name, "said; goes on to the end; both files whole; exit 0", "going on without a window", 0)


# Surroundings


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


def _cannot_write(kind: str, ending: str) -> None:
    @case("surroundings", f"--{kind} into a folder that nobody can write", "one line before the camera starts; exit 2")
    def _(folder: Path) -> None:
        with running(folder, *FILE, f"--{kind}", f"/proc/x.{ending}", outputs="") as run:
            run.end(2, f"/proc/x.{ending}")
            must(len(run.said.splitlines()) == 1, "more than one line")


for _name, _ending in (("save", "npz"), ("record", "mp4"), ("report", "json")):
    _cannot_write(_name, _ending)


def _wrong(happens: str, says: str, *options: str) -> None:
    @case("surroundings", happens, "one line; exit 2")
    def _(folder: Path) -> None:
        with running(folder, *options, outputs="") as run:
            run.end(2, says)
            must(len(run.said.splitlines()) == 1, "more than one line")


_wrong("--source ''", "--source is empty", "--source", "")
_wrong("an address that is mistyped", "neither a file nor an address", "--source", "rtsp:/bob:HUNTER22@x/live")
_wrong("--rotate 45", "no right angle", *FILE, "--rotate", "45")
_wrong("a text as a video", "README.md", "--source", str(ROOT / "README.md"))
_wrong("a text as a body", "README.md", *FILE, "--body", str(ROOT / "README.md"))
