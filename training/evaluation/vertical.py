"""The errors of the network's ``up``, which the world stage corrects: ``python -m training.evaluation vertical``.

Windows of simulated people before the cameras of training; one line a group of windows.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from body.lbs_torch import TorchBody
from body.model import load_body
from common.arrays import BoolArray, DoubleArray
from realtime.networks import Networks
from realtime.options import Options
from realtime.stages.world.vertical import pitch_and_roll
from training.motion.bank import NONE, MotionBank
from training.motion.opening import open_clips
from training.simulation.batches import Batch, BatchMaker, FlowSource
from training.simulation.detector_noise import NoiseSampler, load_noise
from training.simulation.flow_grid import FlowGrid
from training.simulation.flow_noise import FlowDegrader, load_flow_noise

_FRAMES, _WARM_UP, _FPS = 60, 15, 30.0
_BATCH: Final = 64
_STATE: Final = "state"
_STEEP: Final = math.radians(60)  # windows with a steeper or more rotated camera are left out of the fit of roll


def answers(batch: Batch, networks: Networks, regressor: str) -> tuple[DoubleArray, DoubleArray]:
    """The network's up (B, T, 3) and its deviation (B, T), radians."""
    engine = networks.open(regressor, None)
    size = next(spec for spec in engine.inputs if spec.name == _STATE).shape[-1]
    seen, state = batch.seen, np.zeros((len(batch.betas), size), np.float32)
    ups, sigmas = [], []
    for t in range(seen.dt.shape[1]):
        feeds = {
            name: getattr(seen, name)[:, t].numpy().astype(np.float32)
            for name in ("points", "confidence", "camera", "dt", "flow", "box", "flow_valid")
        }
        wanted = {spec.name for spec in engine.inputs}
        out = engine.infer({name: value for name, value in {**feeds, _STATE: state}.items() if name in wanted})
        state = out["next_state"]
        ups.append(out["up"])
        sigmas.append(out["up_sigma"].reshape(-1))
    return np.stack(ups, 1).astype(np.float64), np.stack(sigmas, 1).astype(np.float64)


def _angles(ups: DoubleArray) -> DoubleArray:
    """Pitch and roll (B, T, 2), degrees."""
    return np.degrees([[pitch_and_roll(up) for up in window] for window in ups])


def describe_vertical(found: DoubleArray, truth: DoubleArray, sigma: DoubleArray, rows: BoolArray) -> str:
    """One line an angle of windows ``rows`` (B,): slope over the true angle, the angle of no bias, and errors."""
    mine, theirs = _angles(found[rows]), _angles(truth[rows])
    stated = float(np.degrees(np.sqrt((sigma[rows] ** 2).mean())))
    lines = []
    for axis, name in enumerate(("pitch", "roll")):
        error = mine[..., axis] - theirs[..., axis]
        mean, true = mine[..., axis].mean(1), theirs[..., axis].mean(1)
        slope, offset = np.polyfit(true, mean, 1)
        towards = offset / (1 - slope) if abs(1 - slope) > 0.05 else float("nan")
        lines.append(
            f"| {name} | {rows.sum()} | {true.mean():.1f} ± {true.std():.1f} | {slope:.2f} | {towards:.1f} | "
            f"{np.sqrt((error**2).mean()):.1f} | {error.mean(1).std():.1f} | {error.std(1).mean():.1f} | {stated:.1f} |"
        )
    return "\n".join(lines)


def score_vertical(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    windows: Annotated[int, typer.Option(min=64, help="windows of two seconds")] = 512,
    splits: Annotated[str, typer.Option(help="of the motion, separated by commas")] = "val,val2",
    regressor: Annotated[str, typer.Option(help="a shipped regressor's name, or an .onnx file")] = "motion",
    seed: Annotated[int, typer.Option(help="of people, cameras and noise")] = 5,
) -> None:
    """Print the errors of the network's up on unseen simulated people, for the constants of the live vertical."""
    body = TorchBody(load_body())
    clips = [clip for split in splits.split(",") for clip in open_clips(motion, split)]
    flow = FlowSource(FlowGrid(), FlowDegrader(load_flow_noise(), seed + 2), dropout=0.0)
    maker = BatchMaker(MotionBank(clips, seed=seed), body, NoiseSampler(load_noise(), seed + 1, 0.0), NONE, flow=flow)
    found, truth, sigma, whole = [], [], [], []
    with Networks(Options(source="", engine="onnxruntime")) as networks:
        for _ in range(0, windows, _BATCH):
            batch = maker.draw(_BATCH, _FRAMES, _FPS)
            ups, sigmas = answers(batch, networks, regressor)
            found.append(ups[:, _WARM_UP:])
            sigma.append(sigmas[:, _WARM_UP:])
            truth.append(batch.up.numpy()[:, _WARM_UP:].astype(np.float64))
            whole.append(batch.in_full_view.numpy())
    ups, true, sigmas, full = (np.concatenate(parts) for parts in (found, truth, sigma, whole))
    flat = (np.abs(np.radians(_angles(true).mean(1))) < _STEEP).all(1)
    print(
        "| angle | windows | true ° | share left | drawn towards ° | error ° | between windows ° | within ° | stated ° |"
    )
    print("| --- |" + " --- |" * 8)
    for name, rows in (("whole person in the frame", flat & full), ("all", flat)):
        print(f"| {name} |" + " |" * 8)
        print(describe_vertical(ups, true, sigmas, rows))
