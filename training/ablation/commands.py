"""What each input is worth: the same network, people and training budget with different inputs.

    python -m training.synth --kind pairs --split train --motion FOLDER --shards 0-19 --samples 250 --output DIR
    python -m training.synth --kind windows --split train --motion FOLDER --shards 0-23 --output DIR
    python -m training.synth --kind windows --split val --motion FOLDER --shards 0-7 --output DIR
    python -m training.ablation train --data DIR                # every variant and seed; resumes where it stopped
    python -m training.ablation test --data DIR --reference REFERENCE.npz --camera CAMERA_0.mp4 ... --clip VIDEO ...
    python -m training.ablation report                          # prints the tables and draws the plot

The variants read pixels, flow, keypoints of single frames, keypoint motion, or keypoint motion with pixels or flow; the
flow with or without compensation of the camera's motion. All are trained on the same rendered people: crops of the
tracker's region, flow by the real-time estimator, detections with the measured noise. They are tested on unseen
synthetic subjects and on real video: against a multi-camera reference, and by reprojection error and smoothness. The
networks are small and trained briefly: differences between variants are meaningful, absolute errors are not.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer

from body.lbs_torch import TorchBody
from body.model import load_body
from common.files import write_atomically, write_text_atomically
from training.ablation.errors import (
    ConstantRegressor,
    NetworkErrors,
    Regressor,
    evaluate_clips,
    evaluate_reference,
    evaluate_synthetic,
)
from training.ablation.fitting import (
    EncodedWindows,
    FieldEncoder,
    Schedule,
    encode_windows,
    encoders_of,
    new_encoder,
    train_encoder,
    train_regressor,
)
from training.ablation.real_clips import RealClip, observe_video
from training.evaluation.reference import load_reference
from training.networks.lifter import Lifter
from training.networks.lifter_config import LifterConfig
from training.synth.dataset import Windows, load_windows

_SMALL: Final = LifterConfig(width=256, blocks=2, memory=192, encoding=128, residual=True)
VARIANTS: Final[dict[str, LifterConfig]] = {
    "rgb": replace(_SMALL, keypoints=False, flow=False, image=True),
    "flow": replace(_SMALL, keypoints=False),
    "flow_raw": replace(_SMALL, keypoints=False, compensation="none"),
    "keypoints": replace(_SMALL, flow=False, motion=False),
    "keypoint_motion": replace(_SMALL, flow=False),
    "keypoint_motion_rgb": replace(_SMALL, flow=False, image=True),
    "keypoint_motion_flow": _SMALL,
    "keypoint_motion_flow_raw": replace(_SMALL, compensation="none"),
}
"""Inputs of each variant. Those called raw keep the camera's own motion in the flow."""
BASELINE: Final = "nothing"
"""Name of the constant prediction among the results."""
_RUNS: Final = Path("runs/ablation")
_FIELDS: Final = {
    *("points", "confidence", "camera", "true_camera", "dt", "flow", "box", "extent", "state"),
    *("rotations", "betas", "joints", "coco", "pelvis"),
}

_HELP: Final = (
    "What each input is worth: the same network, people and training budget with different inputs. "
    "Run train, then test, then report; the data are pairs and windows made by training.synth."
)
app = typer.Typer(
    help=_HELP,
    epilog="Example: python -m training.ablation report --runs runs/ablation",
    add_completion=False,
    pretty_exceptions_enable=False,
)
Data = Annotated[Path, typer.Option(help="folder of pairs and windows made by training.synth")]
Runs = Annotated[Path, typer.Option(help="folder of the trained networks and their errors")]


