"""Films behind addresses whose servers are slow, break off or begin late."""

from __future__ import annotations

from pathlib import Path

import av

from formats.motion import load_motion
from tests.faults.cases.case import case
from tests.faults.program import CLIP, must, running
from tests.faults.servers import camera, transport_stream

SECRET = "S3cret"


def _copy(path: Path, **options: str) -> bytes:
    """The clip that comes with the project as an MP4 file that is made with FFmpeg's ``options``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(CLIP)) as source, av.open(str(path), "w", options=options) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    return path.read_bytes()


@case(
    "streams", "a video file from a server that takes 8 s for its 3", "its own times, nothing said of decoding; exit 0"
)
def _(folder: Path) -> None:
    with camera() as server:
        server.files["/clip.mp4"] = _copy(folder / "film" / "clip.mp4", movflags="faststart")
        server.takes_s = 8.0
        with running(folder, "--source", server.url.replace("/stream", "/clip.mp4")) as run:
            run.end(0, "report: ")
            must("can be decoded" not in run.said, "the decoder is blamed")
            times_s = load_motion(folder / "out.npz").time_s
            must(run.saved_frames() == run.report()["results"] > 0, "results are missing")
            must(times_s.max() < 3.2, f"times go to {times_s.max():.2f} s, the film is 3 s long")


@case("streams", "a video file whose connection breaks off", "said; both files whole; exit 0")
def _(folder: Path) -> None:
    with camera() as server:
        data = _copy(folder / "film" / "clip.mp4", movflags="faststart")
        server.files["/clip.mp4"] = data[: len(data) // 2]
        with running(folder, "--source", server.url.replace("/stream", "/clip.mp4")) as run:
            run.end(0, "report: ")
            must("the connection broke off" in run.said, "it is not said")
            must(run.saved_frames() == run.report()["results"] > 0, "results are missing")


@case("streams", "an HLS list with a token is empty at first", "waited for; the token nowhere; exit 0")
def _(folder: Path) -> None:
    folder.mkdir(parents=True)
    path = f"/live.m3u8?token={SECRET}"
    head = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:0\n"
    with camera() as server:
        server.files[f"/0.ts?token={SECRET}"] = transport_stream(folder)[0]
        server.files[path] = head.encode()
        with running(folder, "--source", server.url.replace("/stream", path), "--verbose") as run:
            run.wait_for_line("waiting for it")
            server.files[path] = f"{head}#EXTINF:3.0,\n0.ts?token={SECRET}\n#EXT-X-ENDLIST\n".encode()
            run.end(0, "report: ")
            for file in folder.glob("*.*"):
                must(SECRET.encode() not in file.read_bytes(), f"it is in {file.name}")
            must(run.saved_frames() == run.report()["results"] > 0, "results are missing")
