"""What the regressor's memory is worth: ``python -m training.evaluation memory --motion FOLDER --checkpoint FILE``.

The same moments of unseen simulated people are predicted after histories of different lengths, at different frame rates.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import torch
import typer
from torch import Tensor

from body.lbs_torch import TorchBody
from body.model import load_body
from training.evaluation.synthetic import load_checkpoint, score_batch, unseen_people
from training.motion.clip import Clip
from training.motion.opening import open_clips
from training.networks.inputs import Observation
from training.networks.lifter import Lifter
from training.simulation.batches import Batch

HISTORIES_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Seconds for which a person has been followed; 0: every frame is taken as a person's first."""
RATES: Final = (15.0, 30.0, 60.0)
"""Frames per second."""
_SCORED_S: Final = 0.4
_BATCH: Final = 32


def followed_for(seen: Observation, frames: int) -> Observation:
    """The last ``frames`` of ``seen`` as those of people who are met in the first of them: there is no flow from before it."""
    rest = seen.frames(seen.dt.shape[1] - frames, seen.dt.shape[1])
    valid = rest.flow_valid.clone()
    valid[:, 0] = 0
    return replace(rest, flow_valid=valid, flow=rest.flow * valid[..., None, None, None])


@torch.no_grad()
def memory_scores(
    network: Lifter, body: TorchBody, clips: list[Clip], fps: float, windows: int, seed: int = 1234
) -> Tensor:
    """PA-MPJPE and MPJPE (histories, 2), mm, after each of `HISTORIES_S`, at ``fps``."""
    maker = unseen_people(network, body, clips, seed)
    scored, longest = round(_SCORED_S * fps), round(max(HISTORIES_S) * fps)
    total = torch.zeros(len(HISTORIES_S), 2)
    for first in range(0, windows, _BATCH):
        count = min(_BATCH, windows - first)
        batch = maker.draw(count, longest + scored, fps)
        last = batch.frames(longest, longest + scored)
        for row, history_s in zip(total, HISTORIES_S, strict=True):
            row += _score(network, body, batch, last, round(history_s * fps)) * count
    return total / windows


def _score(network: Lifter, body: TorchBody, batch: Batch, last: Batch, history: int) -> Tensor:
    """PA-MPJPE and MPJPE (2,), mm, of the frames ``last`` of ``batch`` after ``history`` frames."""
    people, scored = last.seen.dt.shape
    if history:
        frames = history + scored
        seen = followed_for(batch.seen, frames)
        lifted = network(seen, network.start_state(people), output_frames=(history, frames))
    else:
        lifted = network(last.seen, network.start_state(people), alone=True)
    return score_batch(lifted, body, last, warm_up=0)[:2]


def score_memory(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    checkpoint: Annotated[Path, typer.Option(help="checkpoint of a run")] = Path("runs/motion/checkpoint.pt"),
    windows: Annotated[int, typer.Option(min=1, help="moments to predict")] = 128,
    splits: Annotated[str, typer.Option(help="of the motion, separated by commas")] = "val,val2",
) -> None:
    """Print errors after histories of different lengths, at different frame rates."""
    network, body = load_checkpoint(checkpoint), TorchBody(load_body())
    clips = [clip for split in splits.split(",") for clip in open_clips(motion, split)]
    print("PA-MPJPE / MPJPE, mm")
    print("| frames per second | each frame alone |" + "".join(f" {x:g} s |" for x in HISTORIES_S[1:]))
    print("| --- |" + " --- |" * len(HISTORIES_S))
    for fps in RATES:
        scores = memory_scores(network, body, clips, fps, windows)
        print(f"| {fps:g} |" + "".join(f" {pa:.1f} / {mpjpe:.1f} |" for pa, mpjpe in scores.tolist()), flush=True)
