"""A small animation of an annotated recording: python -m tools.make_gif RECORDING.mp4 OUT.gif"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import av
import cv2
import numpy as np
import typer


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
    with av.open(str(recording)) as source, av.open(str(output), "w", format="gif") as target:
        stream = None
        for number, frame in enumerate(source.decode(video=0)):
            if number < start or (number - start) % step or number >= start + frames * step:
                continue
            image = frame.to_ndarray(format="bgr24")
            parts = [image[top : top + high, left : left + wide], image[:, panel:]]
            scaled = [
                cv2.resize(part, (part.shape[1] * height // part.shape[0], height), interpolation=cv2.INTER_AREA)
                for part in parts
            ]
            image = np.hstack(scaled).astype(np.uint8, copy=False)
            if stream is None:
                stream = target.add_stream("gif", rate=30 // step)
                stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "rgb8"
            target.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        if stream is not None:
            target.mux(stream.encode(None))


if __name__ == "__main__":
    typer.run(main)
