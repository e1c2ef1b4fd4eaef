"""The cost of --record: processor time a frame, without networks.

python -m tools.bench_recording out/demo.npz demo

Draws the bodies of a motion file on frames of the video that it was made from, and records them, again and again. Processor
time is that of all threads of this process, the encoder's too, so that other programs hardly change it; they do change the time
of the clock, which is less than the sum, because a frame is encoded while the next is drawn.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from common.camera import Camera
from common.command_line import run_command
from common.errors import UserError
from formats.save import open_motion
from realtime.draw.annotated_frame import AnnotatedFramePainter
from realtime.draw.mannequin import mannequin_for
from realtime.options import PaneLayout
from realtime.outputs.video import VideoRecorder
from realtime.records import Frame, Result
from realtime.replay import MotionReplay
from realtime.sources import open_source


def main() -> None:
    """The program's entry."""
    run_command(bench_recording, examples="Example: python -m tools.bench_recording out/demo.npz demo")


def bench_recording(
    motion: Annotated[Path, typer.Argument(help="a motion file of run_camera.py --save")],
    video: Annotated[str, typer.Argument(help="the video it was made from, or demo")] = "demo",
    layout: Annotated[PaneLayout, typer.Option(help="as in run_camera.py")] = "overlay",
    start: Annotated[int, typer.Option(help="first frame", min=0)] = 60,
    frames: Annotated[int, typer.Option(help="frames that are held in memory and recorded", min=2)] = 60,
    runs: Annotated[int, typer.Option(help="how often they are recorded", min=1)] = 5,
) -> None:
    """Print the processor time a frame of drawing and of encoding, medians over runs, and the size of the file."""
    results, replay = _results(motion, video, start, frames)
    painter = AnnotatedFramePainter(mannequin_for(replay.arrays), layout, side_view=True)
    drawing, encoding, elapsed, size = [], [], [], 0
    painter.paint(results[0])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.mp4"
        for _ in range(runs):
            recorder = VideoRecorder(path)
            begun_s, drawn_s, start_s = time.process_time(), 0.0, time.perf_counter()
            for result in results:
                before_s = time.thread_time()  # the encoder's threads work meanwhile
                image = painter.paint(result)
                drawn_s += time.thread_time() - before_s
                recorder.write(image, result.frame.time_s)
            recorder.close()
            drawing.append(1e3 * drawn_s / len(results))
            encoding.append(1e3 * (time.process_time() - begun_s - drawn_s) / len(results))
            elapsed.append(1e3 * (time.perf_counter() - start_s) / len(results))
            size = path.stat().st_size
    height, width = painter.size(*results[0].frame.image.shape[:2])
    print(f"{width}x{height}, {len(results)} frames, medians of {runs} runs, processor time a frame:")
    print(f"  draw   {statistics.median(drawing):6.2f} ms")
    print(f"  encode {statistics.median(encoding):6.2f} ms, {8e-3 * size / len(results):.0f} kbit a frame")
    print(f"  time of the clock, both together: {statistics.median(elapsed):.2f} ms a frame")


def _results(path: Path, video: str, start: int, frames: int) -> tuple[list[Result], MotionReplay]:
    """The bodies of the motion at ``path`` on the frames of the video."""
    motion = open_motion(path)
    replay, camera = MotionReplay(motion), Camera.from_matrix(motion.camera_matrix)
    results: list[Result] = []
    with open_source(video) as source:
        buffer = source.new_buffer()
        while len(results) < frames and (timestamp := source.read_into(buffer)) is not None:
            if timestamp.index >= start:
                frame = Frame(timestamp.index, timestamp.captured_ns, timestamp.time_s, buffer.copy())
                results.append(replay.result(replay.place_of(timestamp.index, timestamp.time_s), frame, camera))
    if not results:
        raise UserError(f"{video} has no frame {start}: give a smaller --start")
    return results, replay


if __name__ == "__main__":
    main()
