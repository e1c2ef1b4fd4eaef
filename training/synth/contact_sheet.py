"""Draw samples for inspection.

    python -m training.synth.contact_sheet FOLDER --output SHEET.png

One strip per sample. Optical flow is colour coded: hue is direction, brightness is speed.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import cv2
import numpy as np
import typer

from body.joints import COCO_EDGES
from common.arrays import AnyFloatArray, AnyIntArray, ImageArray
from common.command_line import run_command
from common.errors import UserError
from training.synth.frames import OTHER_LABEL, decode_flow
from training.synth.shards import find_shards, read_shard

SHEET_TILE: Final = 128
FULL: Final = 0.04
"""Flow magnitude drawn at full brightness, in crop sides per frame."""


def flow_hues(field: AnyFloatArray, full: float = FULL) -> ImageArray:
    """Colour-coded flow: (H, W, 2) to a BGR image (H, W, 3) uint8; ``full`` is the magnitude of full brightness."""
    x, y = field[..., 0].astype(np.float32), field[..., 1].astype(np.float32)
    hsv = np.empty((*x.shape, 3), np.uint8)
    hsv[..., 0] = np.degrees(np.arctan2(y, x)) % 360 / 2
    hsv[..., 1] = 255
    hsv[..., 2] = (np.hypot(x, y) / full * 255).clip(0, 255)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), np.uint8)


def tile(image: ImageArray) -> ImageArray:
    """``image`` scaled to the height of a tile, aspect ratio kept."""
    width = max(round(image.shape[1] * SHEET_TILE / image.shape[0]), 1)
    return np.asarray(cv2.resize(image, (width, SHEET_TILE), interpolation=cv2.INTER_NEAREST), np.uint8)


def draw_keypoints(image: ImageArray, points: AnyFloatArray, states: AnyIntArray) -> None:
    """Draw COCO ``points`` (17, 2), pixels, into ``image``: green visible, red hidden, none outside the image."""
    for a, b in COCO_EDGES:
        if max(states[a], states[b]) < 2:
            ends = [(round(float(x)), round(float(y))) for x, y in points[[a, b]]]
            cv2.line(image, ends[0], ends[1], (200, 200, 60), 1, cv2.LINE_AA)
    for (x, y), state in zip(points, states, strict=True):
        if state < 2:
            cv2.circle(image, (round(float(x)), round(float(y))), 2, ((0, 220, 0), (0, 0, 230))[state], -1)


def window_strip(sample: dict[str, Any]) -> ImageArray:
    """Four frames with their detections, then the estimated and the exact flow of two of them."""
    parts = []
    length = len(sample["rgb"])
    for frame in np.linspace(0, length - 1, 4).astype(int):
        image = tile(np.ascontiguousarray(sample["rgb"][frame][..., ::-1]))
        x, y, size = sample["box"][frame]
        points = ((sample["points"][frame] - [x, y]) / size + 0.5) * SHEET_TILE
        draw_keypoints(image, points, sample["state"][frame])
        parts.append(image)
    for frame in (length // 3, length - 1):
        parts += [tile(flow_hues(sample[name][frame])) for name in ("flow", "exact")]
    return np.concatenate(parts, 1)


def decode_image(data: bytes) -> ImageArray:
    """Decode a stored image without conversion: BGR, grey or 16 bits."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


def frame_strip(sample: dict[str, Any]) -> ImageArray:
    """The frame with its keypoints, the crop, parts, depth and flow; points hidden in the next frame are white."""
    frame = decode_image(sample["frame.jpg"])
    scale = SHEET_TILE / len(frame)
    image = tile(frame)
    draw_keypoints(image, sample["points"] * scale, sample["state"])
    parts = decode_image(sample["parts.png"])
    colours = np.asarray(cv2.applyColorMap((parts * 37 % 255).astype(np.uint8), cv2.COLORMAP_HSV), np.uint8)
    colours[parts == 0], colours[parts == OTHER_LABEL] = 40, 160
    near = (2.0 / np.maximum(decode_image(sample["depth.png"]) / 1000, 1e-3)).clip(0, 1)
    field, hidden = decode_flow(sample["flow.png"])
    flow = flow_hues(field / len(field))
    flow[hidden] = 255
    depth = cv2.applyColorMap((near * 255).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    rest = (decode_image(sample["crop.jpg"]), colours, np.asarray(depth, np.uint8), flow)
    return np.concatenate([image, *(tile(part) for part in rest)], 1)


def motion_strip(sample: dict[str, Any]) -> ImageArray:
    """Exact flow with the keypoints, the silhouette, and the mask of points hidden in the next frame."""
    flow = tile(flow_hues(sample["flow"] / SHEET_TILE))
    draw_keypoints(flow, sample["points"][0], sample["state"])
    masks = [
        np.repeat(sample[name][..., None] * np.uint8(255), 3, -1).astype(np.uint8) for name in ("silhouette", "hidden")
    ]
    return np.concatenate([flow, *(tile(mask) for mask in masks)], 1)


STRIPS: Final = {"frames": frame_strip, "motion": motion_strip, "windows": window_strip, "pairs": window_strip}


def sheet(strips: list[ImageArray], columns: int) -> ImageArray:
    """Strips arranged in columns, padded with black."""
    width = max(strip.shape[1] for strip in strips)
    rows = -(-len(strips) // columns)
    out = np.zeros((rows * (SHEET_TILE + 4), columns * (width + 8), 3), np.uint8)
    for number, strip in enumerate(strips):
        top, left = number % rows * (SHEET_TILE + 4), number // rows * (width + 8)
        out[top : top + SHEET_TILE, left : left + strip.shape[1]] = strip
    return out


def main(
    folder: Annotated[Path, typer.Argument(help="folder of shards")],
    output: Annotated[Path, typer.Option(help="image file to write")] = Path("contact.png"),
    kind: Annotated[str, typer.Option(help="which shards: " + ", ".join(STRIPS))] = "windows",
    split: Annotated[str, typer.Option(help="train, val or test")] = "train",
    count: Annotated[int, typer.Option(min=1, help="samples to draw")] = 24,
    columns: Annotated[int, typer.Option(min=1, help="columns of strips")] = 2,
) -> None:
    """Draw the first samples of a folder of shards into one image."""
    if kind not in STRIPS:
        raise typer.BadParameter(f"--kind is one of {', '.join(STRIPS)}, not {kind!r}")
    strips: list[ImageArray] = []
    for row in find_shards(folder, kind, split):
        samples = read_shard(folder, row)
        strips += [STRIPS[kind](sample) for _, sample in islice(samples, count - len(strips))]
        if len(strips) == count:
            break
    output.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(output), sheet(strips, columns)):
        raise UserError(f"cannot write {output}: give a name that ends in .png or .jpg")
    print(f"{output}: {len(strips)} samples")


if __name__ == "__main__":
    run_command(main, examples="Example: python -m training.synth.contact_sheet shards --output out/contact.png")
