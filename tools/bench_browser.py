"""The cost of ``--view browser``: bytes a frame and processor time by number of viewers, without networks or a browser.

python -m tools.bench_browser --people 2

Results of a person who moves are shown 30 times a second to viewers that read everything and say so, each a process of its
own. ``--stalled`` adds viewers that never say so: they must cost the others nothing. Processor time is that of the serving
process: encoding, sending and, for the image, the JPEG.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Annotated

import typer

from body.model import BodyArrays, load_body
from common.command_line import run_command
from common.errors import UserError
from realtime.browser.protocol import body_message
from realtime.browser.view import BrowserView
from realtime.draw.mannequin import mannequin_for
from realtime.records import Result
from tools.waving import POSES, RATE, SIZE, waving_results

_READER = """
import contextlib, json, sys
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
seen = {1: [0, 0], 2: [0, 0]}
with contextlib.suppress(ConnectionClosed), connect(sys.argv[1], compression=None, max_size=None) as viewer:
    viewer.send(json.dumps({"video": sys.argv[2] == "True"}))
    for message in viewer:
        if isinstance(message, bytes):
            kind = seen[message[0]]
            kind[0] += 1
            kind[1] += len(message)
            if sys.argv[3] == "True":
                viewer.send('{"drawn": 1}')
print(json.dumps(seen[1] + seen[2]))
"""
"""A viewer that draws at once whatever comes; imports little, so that many start quickly."""

_MAX_VIEWERS = 16


def main() -> None:
    """The program's entry."""
    run_command(bench_browser, examples="Example: python -m tools.bench_browser --people 2")


def bench_browser(
    viewers: Annotated[str, typer.Option(help="Numbers of viewers, with commas.")] = "0,1,4",
    people: Annotated[int, typer.Option(help="People in each frame.", min=0, max=6)] = 1,
    seconds: Annotated[float, typer.Option(help="Seconds to measure each.", min=1)] = 10.0,
    video: Annotated[bool, typer.Option(help="Whether viewers take the video.")] = True,
    stalled: Annotated[int, typer.Option(help="So many more viewers never answer.", min=0, max=16)] = 0,
) -> None:
    """Measure the browser view's bytes and processor time, and print them as a table."""
    try:
        counts = [int(count) for count in viewers.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 0 or max(counts) > _MAX_VIEWERS:
        raise UserError(f"--viewers {viewers}: give numbers from 0 to {_MAX_VIEWERS}, with commas")
    arrays = load_body()
    results = waving_results(arrays, people)
    print(
        "| viewers | processor time a frame | poses a viewer | bytes a pose | video frames a viewer | kB a video frame |"
    )
    print("| --- |" + " --- |" * 5)
    for count in counts:
        print(_measure(arrays, results, count, seconds, video, stalled), flush=True)
    kinds = f"{people} people, {RATE} frames a second" + (
        f", {stalled} viewers more that never answer" if stalled else ""
    )
    size = len(body_message(arrays, mannequin_for(arrays))) / 1e6
    print(f"\n{kinds}; the body, once for each viewer: {size:.2f} MB before compression")


def _measure(arrays: BodyArrays, results: list[Result], viewers: int, seconds: float, video: bool, stalled: int) -> str:
    """A row of the table; columns that need a viewer are empty without one."""
    with BrowserView("127.0.0.1", 0, arrays, mannequin_for(arrays), "bench", float(RATE), True, SIZE) as view:
        url = view.link.replace("http", "ws") + "live"
        commands = [
            [sys.executable, "-c", _READER, url, str(video), str(number < viewers)]
            for number in range(viewers + stalled)
        ]
        readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
        while view.viewers < len(readers):
            time.sleep(0.1)
        begin_s, begin = time.monotonic(), _processor_s()
        frames = 0
        while time.monotonic() - begin_s < seconds:
            view.show(results[frames % POSES])
            frames += 1
            time.sleep(max(0.0, begin_s + frames / RATE - time.monotonic()))
        used = _processor_s() - begin
        view.close()
        told = [json.loads(reader.communicate(timeout=60)[0]) for reader in readers][:viewers]
    cells = [str(viewers), f"{1e3 * used / frames:.2f} ms"]
    if told:
        poses, pose_bytes, videos, video_bytes = (statistics.median(each) for each in zip(*told, strict=True))
        cells += [f"{poses:.0f} of {frames}", f"{pose_bytes / max(poses, 1):.0f}"]
        cells += [f"{videos:.0f}", f"{video_bytes / max(videos, 1) / 1e3:.1f}"]
    else:
        cells += [""] * 4
    return f"| {' | '.join(cells)} |"


def _processor_s() -> float:
    """Processor time of this process so far, seconds: its own and the system's on its behalf."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
