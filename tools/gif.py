"""Writing GIFs."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import av.filter

from common.arrays import ImageArray

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
