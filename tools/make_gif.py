"""A small animation of an annotated recording: python -m tools.make_gif RECORDING.mp4 OUT.gif"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import av
import av.filter
import cv2
import numpy as np
import typer

from common.arrays import ImageArray
from common.command_line import run_command

_TICKS = 100  # a second: the unit of a GIF's delays


def write_gif(path: Path, images: Iterable[ImageArray], rate: float, colours: int = 256) -> None:
    """Write ``images``, uint8 (H, W, 3) BGR of one size, shown ``rate`` a second, with a palette of ``colours``.

    Raises ValueError where there are none.
    """
    frames = [av.VideoFrame.from_ndarray(image, "bgr24") for image in images]
    if not frames:
        raise ValueError("an animation needs images")
    width, height = frames[0].width, frames[0].height
    graph, base = av.filter.Graph(), Fraction(1, _TICKS)
    source = graph.add_buffer(width=width, height=height, format=frames[0].format, time_base=base)
    split, sink = graph.add("split"), graph.add("buffersink")
    palette = graph.add("palettegen", f"max_colors={colours}")
    use = graph.add("paletteuse", "dither=bayer:bayer_scale=4:diff_mode=rectangle")
    source.link_to(split)
    split.link_to(use, 0, 0)
    split.link_to(palette, 1, 0)
    palette.link_to(use, 0, 1)
    use.link_to(sink)
    graph.configure()
    with av.open(str(path), "w", format="gif") as out:
        stream = out.add_stream("gif", rate=round(rate))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "pal8"
        stream.codec_context.time_base = base
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = round(number * _TICKS / rate), base
            source.push(frame)
        source.push(None)
        for _ in frames:
            shown = sink.pull()
            assert isinstance(shown, av.VideoFrame)
            out.mux(stream.encode(shown))
        out.mux(stream.encode(None))


def main(
    recording: Annotated[Path, typer.Argument(help="made by run_camera.py --record")],
    output: Annotated[Path, typer.Argument(help="the .gif")],
    crop: Annotated[tuple[int, int, int, int], typer.Option(help="left, top, width, height of the video's part")],
    panel: Annotated[int, typer.Option(help="column where the side view starts")],
    height: Annotated[int, typer.Option(help="of the animation, px")] = 300,
    start: Annotated[int, typer.Option(help="first frame")] = 0,
    frames: Annotated[int, typer.Option(help="frames shown")] = 36,
    step: Annotated[int, typer.Option(help="show every so many frames")] = 3,
) -> None:
    """Cut, scale and join the video's part and the side view of some frames."""
    left, top, wide, high = crop

    def images() -> Iterator[ImageArray]:
        with av.open(str(recording)) as source:
            for number, frame in enumerate(source.decode(video=0)):
                if number < start or (number - start) % step or number >= start + frames * step:
                    continue
                image = frame.to_ndarray(format="bgr24")
                parts = [image[top : top + high, left : left + wide], image[:, panel:]]
                scaled = [
                    cv2.resize(part, (part.shape[1] * height // part.shape[0], height), interpolation=cv2.INTER_AREA)
                    for part in parts
                ]
                yield np.asarray(np.hstack(scaled), np.uint8)

    write_gif(output, images(), 30 / step)


if __name__ == "__main__":
    run_command(
        main, examples="Example: python -m tools.make_gif out/demo.mp4 out/demo.gif --crop 0 0 640 480 --panel 640"
    )
