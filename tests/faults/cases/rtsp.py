"""RTSP cameras that go away, begin late, fall silent or want a password."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.cases.case import case
from tests.faults.program import Run, must, running
from tests.faults.rtsp import RtspCamera
from tests.faults.servers import free_port

SECRET = "S3cret"


@contextlib.contextmanager
def _camera(folder: Path, port: int = 0, password: str = "") -> Iterator[RtspCamera]:
    folder.mkdir(parents=True, exist_ok=True)
    server = RtspCamera(folder, port, password)
    try:
        yield server
    finally:
        server.stop()


def _stop(run: Run) -> None:
    run.send(signal.SIGINT)
    run.end(130, "report: ")
    must(run.saved_frames() == run.report()["results"] > 0, "results are missing")
    must(run.recorded_frames() > 0, "frames are missing")


def _stream(happens: str, must_be: str, act: Callable[[RtspCamera], None], says: str = "") -> None:
    @case("streams", happens, must_be)
    def _(folder: Path) -> None:
        with _camera(folder) as server, running(folder, "--source", server.url()) as run:
            run.wait_for_rows()
            act(server)
            if says:
                run.wait_for_line(says)
            before = (folder / "out.npz.part").stat().st_size
            run.wait_for(lambda: (folder / "out.npz.part").stat().st_size > before + 2000, "more results")
            _stop(run)


def _for_a_while(name: str, seconds: float) -> Callable[[RtspCamera], None]:
    def act(server: RtspCamera) -> None:
        setattr(server, name, True)
        time.sleep(seconds)
        setattr(server, name, False)

    return act


_stream("RTSP, then Ctrl-C", "every result saved; exit 130", lambda server: None)
_stream("an RTSP camera is away for 3 s", "found again; exit 130", _for_a_while("breaks", 3), "connected again")
_stream("an RTSP camera sends nothing for 7 s", "found again; exit 130", _for_a_while("stalled", 7))


@case("streams", "an RTSP camera is not on yet", "waited for; exit 130")
def _(folder: Path) -> None:
    port = free_port()
    with running(folder, "--source", f"rtsp://127.0.0.1:{port}/live") as run:
        run.wait_for_line("waiting for it")
        with _camera(folder, port):
            run.wait_for_rows()
            _stop(run)


@case("streams", "user name, password and token of an RTSP camera, --verbose", "in no line and in no file")
def _(folder: Path) -> None:
    with _camera(folder, password=f"admin:{SECRET}") as server:
        address = server.url(f"/live?token={SECRET}").replace("rtsp://", f"rtsp://admin:{SECRET}@")
        with running(folder, "--source", address, "--verbose") as run:
            run.wait_for_rows()
            must(SECRET.encode() not in next(folder.glob("*.part")).read_bytes(), "it is in the journal")
            run.send(signal.SIGINT)
            run.end(130)
            for path in folder.glob("*.*"):
                must(SECRET.encode() not in path.read_bytes(), f"it is in {path.name}")
            must(run.saved_frames() > 0, "frames are missing")


@case("streams", "a wrong password of an RTSP camera", "one line; the password nowhere; exit 2")
def _(folder: Path) -> None:
    with _camera(folder, password="admin:another") as server:
        address = server.url().replace("rtsp://", f"rtsp://admin:{SECRET}@")
        with running(folder, "--source", address) as run:
            run.end(2, "401")
            must(SECRET not in run.said, "the password is shown")
