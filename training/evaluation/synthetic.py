"""Score a regressor on people it has never seen: python -m training.evaluation synthetic --motion FOLDER --checkpoint FILE

Unseen subjects move before random cameras and the measured detector noise is laid over them. Errors are of 14 joints
(ankles, knees, hips, wrists, elbows, shoulders, neck, head); MPJPE after moving the middle of the hips together,
PA-MPJPE after the best similarity of each frame. The first `UNSCORED` frames of a window are left out: a live stream is
past them. Further scores are of those windows in which the whole person is in the frame (many cameras see only a part), of
the joints in the frame alone, of people who have been seen for `LONG_WARM_UP` frames, and of detections as bad as
rendered people's.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from body.joints import JOINT_NAMES
from body.lbs_torch import TorchBody, bone_lengths
from body.model import load_body
from common.errors import UserError
from training.evaluation.metrics import acceleration_error, pa_distances, pelvis_aligned
from training.motion.bank import NONE, MotionBank
from training.motion.clip import Clip
from training.motion.opening import open_clips
from training.networks.lifter import Lifter
from training.networks.lifter_config import LifterConfig
from training.networks.outputs import Lifted
from training.simulation.batches import Batch, BatchMaker, FlowSource
from training.simulation.detector_noise import NoiseSampler, load_noise
from training.simulation.flow_grid import FlowGrid
from training.simulation.flow_noise import FlowDegrader, load_flow_noise

JOINTS_14 = [
    JOINT_NAMES.index(name)
    for name in (
        *(
            "right_ankle",
            "right_knee",
            "right_hip",
            "left_hip",
            "left_knee",
            "left_ankle",
            "right_wrist",
            "right_elbow",
        ),
        *("right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head"),
    )
]
_HIPS = [JOINT_NAMES.index("left_hip"), JOINT_NAMES.index("right_hip")]
UNSCORED, LENGTH, EVALUATION_FPS = 8, 40, 30.0
LONG_WARM_UP = 120
MIN_JOINTS = 4
"""Fewer determine too little of a pose after a similarity."""


@dataclass(frozen=True, slots=True)
class SyntheticScores:
    """Mean errors on synthetic people."""

    pa_mpjpe: float
    """PA-MPJPE of 14 joints, mm."""
    mpjpe: float
    """MPJPE of 14 joints, mm."""
    acceleration: float
    """Acceleration error at 30 fps, m/s²."""
    orientation_deg: float
    """Angle between predicted and true global orientation, degrees."""
    bones_percent: float
    """Root mean square error of the bones' lengths, % of the true length."""
    up_deg: float
    """Angle between the predicted and the true vertical, degrees."""
    sized_mpjpe: float
    """MPJPE, mm, after scaling by the mean ratio of the true bones to the predicted: a single camera does not show the size."""
    proportions_percent: float
    """Root mean square error of the bones' lengths, %, of the bodies so scaled."""

    def as_dict(self) -> dict[str, float]:
        """The numbers by their names."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"PA-MPJPE {self.pa_mpjpe:.1f} mm  MPJPE {self.mpjpe:.1f} mm  "
            f"accel {self.acceleration:.1f} m/s²  facing {self.orientation_deg:.1f}°  "
            f"bones {self.bones_percent:.1f} %  up {self.up_deg:.1f}°  "
            f"with the true size: MPJPE {self.sized_mpjpe:.1f} mm  bones {self.proportions_percent:.1f} %"
        )


def unseen_people(
    network: Lifter, body: TorchBody, clips: list[Clip], seed: int, clean: bool = False, rendered: bool = False
) -> BatchMaker:
    """Windows of ``clips`` with all that ``network`` reads, the same ones for the same seed."""
    bank = MotionBank(clips, seed=seed)
    bank.weights = bank.lengths.double()  # every recorded second counts alike
    flow = FlowSource(_grid(), FlowDegrader(load_flow_noise(), seed + 2), dropout=0.0) if network.config.flow else None
    noise = NoiseSampler(load_noise(), seed + 1, float(rendered))
    return BatchMaker(bank, body, noise, NONE, flow=flow, clean=clean)


@torch.no_grad()
def evaluate(
    network: Lifter,
    body: TorchBody,
    clips: list[Clip],
    windows: int = 512,
    single_frames: bool = False,
    seed: int = 1234,
    clean: bool = False,
    blind: bool = False,
    rendered: bool = False,
    warm_up: int = UNSCORED,
    whole: bool = False,
    visible: bool = False,
) -> SyntheticScores:
    """Score ``network`` on ``windows`` windows of ``clips``: on the frames after the first ``warm_up`` ones.

    ``single_frames`` scores its per-frame part alone; ``clean`` leaves the errors of detector and flow out; ``blind`` gives no
    flow to a network that reads it; ``rendered`` makes detections as bad as those of rendered people; ``whole`` scores only
    those of the windows in which nothing of the person is ever out of the frame, ``visible`` only joints in the frame.
    """
    maker = unseen_people(network, body, clips, seed, clean, rendered)
    was_training = network.training
    network.eval()
    total, scored = torch.zeros(len(fields(SyntheticScores))), 0
    for start in range(0, windows, 64):
        batch = maker.draw(min(64, windows - start), warm_up + LENGTH - UNSCORED, EVALUATION_FPS)
        seen = batch.seen.without_flow() if blind else batch.seen
        lifted = network(seen, network.start_state(len(batch.betas)), alone=single_frames)
        if whole:
            rows = batch.in_full_view
            lifted, batch = lifted.people(rows), batch.people(rows)
        count = len(batch.betas)
        if count:
            total, scored = total + score_batch(lifted, body, batch, warm_up, visible) * count, scored + count
    network.train(was_training)
    return SyntheticScores(*(total / scored).tolist())


def score_batch(
    lifted: Lifted, body: TorchBody, batch: Batch, warm_up: int = UNSCORED, visible: bool = False
) -> Tensor:
    """The numbers of `SyntheticScores`, in their order, of one batch's answers. The first ``warm_up`` frames do not count.
    ``visible`` counts joints in the frame alone, and for PA-MPJPE frames with `MIN_JOINTS` of these."""
    joints, _ = body.skeleton(lifted.rotations, lifted.betas)
    joints, truth = joints[:, warm_up:], batch.joints[:, warm_up:]
    mine, theirs = joints[:, :, JOINTS_14], truth[:, :, JOINTS_14]
    counted = batch.joints_in_frame[:, warm_up:, JOINTS_14] if visible else torch.ones_like(mine[..., 0]).bool()
    enough = counted & (counted.sum(-1, keepdim=True) >= MIN_JOINTS)
    exact = pa_distances(mine, theirs, counted.float())[enough].mean()
    aligned = pelvis_aligned(mine, theirs, joints[:, :, _HIPS].mean(2), truth[:, :, _HIPS].mean(2))[counted].mean()
    ratios = bone_lengths(joints) / bone_lengths(truth)
    size = ratios.mean(-1, keepdim=True)
    fit = joints / size[..., None]
    sized = pelvis_aligned(fit[:, :, JOINTS_14], theirs, fit[:, :, _HIPS].mean(2), truth[:, :, _HIPS].mean(2))
    three = (counted[:, 2:] & counted[:, 1:-1] & counted[:, :-2]).transpose(0, 1)
    jerk = acceleration_error(mine.transpose(0, 1), theirs.transpose(0, 1), EVALUATION_FPS)[three].mean()
    turn = lifted.rotations[:, warm_up:, 0].transpose(-1, -2) @ batch.rotations[:, warm_up:, 0]
    trace = turn.diagonal(dim1=-2, dim2=-1).sum(-1)
    facing = torch.rad2deg(torch.acos(((trace - 1) / 2).clamp(-1, 1))).mean()
    bones, proportions = ((error - 1).square().mean().sqrt() for error in (ratios, ratios / size))
    tilt = torch.acos((lifted.up[:, warm_up:] * batch.up[:, warm_up:]).sum(-1).clamp(-1, 1))
    up = torch.rad2deg(tilt).mean()
    mm, percent = 1000, 100
    return torch.stack(
        [exact * mm, aligned * mm, jerk, facing, bones * percent, up, sized[counted].mean() * mm, proportions * percent]
    )


@cache
def _grid() -> FlowGrid:
    return FlowGrid()


class CheckpointError(UserError, ValueError):
    """A checkpoint cannot be read. The message is one line that says what to do."""


@contextmanager
def checkpoint_errors(path: Path) -> Iterator[None]:
    """Turn what reading the checkpoint ``path`` raises into a `CheckpointError`."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"cannot read {path} ({error.strerror}): name a checkpoint of a run") from error
    except (pickle.UnpicklingError, EOFError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path} is damaged or no checkpoint of training.train of this version: name another one"
        ) from error


