"""Measure a keypoint detector's noise.

    python -m training.noise_measurement.detector --motion FOLDER

Renders the default body in random colours, in motion, with random cameras and backgrounds; runs the shipped keypoint
networks on the frames, and fits the tables of `training.simulation.detector_noise` to their errors. How much easier
real people are to detect is measured by `training.noise_measurement.real_video`; those numbers are copied from the existing
tables.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from body.lbs_torch import TorchBody
from body.model import load_body
from common.arrays import DoubleArray, FloatArray, Int64Array
from common.camera import Camera
from common.command_line import run_command
from common.files import write_text_atomically
from engines.registry import open_engine
from realtime.draw.raster import Rasteriser
from realtime.records import Box
from realtime.stages.keypoints.movenet import MoveNet
from training.motion.bank import Augmentation, MotionBank
from training.motion.opening import open_clips
from training.noise_measurement.fit_detector import Observations, fit_detector_noise
from training.simulation.batches import keypoint_visibility
from training.simulation.cameras import draw_views
from training.simulation.detector_noise import DETECTOR_NOISE_FILE, extent, load_noise
from training.simulation.shapes import draw_betas
from training.synth.appearance import sample_vertex_colours
from training.synth.backgrounds import sample_background

_FRAMES, DETECTOR_FPS, LONGEST = 6, 30.0, 640
NETWORKS = ("movenet-lightning", "movenet-thunder")


@dataclass(slots=True)
class _Record:
    """What one network detected, and the truth, frame by frame."""

    detected: list[FloatArray] = field(default_factory=list)
    """(17, 2) COCO keypoints, image pixels."""
    truth: list[FloatArray] = field(default_factory=list)
    """(17, 2) true keypoints, image pixels."""
    confidence: list[FloatArray] = field(default_factory=list)
    """(17,) confidences, 0..1."""
    state: list[Int64Array] = field(default_factory=list)
    """(17,) visibility, see `training.simulation.batches.keypoint_visibility`."""
    scale: list[float] = field(default_factory=list)
    """Extent of the person, image pixels."""

    def observations(self) -> Observations:
        def windows(rows: list[FloatArray] | list[Int64Array] | list[float]) -> DoubleArray:
            values = np.array(rows, np.float64)
            return values.reshape(-1, _FRAMES, *values.shape[1:])

        states = windows(self.state).astype(np.int64)
        return Observations(
            windows(self.detected),
            windows(self.truth),
            windows(self.confidence),
            states,
            windows(self.scale),
            DETECTOR_FPS,
        )


def measure_rendered(motion: Path, people: int, seed: int) -> dict[str, Observations]:
    """Run each network of `NETWORKS` on ``people`` rendered people of `_FRAMES` frames."""
    arrays = load_body()
    body, raster, rng = TorchBody(arrays), Rasteriser(arrays.faces), np.random.default_rng(seed)
    bank = MotionBank(open_clips(motion, "train"), seed=seed)
    networks = {name: MoveNet(open_engine(name)) for name in NETWORKS}
    records = {name: _Record() for name in NETWORKS}
    done = 0
    while done < people:
        window = bank.sample(1, _FRAMES, Augmentation(offset_deg=5.0, tumble=0.03), torch.tensor([DETECTOR_FPS]))
        views = draw_views(window, bank.generator)
        root = views.rotation @ window.rotations[:, :, 0]
        rotations = torch.cat([root[:, :, None], window.rotations[:, :, 1:]], 2)
        betas = draw_betas(1, bank.generator)[:, None].expand(1, _FRAMES, 10)
        joints, coco = body.skeleton(rotations, betas)
        place = views.pelvis[:, :, None]
        points = views.project(coco + place)
        state = keypoint_visibility(joints + place, coco + place, points, views.size)
        if int((state < 2).sum(-1).min()) < 5:
            continue
        done += 1
        vertices = (body(rotations, betas)[0] + place)[0].numpy()
        shrink = LONGEST / float(views.size.max())
        width, height = (int(value * shrink) for value in views.size[0].tolist())
        focal = float(views.focal[0]) * shrink
        camera = Camera(focal, focal, width / 2, height / 2)
        colour, scene, grain = (
            sample_vertex_colours(arrays, rng),
            sample_background(height, width, rng),
            rng.uniform(0, 6),
        )
        scale = (extent(points, state < 2)[0] * shrink).tolist()
        for t in range(_FRAMES):
            image = scene.copy()
            raster.begin(height, width)
            raster.add(vertices[t], camera, 255 * colour)
            raster.blend(image)
            image = (image + rng.normal(0, grain, image.shape)).clip(0, 255).astype(np.uint8)
            truth = (points[0, t] * shrink).numpy()
            inside = truth[(state[0, t] < 2).numpy()]
            low, high = inside.min(0), inside.max(0)
            side = float((high - low).max())
            x, y = (low + high) / 2 + rng.normal(0, 0.03, 2) * side
            box = Box(float(x), float(y), max(side * rng.uniform(1.2, 1.45), 30.0))
            for name, network in networks.items():
                detected, confidence = network(image, box)
                record = records[name]
                record.detected.append(detected)
                record.truth.append(truth)
                record.confidence.append(confidence)
                record.state.append(state[0, t].numpy())
                record.scale.append(scale[t])
    return {name: record.observations() for name, record in records.items()}


def main(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    people: Annotated[int, typer.Option(help="number of rendered people")] = 240,
    output: Annotated[Path, typer.Option(help="JSON file of the tables")] = DETECTOR_NOISE_FILE,
    seed: Annotated[int, typer.Option(help="seed of people, cameras and backgrounds")] = 21,
) -> None:
    """Run the keypoint networks on rendered people and write the noise tables used in training."""
    torch.set_num_threads(1)
    rows, real = {}, {noise.name: noise.real for noise in load_noise()}
    for name, seen in measure_rendered(motion, people, seed).items():
        rows[name] = {**fit_detector_noise(seen), "real": asdict(real[name])}
        error = np.linalg.norm(seen.detected - seen.truth, axis=-1) / seen.scale[..., None]
        used = (seen.state == 0) & (seen.confidence > 0.3)
        middle, tail = np.quantile(error[used], [0.5, 0.9])
        right, down = np.median(((seen.detected - seen.truth) / seen.scale[..., None, None])[used], 0)
        print(
            f"{name}: {len(seen.truth)} windows, confident visible keypoints off by {middle:.4f} (p90 {tail:.4f}) of extent, "
            f"{right:+.4f} to the right and {down:+.4f} down in the median"
        )
    write_text_atomically(output, json.dumps({"detectors": rows}) + "\n")


if __name__ == "__main__":
    run_command(
        main,
        examples="Example: python -m training.noise_measurement.detector --motion motion.npz --output out/detector_noise.json",
    )
