"""A small animation of an annotated recording: python -m tools.make_gif RECORDING.mp4 OUT.gif"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import av
import cv2
import numpy as np
import typer

from common.arrays import ImageArray
from common.command_line import run_command
from tools.gif import write_gif


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
