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

Rendering takes a quarter of a second to a second of a core for every window. People whose pixels nobody needs are simulated a
thousand times faster, as those of the shipped networks are; with ``--motion`` instead of ``--data`` the variants without
pixels learn from many more:

    python -m training.ablation train --motion FOLDER --steps 10 --runs runs/simulated
    python -m training.ablation test --motion FOLDER --runs runs/simulated --moving MOCAP.npz --film VIDEO ...
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import torch
import typer

from body.lbs_torch import TorchBody
from body.model import load_body
from common.errors import exit_with_one_line
from common.files import write_atomically, write_text_atomically
from common.npz import read_npz
from training.ablation.errors import (
    ConstantRegressor,
    NetworkErrors,
    Regressor,
    evaluate_clips,
    evaluate_moving,
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
from training.ablation.simulated import simulate_windows
from training.evaluation.mocap_reference import MocapReference, mocap_reference
from training.evaluation.reference import load_reference
from training.networks.lifter import Lifter
from training.networks.lifter_config import LifterConfig
from training.synth.dataset import Windows, load_windows
from training.synth.windows import FRAMES

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
_TESTED: Final = 400
"""Simulated windows that networks are tested on."""
_AVERAGED: Final = 1000
"""Simulated windows whose mean body is the constant prediction."""
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
Data = Annotated[Path | None, typer.Option(help="folder of pairs and windows made by training.synth")]
MotionFolder = Annotated[
    Path | None, typer.Option(help="instead of --data: packed motion, people are simulated without pixels")
]
Runs = Annotated[Path, typer.Option(help="folder of the trained networks and their errors")]


def _once(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The state stored at ``path``; made and written atomically where it does not exist yet."""
    if not path.exists():
        made = make()
        with write_atomically(path) as file:
            torch.save(made, file)
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


def _trained_encoder(runs: Path, name: str, frames: Windows, schedule: Schedule, bfloat16: bool) -> FieldEncoder:
    width = _SMALL.encoding
    state = _once(
        runs / f"encoder-{name}.pt",
        lambda: {"network": train_encoder(name, width, 0, frames, schedule, bfloat16).state_dict()},
    )
    encoder = new_encoder(name, width)
    encoder.load_state_dict(state["network"])
    return encoder.eval()


@dataclass(frozen=True, slots=True)
class _People:
    """Where the synthetic people come from: either folder is None."""

    data: Path | None
    """Folder of rendered ones."""
    motion: Path | None
    """Packed motion of simulated ones."""
    count: int
    """Number of simulated windows, and of pairs four times as many."""

    def __post_init__(self) -> None:
        if (self.data is None) == (self.motion is None):
            raise typer.BadParameter("name either --data, rendered people, or --motion, simulated ones")

    def check(self, variants: Sequence[str]) -> None:
        """Raise `typer.BadParameter` where one of ``variants`` reads pixels that simulated people do not have."""
        if self.motion is not None and (blind := [name for name in variants if VARIANTS[name].image]):
            raise typer.BadParameter(f"simulated people have no pixels for {', '.join(blind)}: choose other --variants")

    def frames(self, pixels: bool) -> Windows:
        """Single frames of many people, for encoders."""
        if self.motion is not None:
            return simulate_windows(self.motion, "train", 4 * self.count, 1, seed=1)
        assert self.data is not None
        return load_windows(self.data, "train", _fields(pixels), kind="pairs").frames()

    def windows(self, split: str, pixels: bool) -> Windows:
        """Windows for regressors (``train``) or for scores (``val``)."""
        if self.motion is not None:
            return simulate_windows(self.motion, split, self.count if split == "train" else _TESTED, FRAMES)
        assert self.data is not None
        return load_windows(self.data, split, _fields(pixels))


def _fields(pixels: bool) -> set[str]:
    return _FIELDS | ({"rgb"} if pixels else set())


@app.command()
def train(
    data: Data = None,
    motion: MotionFolder = None,
    runs: Runs = _RUNS,
    steps: Annotated[float, typer.Option(help="factor on the number of optimiser steps of every stage")] = 1.0,
    seeds: Annotated[int, typer.Option(help="number of seeds of each variant")] = 2,
    variants: Annotated[str, typer.Option(help="names of variants, separated by commas")] = ",".join(VARIANTS),
    threads: Annotated[int, typer.Option(help="CPU threads (0: all)")] = 0,
    people: Annotated[int, typer.Option(help="number of simulated windows, with --motion")] = 10_000,
    bfloat16: Annotated[
        bool, typer.Option("--bfloat16", help="train encoders in bfloat16: faster on CPUs with AMX or AVX-512 BF16")
    ] = False,
) -> None:
    """Train every encoder, variant and seed that does not exist yet."""
    if threads:
        torch.set_num_threads(threads)
    chosen = variants.split(",")
    unknown = [name for name in chosen if name not in VARIANTS]
    if unknown:
        raise typer.BadParameter(f"there is no variant {', '.join(unknown)}: choose from {', '.join(VARIANTS)}")
    source = _People(data, motion, people)
    source.check(chosen)
    runs.mkdir(parents=True, exist_ok=True)
    schedule = Schedule().times(steps)
    missing = [(seed, name) for seed in range(seeds) for name in chosen if not (runs / f"{name}-{seed}.pt").exists()]
    needed = sorted({encoder for _, name in missing for encoder in encoders_of(VARIANTS[name]).values()})
    pixels = "image" in needed
    encoders: dict[str, FieldEncoder] = {}
    if needed:
        frames = source.frames(pixels)
        encoders = {name: _trained_encoder(runs, name, frames, schedule, bfloat16) for name in needed}
        del frames
    windows = source.windows("train", pixels)
    encoded = {name: encode_windows(encoder, windows, 0) for name, encoder in encoders.items()}
    shown = EncodedWindows(windows.without("rgb"), encoded)
    for seed, name in missing:
        config = VARIANTS[name]
        network = train_regressor(config, seed, encoders, shown, schedule, name)
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


def _observed_mover(moving: Path | None, film: Path | None) -> tuple[MocapReference | None, list[RealClip]]:
    """The motion capture ``moving`` and what is seen in the video ``film`` of it, if there are any."""
    if moving is None or film is None:
        if moving is not film:
            raise typer.BadParameter("--moving needs the video it was captured with: name it with --film")
        return None, []
    with exit_with_one_line(ValueError):
        arrays = read_npz(moving)
        return mocap_reference(moving, arrays), observe_video(film, float(arrays["camera_K"][0, 0]))


@app.command("test")
def evaluate_networks(
    data: Data = None,
    motion: MotionFolder = None,
    runs: Runs = _RUNS,
    reference: Annotated[
        Path | None, typer.Option(help="multi-camera reference, format: see training.evaluation.reference")
    ] = None,
    camera: Annotated[list[Path] | None, typer.Option(help="the reference's videos, camera 0 first")] = None,
    moving: Annotated[
        Path | None,
        typer.Option(help="motion capture of somebody who moves, format: see training.evaluation.mocap_reference"),
    ] = None,
    film: Annotated[Path | None, typer.Option(help="the video of --moving")] = None,
    clip: Annotated[list[Path] | None, typer.Option(help="other real videos")] = None,
    max_frames: Annotated[
        int, typer.Option("--most", help="largest number of frames of each of the other videos")
    ] = 240,
) -> None:
    """Evaluate every trained network and a constant prediction; writes errors.json into the folder of runs."""
    body = TorchBody(load_body())
    source = _People(data, motion, _AVERAGED)
    mover, mover_clips = _observed_mover(moving, film)
    windows = source.windows("val", pixels=True)
    truth = None if reference is None else load_reference(reference)
    reference_clips: list[list[RealClip]] = []
    if truth is not None:
        reference_clips = [
            observe_video(path, float(truth.matrices[number, 0, 0])) for number, path in enumerate(camera or [])
        ]
    others = [found for path in clip or [] for found in observe_video(path, max_frames=max_frames)]
    results: list[NetworkErrors] = []
    for name, seed, network in [
        (BASELINE, 0, ConstantRegressor(source.windows("train", pixels=False), body)),
        *_trained(runs),
    ]:
        errors = evaluate_synthetic(NetworkErrors(name, seed), network, windows, body)
        if truth is not None and any(reference_clips):
            errors = evaluate_reference(errors, network, reference_clips, truth, body)
        if mover is not None:
            errors = evaluate_moving(errors, network, mover_clips, mover, body)
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
