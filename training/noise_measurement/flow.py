"""Compare estimated with exact optical flow.

    python -m training.noise_measurement.flow --motion FOLDER

Renders synthetic people, runs the real-time flow estimator on the frames, and compares its field with the exact one.
Prints end-point errors by speed, and fits the model of the estimator on the 32 x 32 cells that the network reads:
`training/simulation/flow_noise.json`, from which training samples.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import torch
import typer

from body.lbs_torch import TorchBody
from body.model import load_body
from common.arrays import BoolArray, FloatArray
from common.command_line import run_command
from common.files import write_text_atomically
from engines.registry import open_engine
from realtime.records import Box
from realtime.stages.flow.crop_flow import FLOW_SIZE, CropFlow, RaftFlow
from training.motion.bank import MotionBank
from training.motion.opening import open_clips
from training.noise_measurement.fit_flow import CellPairs, fit_flow_noise
from training.simulation.detector_noise import NoiseSampler, load_noise
from training.simulation.flow_grid import CELLS
from training.simulation.flow_noise import FLOW_NOISE_FILE
from training.synth.observations import render_frames, simulate_tracking
from training.synth.render import Renderer, crop_viewport
from training.synth.scene import SceneSampler
from training.synth.windows import field_cell_means

_FRAMES, FLOW_FPS = 6, 30.0
SPEED_BINS: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, float("inf"))
"""Edges of the speed bins of the report, px of the 128 px crop per frame."""


@dataclass(frozen=True, slots=True)
class FlowPair:
    """One pair of frames in the crop of a tracked person."""

    window: int
    """Number of the window."""
    exact: FloatArray
    """(32, 32, 2) float32, exact flow of the cells, crop sides."""
    estimated: FloatArray
    """(32, 32, 2) float32, estimated flow of the cells, crop sides."""
    body: BoolArray
    """(32, 32) bool, the cell's centre lies on the person in the first frame."""
    inside: BoolArray
    """(32, 32) bool, the cell's centre lies inside the image."""
    error: FloatArray
    """(N,) end-point error, px of the 128² field, at the person's pixels that are visible in both frames."""
    speed: FloatArray
    """(N,) exact speed at the same pixels, px."""


def simulate_pairs(motion: Path, windows: int, seed: int, engine: CropFlow | None = None) -> Iterator[FlowPair]:
    """Pairs of consecutive frames of ``windows`` tracked people, with flow by ``engine`` (DIS where None)."""
    arrays = load_body()
    maker = SceneSampler(MotionBank(open_clips(motion, "train"), seed=seed), arrays, TorchBody(arrays), seed + 1)
    noise, rng = NoiseSampler(load_noise(), seed + 2), np.random.default_rng(seed + 3)
    done = 0
    while done < windows:
        renderers = [Renderer(scene) for scene in maker.sample(min(8, windows - done), _FRAMES, FLOW_FPS)]
        for renderer, found in zip(renderers, simulate_tracking(renderers, noise), strict=True):
            if found is None:
                continue
            done += 1
            for rendered in render_frames(renderer, found.boxes, 64, rng, engine):
                if rendered.flow is not None:
                    yield _compare(renderer, rendered.frame - 1, done, rendered.flow.box, rendered.flow.field)


def _compare(renderer: Renderer, frame: int, window: int, box: Box, field: FloatArray) -> FlowPair:
    scene = renderer.scene
    fine, coarse = crop_viewport(scene, box, FLOW_SIZE), crop_viewport(scene, box, CELLS)
    owner = np.append(scene.mesh.owner, -1)
    flow = renderer.flow(frame, fine)
    seen = (owner[flow.ids] == 0) & ~flow.hidden & _inside_image(renderer, box, FLOW_SIZE)
    small = renderer.flow(frame, coarse)
    return FlowPair(
        window,
        np.asarray(small.field / np.float32(CELLS)),
        field_cell_means(field),
        owner[small.ids] == 0,
        _inside_image(renderer, box, CELLS),
        np.linalg.norm(field - flow.field, axis=-1)[seen],
        np.linalg.norm(flow.field, axis=-1)[seen],
    )


def _inside_image(renderer: Renderer, box: Box, size: int) -> BoolArray:
    """(size, size) bool, which pixels of the crop lie inside the image."""
    width, height = renderer.scene.size
    line = (np.arange(size) + 0.5) / size - 0.5
    x, y = box.x + line * box.size, box.y + line * box.size
    return np.asarray(((y >= 0) & (y <= height - 1))[:, None] & ((x >= 0) & (x <= width - 1))[None])


def stack_pairs(pairs: list[FlowPair]) -> CellPairs:
    """All pairs as one record of arrays."""
    return CellPairs(
        np.stack([pair.exact for pair in pairs]),
        np.stack([pair.estimated for pair in pairs]),
        np.stack([pair.body for pair in pairs]),
        np.stack([pair.inside for pair in pairs]),
        np.array([pair.window for pair in pairs]),
    )


def error_table(pairs: list[FlowPair]) -> str:
    """End-point error of the 128² field on the person by speed, as text."""
    error, speed = np.concatenate([p.error for p in pairs]), np.concatenate([p.speed for p in pairs])
    lines = [f"end-point error on the person, px of a {FLOW_SIZE} px crop ({len(pairs)} pairs of frames)"]
    for low, high in itertools.pairwise(SPEED_BINS):
        chosen = error[(speed >= low) & (speed < high)]
        if len(chosen):
            middle, tail = np.quantile(chosen, [0.5, 0.9])
            lines.append(
                f"  speed {low:5.2f} to {high:5.2f}: mean {chosen.mean():5.2f}  median {middle:5.2f}  p90 {tail:5.2f}"
                f"  {len(chosen) / len(error):5.1%} of the pixels"
            )
    lines.append(f"  all: mean {error.mean():.2f}, of a mean motion of {speed.mean():.2f}")
    return "\n".join(lines)


def main(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    windows: Annotated[int, typer.Option(help="people rendered, six frames each")] = 300,
    output: Annotated[Path, typer.Option(help="JSON file of the fitted models")] = FLOW_NOISE_FILE,
    engine: Annotated[str, typer.Option(help="dis or raft; raft takes about a second per pair on a CPU")] = "dis",
    seed: Annotated[int, typer.Option(help="seed of people, cameras and surroundings")] = 31,
) -> None:
    """Compare a flow estimator with exact flow and write its noise model next to those of the others."""
    if engine not in ("dis", "raft"):
        raise typer.BadParameter(f"--engine is dis or raft, not {engine!r}")
    torch.set_num_threads(1)
    pairs = list(
        simulate_pairs(motion, windows, seed, RaftFlow(open_engine("raft-small")) if engine == "raft" else None)
    )
    print(error_table(pairs))
    row = {**fit_flow_noise(stack_pairs(pairs)), "pairs": len(pairs), "fps": FLOW_FPS, "crop": FLOW_SIZE}
    for name, value in row.items():
        print(f"{name:14s} {value}")
    known = json.loads(output.read_text())["engines"] if output.exists() else {}
    write_text_atomically(output, json.dumps({"engines": {**known, engine: row}}, indent=1) + "\n")
    print(f"{output.name}: sha256 {hashlib.sha256(output.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    run_command(
        main,
        examples="Example: python -m training.noise_measurement.flow --motion motion.npz --output out/flow_noise.json",
    )
