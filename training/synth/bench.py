"""Throughput of rendering.

    python -m training.synth.bench --motion FOLDER

Measured in processor seconds of one core, from sampling motion to finished arrays, without compilation and loading.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer

from body.lbs_torch import TorchBody
from body.model import load_body
from common.command_line import run_command
from training.motion.bank import MotionBank
from training.motion.opening import open_clips
from training.simulation.detector_noise import NoiseSampler, load_noise
from training.synth.frames import FRAMES_FPS, SCENE, full_viewport, generate_frames, generate_motion
from training.synth.render import Renderer, Sensor
from training.synth.scene import SceneSampler
from training.synth.windows import FRAMES, generate_windows


def render_images(maker: SceneSampler, noise: NoiseSampler, rng: np.random.Generator, count: int) -> None:
    """Render ``count`` full textured images, 640 px on the longer side, with the sensor model; nothing is stored."""
    del noise
    done = 0
    while done < count:
        for scene in maker.sample(8, SCENE, FRAMES_FPS):
            renderer, sensor = Renderer(scene), Sensor.sample(rng)
            for frame in range(SCENE):
                sensor(renderer.render(frame, full_viewport(renderer)[0]), rng)
                done += 1


def _exhaust(draw: Callable[..., object]) -> Callable[..., None]:
    def run(maker: SceneSampler, noise: NoiseSampler, rng: np.random.Generator, count: int) -> None:
        for _ in draw(maker, noise, rng, count):  # type: ignore[attr-defined]
            pass

    return run


def memory_mb() -> float:
    """Peak memory of this process, MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def main(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    seconds: Annotated[float, typer.Option(help="about how long each row is measured")] = 8.0,
) -> None:
    """Print frames per second per core and peak memory of every kind of sample."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    clips = open_clips(motion, "train")
    rows: list[tuple[str, str, Callable[..., None], int]] = [
        ("motion only, 128²: exact flow, silhouette, keypoints", "body_1722", _exhaust(generate_motion), 1),
        ("the same of the full body", "body_6890", _exhaust(generate_motion), 1),
        ("textured images, 640 px", "body_6890", render_images, 1),
        ("frames kind, all labels, encoded", "body_6890", _exhaust(generate_frames), 1),
        ("windows kind: crop, DIS flow, exact flow, detections", "body_6890", _exhaust(generate_windows), FRAMES),
    ]
    print(f"{'what':55s} {'body':10s} {'frames/s/core':>13s} {'peak MB':>8s}")
    for name, model, work, frames in rows:
        arrays = load_body(model)
        maker = SceneSampler(MotionBank(clips, seed=1), arrays, TorchBody(arrays), 2)
        noise, rng = NoiseSampler(load_noise(), 3), np.random.default_rng(4)
        work(maker, noise, rng, 4)  # compiles the kernels and renders the wall textures
        count, spent, size = 0, 0.0, 16
        while spent < seconds:
            start = time.process_time()
            work(maker, noise, rng, size)
            spent += time.process_time() - start
            count += size
            size = max(int(count / spent * (seconds - spent)), 1)
        print(f"{name:55s} {model:10s} {count * frames / spent:13.0f} {memory_mb():8.0f}", flush=True)


if __name__ == "__main__":
    run_command(main, examples="Example: python -m training.synth.bench --motion motion.npz")