def _once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The state stored at ``path``; made and written atomically where it does not exist yet."""
    if not path.exists():
        made = make()
        with write_atomically(path) as file:
            torch.save(made, file)
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


def _trained_encoder(runs: Path, name: str, frames: Windows, schedule: Schedule) -> FieldEncoder:
    width = _SMALL.encoding
    state = _once(
        runs / f"encoder-{name}.pt", lambda: {"network": train_encoder(name, width, 0, frames, schedule).state_dict()}
    )
    encoder = new_encoder(name, width)
    encoder.load_state_dict(state["network"])
    return encoder.eval()


@app.command()
def train(
    data: Data,
    runs: Runs = _RUNS,
    steps: Annotated[float, typer.Option(help="factor on the number of optimiser steps of every stage")] = 1.0,
    seeds: Annotated[int, typer.Option(help="number of seeds of each variant")] = 2,
    variants: Annotated[str, typer.Option(help="names of variants, separated by commas")] = ",".join(VARIANTS),
    threads: Annotated[int, typer.Option(help="CPU threads (0: all)")] = 0,
) -> None:
    """Train every encoder, variant and seed that does not exist yet."""
    if threads:
        torch.set_num_threads(threads)
    chosen = variants.split(",")
    unknown = [name for name in chosen if name not in VARIANTS]
    if unknown:
        raise typer.BadParameter(f"there is no variant {', '.join(unknown)}: choose from {', '.join(VARIANTS)}")
    runs.mkdir(parents=True, exist_ok=True)
    schedule = Schedule().times(steps)
    missing = [(seed, name) for seed in range(seeds) for name in chosen if not (runs / f"{name}-{seed}.pt").exists()]
    needed = sorted({encoder for _, name in missing for encoder in encoders_of(VARIANTS[name]).values()})
    fields = _FIELDS | ({"rgb"} if "image" in needed else set())
    windows = load_windows(data, "train", fields)
    encoders: dict[str, FieldEncoder] = {}
    if needed:
        pairs = load_windows(data, "train", fields, kind="pairs").frames()
        encoders = {name: _trained_encoder(runs, name, pairs, schedule) for name in needed}
    encoded = {name: encode_windows(encoder, windows, 0) for name, encoder in encoders.items()}
    people = EncodedWindows(windows.without("rgb"), encoded)
    for seed, name in missing:
        config = VARIANTS[name]
        network = train_regressor(config, seed, encoders, people, schedule, name)
        state = {"config": config.to_dict(), "network": network.state_dict()}
        _once(runs / f"{name}-{seed}.pt", lambda state=state: state)  # type: ignore[misc]


def _trained(runs: Path) -> Iterator[tuple[str, int, Regressor]]:
    """Variant, seed and network of everything that was trained."""
    for name in VARIANTS:
        for path in sorted(runs.glob(f"{name}-[0-9]*.pt")):
            saved = torch.load(path, weights_only=True)
            network = Lifter(LifterConfig(**saved["config"])).eval()
            network.load_state_dict(saved["network"])
            yield name, int(path.stem.rpartition("-")[2]), network


@app.command("test")
def evaluate_networks(
    data: Data,
    runs: Runs = _RUNS,
    reference: Annotated[
        Path | None, typer.Option(help="multi-camera reference, format: see training.evaluation.reference")
    ] = None,
    camera: Annotated[list[Path] | None, typer.Option(help="the reference's videos, camera 0 first")] = None,
    clip: Annotated[list[Path] | None, typer.Option(help="other real videos")] = None,
    max_frames: Annotated[
        int, typer.Option("--most", help="largest number of frames of each of the other videos")
    ] = 240,
) -> None:
    """Evaluate every trained network and a constant prediction; writes errors.json into the folder of runs."""
    body = TorchBody(load_body())
    windows = load_windows(data, "val", _FIELDS | {"rgb"})
    truth = None if reference is None else load_reference(reference)
    reference_clips: list[list[RealClip]] = []
    if truth is not None:
        reference_clips = [
            observe_video(path, float(truth.matrices[number, 0, 0])) for number, path in enumerate(camera or [])
        ]
    others = [found for path in clip or [] for found in observe_video(path, max_frames=max_frames)]
    results: list[NetworkErrors] = []
    for name, seed, network in [
        (BASELINE, 0, ConstantRegressor(load_windows(data, "train", _FIELDS), body)),
        *_trained(runs),
    ]:
        errors = evaluate_synthetic(NetworkErrors(name, seed), network, windows, body)
        if truth is not None and any(reference_clips):
            errors = evaluate_reference(errors, network, reference_clips, truth, body)
        if others:
            errors = evaluate_clips(errors, network, others, body)
        results.append(errors)
        print(errors, flush=True)
    write_text_atomically(runs / "errors.json", json.dumps([asdict(errors) for errors in results], indent=1) + "\n")


@app.command()
def report(
    runs: Runs = _RUNS,
    plot: Annotated[Path, typer.Option(help="image file of the plot")] = Path("docs/results/sim2real.png"),
) -> None:
    """Print the tables of all evaluated networks in Markdown (mean ± half the range over seeds), and draw the plot."""
    from training.ablation.report import draw_plot, markdown_tables

    results = [NetworkErrors(**row) for row in json.loads((runs / "errors.json").read_text())]
    print(markdown_tables(results))
    draw_plot(results, plot)
