"""Cameras behind addresses that go away, fall silent, change or refuse."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults.cases.case import case
from tests.faults.program import CLIP, ROOT, must, running
from tests.faults.servers import Camera, TransportStream, camera, free_port


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


@case("streams", "the process that reads a CSI camera hangs, and ignores SIGINT", "started again; exit 130")
def _(folder: Path) -> None:
    script = ROOT / "tests" / "realtime" / "sources" / "gst_launch.py"
    program = folder / "bin" / "gst-launch-1.0"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{script}" "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}", "GST_STARTS": str(folder / "starts")}
    pipeline = "gst:source size=640x480 gap_ms=30 stalls_after=60 hangs floods well_from=2"
    with running(folder, "--source", pipeline, environment=environment) as run:
        run.wait_for_line("no frame came for 5 s; trying again")
        run.wait_for_line("is there again after")
        run.wait_for_rows()
        run.send(signal.SIGINT)
        run.end(130)
        must(run.recorded_frames() > 0, "frames are missing")
        for line in (folder / "starts.pids").read_text().split():
            must(not os.path.exists(f"/proc/{line}"), "a process was left behind")


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
    @case("streams", f"a video file behind an address: {name}", "plays once and ends; exit 0",
          "a video file behind an address, its index at the end or none")  # fmt: skip
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
