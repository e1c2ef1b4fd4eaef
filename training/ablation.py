"""What motion is worth: the same network, people and budget, with different things to look at.

    python -m training.synthesize --kind windows --split train --motion FOLDER --shards 0-19 --samples 50 --output DIR
    python -m training.synthesize --kind windows --split val --motion FOLDER --shards 0-3 --samples 50 --output DIR
    python -m training.ablation train --data DIR                       # every variant and seed; goes on where it stopped
    python -m training.ablation test --data DIR --reference REFERENCE.npz --camera CAMERA_0.mp4 ... --clip VIDEO ...
    python -m training.ablation report                                  # docs/sim2real.md's tables and plot

Variants read pixels, flow, keypoints frame by frame, keypoints in motion, or keypoints in motion and flow. They are
trained on the same rendered windows: real crops of the region that the tracker cuts, flow by the live engine, detections
with the measured noise. They are tested on unseen synthetic subjects, and on real video: against a multi-camera
reference, and by how the body's keypoints lie on the detections and how steadily it moves. Small networks, trained
briefly: the differences count, not the level.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import typer
from torch import Tensor

from body.joints import COCO_NAMES, JOINT_NAMES
from body.lbs_torch import TorchBody
from body.model import load_body
from realtime.motion_file import Motion
from realtime.placement import place_in_view
from realtime.records import Keypoints
from training.batches import Batch
from training.evaluate import WARM_UP, score
from training.evaluate_reference import Comparison, compare, load_reference, together
from training.losses import LossWeights, regression_loss
from training.metrics import mean_of_known
from training.networks.inputs import Observation
from training.networks.lifter import Lifted, Lifter, LifterConfig
from training.real_clips import RealClip, watch
from training.synth.dataset import Windows, load_windows

_SMALL: Final = LifterConfig(width=256, blocks=2, memory=192, encoding=96)
VARIANTS: Final[dict[str, LifterConfig]] = {
    "rgb": replace(_SMALL, keypoints=False, flow=False, image=True),
    "flow": replace(_SMALL, keypoints=False),
    "keypoints": replace(_SMALL, flow=False, motion=False),
    "keypoint_motion": replace(_SMALL, flow=False),
    "keypoint_motion_flow": _SMALL,
    "keypoint_motion_flow_raw": replace(_SMALL, compensation="none"),
}
"""What each variant looks at. The last one leaves the camera's own motion in the flow."""
RUNS: Final = Path("runs/ablation")
_FIELDS: Final = {
    *("points", "confidence", "camera", "true_camera", "dt", "flow", "box", "extent", "state"),
    *("rotations", "betas", "joints", "coco", "pelvis"),
}
_CONFIDENT: Final = 0.4
_FAST: Final = 1.5  # m/s about the pelvis: what counts as fast motion of a limb
_LIMBS: Final = [i for i, name in enumerate(COCO_NAMES) if name.split("_")[-1] in ("elbow", "wrist", "knee", "ankle")]
_LIMB_JOINTS: Final = [JOINT_NAMES.index(COCO_NAMES[i]) for i in _LIMBS]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One trained network's errors: mm, m/s², and shares of the person's box height. NaN where not tested.

    ``synthetic_hidden`` and ``synthetic_fast``: of elbows, wrists, knees and ankles whose keypoint is hidden, or that move
    fast, after moving the pelvis together.
    """

    variant: str
    seed: int
    synthetic_pa: float
    synthetic_mpjpe: float
    synthetic_acceleration: float
    synthetic_hidden: float
    synthetic_fast: float
    real_pa: float = float("nan")
    real_rooted: float = float("nan")
    real_reprojection: float = float("nan")
    real_acceleration: float = float("nan")


def batch_of(windows: Windows, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Batch:
    """Some windows as the record that losses and scores read."""
    part = {name: torch.from_numpy(np.asarray(values)) for name, values in windows.take(rows).items()}
    batch, length = part["dt"].shape
    camera = part["camera"][:, None].expand(batch, length, 4)
    image = part["rgb"].permute(0, 1, 4, 2, 3).float() / 255 if "rgb" in part else None
    valid = torch.ones(batch, length)
    flow, box = part["flow"].float(), part["box"].float()
    seen = Observation(part["points"], part["confidence"], camera, part["dt"], flow, box, valid, image)
    size = part["extent"] / part["true_camera"][:, :1]
    contact = torch.zeros(batch, length, 2)
    return Batch(seen, part["rotations"], part["betas"], part["joints"], part["coco"], part["pelvis"], size, contact)


def fit(name: str, seed: int, windows: Windows, steps: int, batch: int = 16, rate: float = 1e-3) -> Lifter:
    """Train one variant. Data order depends on the seed alone: every variant sees the same windows at the same step."""
    torch.manual_seed(seed)
    network = Lifter(VARIANTS[name])
    body, order = TorchBody(load_body()), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.05)
    weights = LossWeights(contact=0.0)
    network.train()
    for step in range(steps):
        sample = batch_of(windows, order.integers(0, len(windows), batch))
        if sample.seen.image is not None:
            sample = replace(sample, seen=replace(sample.seen, image=_relit(sample.seen.image)))
        lifted = network(sample.seen, network.start_state(batch))
        joints, coco = body.skeleton(lifted.rotations, lifted.betas)
        loss, terms = regression_loss(lifted, joints, coco, sample, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 199:
            print(
                f"{name} seed {seed}: step {step + 1}/{steps}, joints off by {terms['joints'] * 1000:.0f} mm",
                flush=True,
            )
    return network.eval()


def _relit(image: Tensor) -> Tensor:
    """Random exposure and white balance of each window: pixels get the usual augmentation."""
    gain = torch.exp(torch.randn(len(image), 1, 3, 1, 1) * 0.15 + torch.randn(len(image), 1, 1, 1, 1) * 0.3)
    return (image * gain).clamp(0, 1)


@torch.no_grad()
def on_synthetic(network: Lifter, windows: Windows, body: TorchBody) -> tuple[float, float, float, float, float]:
    """PA-MPJPE and MPJPE, mm, acceleration error, m/s² at 30 fps, and the errors of hidden and of fast limbs, mm (see
    `Outcome`), on windows of unseen subjects."""
    parts, hidden, fast = [], [], []
    for start in range(0, len(windows), 64):
        rows = np.arange(start, min(start + 64, len(windows)))
        sample = batch_of(windows, rows)
        lifted = network(sample.seen, network.start_state(len(rows)))
        parts.append(score(lifted, body, sample) * len(rows))
        joints, _ = body.skeleton(lifted.rotations, lifted.betas)
        limbs, truth = joints[:, WARM_UP:, _LIMB_JOINTS], sample.joints[:, WARM_UP - 1 :, _LIMB_JOINTS]
        error = (limbs - truth[:, 1:]).norm(dim=-1) * 1000
        speed = (truth[:, 1:] - truth[:, :-1]).norm(dim=-1) / sample.seen.dt[:, WARM_UP:, None]
        state = torch.from_numpy(windows.take(rows)["state"])[:, WARM_UP:, _LIMBS]
        hidden.append(error[state == 1])
        fast.append(error[(speed > _FAST) & (state < 2)])
    pa, mpjpe, acceleration, _ = (torch.stack(parts).sum(0) / len(windows)).tolist()
    return pa, mpjpe, acceleration, float(torch.cat(hidden).mean()), float(torch.cat(fast).mean())


@torch.no_grad()
def _lift(network: Lifter, clip: RealClip, body: TorchBody) -> tuple[Lifted, Tensor, Tensor]:
    """The answer for a real clip, its joints (T, 24, 3) and COCO points (T, 17, 3) relative to the pelvis, m."""
    lifted = network(clip.seen, network.start_state(1))
    joints, coco = body.skeleton(lifted.rotations, lifted.betas)
    return lifted, joints[0], coco[0]


def on_reference(network: Lifter, clips: list[RealClip], camera: int, reference: Path, body: TorchBody) -> Comparison:
    """Errors against what several cameras measured, of the ``clips`` that were filmed by one of them."""
    rows: dict[str, list[np.ndarray[Any, Any]]] = {"frame": [], "joints": [], "points": [], "confidence": []}
    for clip in clips:
        lifted, joints, _ = _lift(network, clip, body)
        rows["frame"].append(clip.frames)
        rows["joints"].append((joints + lifted.pelvis[0, :, None]).numpy())
        rows["points"].append(clip.seen.points[0].numpy())
        rows["confidence"].append(clip.seen.confidence[0].numpy())
    merged = {name: np.concatenate(parts) for name, parts in rows.items()}
    count = len(merged["frame"])

    def zeros(*shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.zeros((count, *shape), np.float32)

    motion = Motion(
        merged["frame"],
        merged["frame"] / clips[0].fps,
        np.zeros(count, np.int64),
        merged["joints"].astype(np.float32),
        zeros(24, 2),
        merged["points"],
        merged["confidence"],
        zeros(3),
        zeros(23, 3),
        zeros(10),
        zeros(3),
        clips[0].camera.matrix,
        clips[0].fps,
        clips[0].name,
        "",
        1,
    )
    return compare(load_reference(reference), camera, motion)


def on_clip(network: Lifter, clip: RealClip, body: TorchBody) -> tuple[float, float]:
    """Mean distance of the body's keypoints from confident detections, as a share of the box height, and the mean
    acceleration of the joints about the pelvis in m/s². The translation is fitted to the detections, as live."""
    lifted, joints, coco = _lift(network, clip, body)
    camera, shares = clip.camera, []
    for t in range(len(clip.frames)):
        points, confidence = clip.seen.points[0, t].numpy(), clip.seen.confidence[0, t].numpy()
        sure = confidence > _CONFIDENT
        if sure.sum() < 4:
            continue
        mine = coco[t].numpy()
        place = place_in_view(mine, Keypoints(0, 0, points, confidence), camera, lifted.pelvis[0, t].numpy())
        drawn = (mine + place)[:, :2] / (mine + place)[:, 2:] * [camera.fx, camera.fy] + [camera.cx, camera.cy]
        height = max(float(np.ptp(points[sure, 1])), 1.0)
        shares.append(np.linalg.norm(drawn - points, axis=1)[sure].mean() / height)
    about = joints - joints[:, JOINT_NAMES.index("pelvis"), None]
    shake = (about[2:] - 2 * about[1:-1] + about[:-2]).norm(dim=-1).mean() * clip.fps**2
    return float(np.mean(shares)) if shares else float("nan"), float(shake)


app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)
Data = Annotated[Path, typer.Option(help="folder of windows made by training.synthesize")]
Runs = Annotated[Path, typer.Option(help="folder of the trained networks and their errors")]


@app.command()
def train(
    data: Data,
    runs: Runs = RUNS,
    steps: Annotated[int, typer.Option(help="optimiser steps of every network")] = 1200,
    batch: Annotated[int, typer.Option(help="windows of a step")] = 16,
    seeds: Annotated[int, typer.Option(help="networks of each variant")] = 2,
    variants: Annotated[str, typer.Option(help="names, separated by commas")] = ",".join(VARIANTS),
    threads: Annotated[int, typer.Option(help="CPU threads (0: all)")] = 0,
) -> None:
    """Train every variant and seed that is not there yet."""
    if threads:
        torch.set_num_threads(threads)
    chosen = variants.split(",")
    unknown = [name for name in chosen if name not in VARIANTS]
    if unknown:
        raise typer.BadParameter(f"there is no variant {', '.join(unknown)}: choose from {', '.join(VARIANTS)}")
    runs.mkdir(parents=True, exist_ok=True)
    pixels = any(VARIANTS[name].image for name in chosen)
    windows = load_windows(data, "train", _FIELDS | ({"rgb"} if pixels else set()))
    for seed in range(seeds):
        for name in chosen:
            path = runs / f"{name}-{seed}.pt"
            if path.exists():
                continue
            network = fit(name, seed, windows, steps, batch)
            part = path.with_suffix(".part")
            torch.save({"config": VARIANTS[name].to_dict(), "network": network.state_dict(), "steps": steps}, part)
            part.replace(path)


@app.command("test")
def errors_of_all(
    data: Data,
    runs: Runs = RUNS,
    reference: Annotated[
        Path | None, typer.Option(help="multi-camera reference, see training.evaluate_reference")
    ] = None,
    camera: Annotated[list[Path] | None, typer.Option(help="the reference's videos, camera 0 first")] = None,
    clip: Annotated[list[Path] | None, typer.Option(help="other real videos")] = None,
    most: Annotated[int, typer.Option(help="frames of each of the other videos")] = 240,
) -> None:
    """Test every trained network; writes errors.json into the folder of runs."""
    body = TorchBody(load_body())
    windows = load_windows(data, "val", _FIELDS | {"rgb"})
    filmed: list[list[RealClip]] = []
    if reference is not None and camera:
        truth = load_reference(reference)
        filmed = [watch(path, float(truth.matrices[number, 0, 0])) for number, path in enumerate(camera)]
    others = [found for path in clip or [] for found in watch(path, most=most)]
    outcomes = []
    for path in sorted(runs.glob("*.pt")):
        saved = torch.load(path, weights_only=True)
        network = Lifter(LifterConfig(**saved["config"])).eval()
        network.load_state_dict(saved["network"])
        name, _, seed = path.stem.rpartition("-")
        outcome = Outcome(name, int(seed), *on_synthetic(network, windows, body))
        if reference is not None and any(filmed):
            errors = together(
                [on_reference(network, part, number, reference, body) for number, part in enumerate(filmed) if part]
            )
            rooted = errors.rooted["shoulder" if "shoulder" in errors.rooted else "hip"]
            outcome = replace(outcome, real_pa=mean_of_known(errors.pa), real_rooted=mean_of_known(rooted))
        if others:
            rows = np.array([on_clip(network, found, body) for found in others])
            length = np.array([len(found.frames) for found in others], np.float64)
            shares, shake = (rows * length[:, None]).sum(0) / length.sum()
            outcome = replace(outcome, real_reprojection=float(shares), real_acceleration=float(shake))
        outcomes.append(outcome)
        print(outcome, flush=True)
    (runs / "errors.json").write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")


@app.command()
def report(
    runs: Runs = RUNS,
    plot: Annotated[Path, typer.Option(help="where the plot goes")] = Path("docs/sim2real.png"),
) -> None:
    """Print the table of all tested networks (mean and range over seeds) in Markdown, and draw the plot."""
    from training.ablation_report import draw, markdown

    outcomes = [Outcome(**row) for row in json.loads((runs / "errors.json").read_text())]
    print(markdown(outcomes))
    draw(outcomes, plot)


if __name__ == "__main__":
    app()
