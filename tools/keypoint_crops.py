"""Cut the crops of people that ``realtime.stages.keypoints.parity`` tries networks on: ``python -m tools.keypoint_crops``.

They come from the demo clip (Sports2D, BSD-3-Clause), around both people, over its whole length.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import cv2
import numpy as np
import typer

from common.arrays import ImageArray
from common.command_line import run_command
from common.errors import UserError
from common.files import write_bytes_atomically
from realtime.options import Options
from realtime.stages.crops import Cropper
from realtime.stages.keypoints.parity import CROP_SIZE, CROPS
from realtime.stages.tracking.regions import region_of
from realtime.stream import stream

_COLUMNS, _ROWS = 4, 3
_EVERY: Final = 16
"""Frames from one that is taken to the next."""
_QUALITY: Final = 90


def cut_crops(source: str) -> list[ImageArray]:
    """Crops of everybody in every 16th frame of ``source``, as the keypoint network is shown them."""
    options = Options(
        source=source, engine="onnxruntime", precision="fp32", quality="live", flow="none", persons=2, view="none"
    )
    crop, found = Cropper(CROP_SIZE), []
    for result in stream(options):
        if result.frame.sequence % _EVERY == 0:
            height, width = result.frame.image.shape[:2]
            for person in result.people:
                box = region_of(person.keypoints.points, person.keypoints.confidence, width, height, None)
                if box is not None:
                    found.append(crop(result.frame.image, box).copy())
    return found


def main(
    source: Annotated[str, typer.Option(help="the video")] = "demo",
    output: Annotated[Path, typer.Option(help="the JPEG file")] = CROPS,
) -> None:
    """Write the sheet of crops."""
    crops = cut_crops(source)
    wanted = _COLUMNS * _ROWS
    if len(crops) < wanted:
        raise UserError(f"{source} gave {len(crops)} crops of people, wanted {wanted}: take a longer video")
    chosen = [crops[place] for place in np.linspace(0, len(crops) - 1, wanted).round().astype(int)]
    sheet = np.vstack([np.hstack(chosen[row * _COLUMNS : (row + 1) * _COLUMNS]) for row in range(_ROWS)])
    _, data = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    write_bytes_atomically(output, data.tobytes())
    print(f"{output}: {wanted} crops, {output.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    run_command(main, examples="Example: python -m tools.keypoint_crops --output out/crops.jpg")
