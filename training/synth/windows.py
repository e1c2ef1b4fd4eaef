"""Short windows of synthetic video as the network receives them, with the ground truth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
import torch

from common.arrays import AnyArray, FloatArray
from training.simulation.detector_noise import NoiseSampler, extent
from training.simulation.flow_grid import CELLS
from training.synth.observations import ObservedTrack, render_frames, simulate_tracking
from training.synth.render import Renderer, crop_viewport
from training.synth.scene import SceneSampler

FRAMES: Final = 16
WINDOWS_FPS: Final = 30.0
CROP: Final = 64
"""Side of the crops, px."""
_BATCH: Final = 8

WindowArrays = dict[str, AnyArray]


def generate_windows(
    maker: SceneSampler, noise: NoiseSampler, rng: np.random.Generator, count: int, frames: int = FRAMES
) -> Iterator[WindowArrays]:
    """Generate ``count`` windows of T = ``frames`` consecutive frames, each a dictionary of arrays.

    ``rgb`` (T, 64, 64, 3) uint8, the crop of the tracker's box, black outside the image; ``flow`` (T, 32, 32, 2)
    float16, the flow estimated from frame t - 1 to t in the box of frame t, as cell means in sides of the box;
    ``exact`` (T, 32, 32, 2) float16, the exact flow at the cell centres; ``body`` (T, 32, 32) uint8, the cell shows the
    person in frame t - 1; ``box`` (T, 3) centre x, y and side, px, from the detections before; ``points`` (T, 17, 2) px
    and ``confidence`` (T, 17) of the detector; ``state`` (T, 17) uint8, 0 visible, 1 hidden, 2 outside; ``extent`` (T,)
    px; ``dt`` (T,) s; ``camera`` (4,) fx, fy, cx, cy px as given to the network, ``true_camera`` (4,) the true ones;
    ``size`` (2,) int32.

    The targets are those of `training.simulation.batches.Batch`: ``rotations`` (T, 24, 3, 3), ``betas`` (10,),
    ``joints`` (T, 24, 3), ``coco`` (T, 17, 3), and ``pelvis`` (T, 3) as it appears under the focal length given to the
    network.
    """
    done = 0
    while done < count:
        # One more frame is rendered before the window, so that every frame of it has flow.
        renderers = [Renderer(scene) for scene in maker.sample(min(_BATCH, count - done), frames + 1, WINDOWS_FPS)]
        for renderer, found in zip(renderers, simulate_tracking(renderers, noise), strict=True):
            if found is None:
                continue
            yield _window(renderer, found, rng)
            done += 1
            if done == count:
                return


def generate_pairs(
    maker: SceneSampler, noise: NoiseSampler, rng: np.random.Generator, count: int
) -> Iterator[WindowArrays]:
    """Windows of two frames: encoders of single frames learn more from many people than from many frames of each."""
    return generate_windows(maker, noise, rng, count, frames=2)


def field_cell_means(field: FloatArray) -> FloatArray:
    """Means of a square flow field (S, S, 2) px over 32 x 32 cells, in sides of the crop.

    Sums in another order than `realtime.stages.flow.crop_flow.cell_means`; stored shards depend on it to the last bit.
    """
    block = len(field) // CELLS
    mean = field.reshape(CELLS, block, CELLS, block, 2).mean((1, 3)) / np.float32(len(field))
    return np.asarray(mean, np.float32)


def _window(renderer: Renderer, found: ObservedTrack, rng: np.random.Generator) -> WindowArrays:
    scene = renderer.scene
    frames = scene.frames - 1
    rgb = np.empty((frames, CROP, CROP, 3), np.uint8)
    flow, exact = (np.empty((frames, CELLS, CELLS, 2), np.float16) for _ in range(2))
    body = np.empty((frames, CELLS, CELLS), np.uint8)
    owner = np.append(scene.mesh.owner, -1)
    for rendered in render_frames(renderer, found.boxes, CROP, rng):
        if rendered.flow is None:
            continue
        row, view = rendered.frame - 1, crop_viewport(scene, rendered.box, CELLS)
        cv2.cvtColor(rendered.crop, cv2.COLOR_BGR2RGB, rgb[row])
        flow[row] = field_cell_means(rendered.flow.field)
        truth = renderer.flow(rendered.frame - 1, view)
        exact[row] = (truth.field / CELLS).clip(-4, 4)
        body[row] = owner[truth.ids] == 0
    states = torch.from_numpy(found.states)
    reach = extent(torch.from_numpy(scene.points)[None], (states < 2)[None])[0].numpy()
    stretch = np.array([1, 1, scene.assumed_camera[0] / scene.camera[0]], np.float32)
    return {
        "rgb": rgb,
        "flow": flow,
        "exact": exact,
        "body": body,
        "box": np.array(found.boxes[1:], np.float32),
        "points": found.points[1:],
        "confidence": found.confidence[1:],
        "state": found.states[1:].astype(np.uint8),
        "extent": reach[1:],
        "dt": scene.dt[1:],
        "camera": scene.assumed_camera,
        "true_camera": scene.camera,
        "size": np.array(scene.size, np.int32),
        "rotations": scene.rotations[1:],
        "betas": scene.betas,
        "joints": scene.joints[1:],
        "coco": scene.coco[1:],
        "pelvis": scene.pelvis[1:] * stretch,
    }
