"""Render a clip of a synthetic walking person.

    python -m training.synth.render_clip --motion FOLDER

Made once for the repository: the demo plays it where its real clip is not available.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import roma
import torch
import typer

from body.lbs_torch import TorchBody
from body.model import load_body
from common.camera import Camera
from common.command_line import run_command
from realtime.draw.raster import Rasteriser
from realtime.outputs.video import VideoRecorder
from training.motion.opening import open_clips
from training.synth.appearance import sample_vertex_colours
from training.synth.backgrounds import sample_background

_WIDTH, _HEIGHT, _FOCAL, _DEPTH, CLIP_FPS = 640, 480, 544.0, 3.6, 30.0


def main(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    output: Annotated[Path, typer.Option(help="video file to write")] = Path("assets/synthetic_walk.mp4"),
    frames: Annotated[int, typer.Option(min=1, help="frames to render")] = 90,
    seed: Annotated[int, typer.Option(help="seed of clothes and background")] = 4,
) -> None:
    """Write ``frames`` frames of the longest walk, seen from the front by a camera that follows."""
    arrays, rng = load_body(), np.random.default_rng(seed)
    body, raster = TorchBody(arrays), Rasteriser(arrays.faces)
    walk = max((clip for clip in open_clips(motion, "train") if clip.category == "walk"), key=lambda clip: clip.frames)
    rotations = roma.rotvec_to_rotmat(torch.from_numpy(walk.rotations[:frames]))
    facing = rotations[0, 0, :, 2]
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, -float(torch.atan2(facing[0], facing[2])) + 0.4, 0.0]))
    rotations[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ turn @ rotations[:, 0]
    with torch.no_grad():
        vertices = body(rotations, torch.zeros(len(rotations), 10))[0].numpy() + np.array([0, 0.05, _DEPTH], np.float32)
    camera = Camera(_FOCAL, _FOCAL, (_WIDTH - 1) / 2, (_HEIGHT - 1) / 2)
    colour, scene = sample_vertex_colours(arrays, rng), sample_background(_HEIGHT, _WIDTH, rng)
    with VideoRecorder(output, CLIP_FPS) as video:
        for number, body_vertices in enumerate(vertices):
            image = scene.copy()
            raster.begin(_HEIGHT, _WIDTH)
            raster.add(body_vertices, camera, 255 * colour)
            raster.blend(image)
            video.write(image, number / CLIP_FPS)


if __name__ == "__main__":
    run_command(
        main, examples="Example: python -m training.synth.render_clip --motion motion.npz --output out/walk.mp4"
    )