def load_checkpoint(path: Path) -> Lifter:
    """The averaged weights of a training checkpoint. Raises `CheckpointError` where there is none, or a damaged one."""
    with checkpoint_errors(path):
        state = torch.load(path, weights_only=True, map_location="cpu")
        network = Lifter(LifterConfig(**state["config"]["network"]))
        network.load_state_dict(state["averaged"])
    return network.eval()


def score_synthetic(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    checkpoint: Annotated[Path, typer.Option(help="checkpoint of a run")] = Path("runs/motion/checkpoint.pt"),
    windows: Annotated[int, typer.Option(help="windows of 40 frames")] = 1024,
    splits: Annotated[str, typer.Option(help="of the motion, separated by commas")] = "val,test",
) -> None:
    """Print the errors on subjects that training has not seen, with and without the errors of detector and flow.

    Real data sets: python -m training.evaluation datasets --help
    """
    network, body = load_checkpoint(checkpoint), TorchBody(load_body())
    rows: dict[str, dict[str, Any]] = {
        "as detected in real video": {},
        "the same, in full view": {"whole": True},
        "the same, joints in frame": {"visible": True},
        "the same, no flow": {"blind": True},
        "the same, after 4 s": {"warm_up": LONG_WARM_UP},
        "as detected when rendered": {"rendered": True},
        "true keypoints and flow": {"clean": True},
    }
    for split in splits.split(","):
        clips = open_clips(motion, split)
        for what, how in rows.items():
            if network.config.flow or not how.get("blind"):
                count = max(windows // 4, 1) if "warm_up" in how else windows  # they are four times as long
                print(f"{split:5s} {what:27s} {evaluate(network, body, clips, count, **how)}", flush=True)
