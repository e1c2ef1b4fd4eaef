"""Train a regressor: python -m training.train --motion FOLDER

Two stages share one network. First single frames, where every example is another person, pose and camera; then windows,
where the recurrent parts learn to remember and the flow is read. Training is seeded, goes on where it was stopped as if it
had not been, and writes curves and pictures for TensorBoard. Several GPUs or machines train together under torchrun:

    torchrun --nproc-per-node 4 -m training.train --motion FOLDER
"""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from body.lbs_torch import TorchBody
from body.model import load_body
from common.arrays import ImageArray
from common.errors import exit_with_one_line
from training.distributed import ProcessGroup, init_distributed
from training.evaluation.people_sheet import picture_people
from training.evaluation.synthetic import CheckpointError, SyntheticScores, checkpoint_errors, evaluate
from training.losses import LossWeights, regression_loss
from training.motion.bank import Augmentation, MotionBank
from training.motion.clip import MotionError
from training.motion.opening import open_clips
from training.networks.lifter import Lifter, LifterConfig
from training.simulation.batches import Batch, BatchMaker, FlowSource
from training.simulation.detector_noise import NoiseSampler, load_noise
from training.simulation.flow_grid import FlowGrid
from training.simulation.flow_noise import FlowDegrader, load_flow_noise


@dataclass(slots=True)
class Stage:
    """``steps`` of ``batch`` windows (on each process) of ``length`` frames. The learning rate rises over the first 3 % and
    falls as a cosine to a fiftieth.

    ``chunks`` windows in a row show the same people: the state goes on from one to the next, gradients do not (truncated
    backpropagation through time). A live stream is minutes long; without that, memory drifts after the seconds it knows.
    """

    steps: int
    batch: int
    length: int
    rate: float
    chunks: int = 1


@dataclass(slots=True)
class TrainConfig:
    """All that defines a run; kept in its checkpoints."""

    network: LifterConfig = field(default_factory=LifterConfig)
    single: Stage = field(default_factory=lambda: Stage(12000, 1024, 1, 1.5e-3))
    windows: Stage = field(default_factory=lambda: Stage(6000, 128, 16, 8e-4, chunks=6))
    weights: LossWeights = field(default_factory=LossWeights)
    augmentation: Augmentation = field(default_factory=Augmentation)
    weight_decay: float = 0.01
    average: float = 0.999
    rendered: float = 0.15
    """Share of the windows whose keypoints are as hard to detect as rendered people's: real video has its hard moments."""
    seed: int = 0


EXPERIMENTS: dict[str, TrainConfig] = {
    "motion": TrainConfig(network=LifterConfig(rounds=3)),
    "keypoints": TrainConfig(network=LifterConfig(flow=False, rounds=3)),
}
"""The shipped regressors: with flow, and with keypoints alone."""


class Trainer:
    """One run in one folder. `run` may be called again after any interruption and goes on from the last checkpoint."""

    def __init__(self, motion: Path, folder: Path, config: TrainConfig, group: ProcessGroup | None = None) -> None:
        self.folder, self.config = folder, config
        self.group = group or ProcessGroup()
        torch.manual_seed(config.seed)
        arrays = load_body()
        self.network = Lifter(config.network).to(self.group.device)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.body = TorchBody(arrays)
        self.device_body = TorchBody(arrays).to(self.group.device)
        seed = config.seed + 1000 * self.group.rank
        torch.manual_seed(seed)
        flow = FlowSource(FlowGrid(), FlowDegrader(load_flow_noise(), seed + 2)) if config.network.flow else None
        bank = MotionBank(open_clips(motion, "train"), seed=seed)
        noise = NoiseSampler(load_noise(), seed + 1, config.rendered)
        self.maker = BatchMaker(bank, self.body, noise, config.augmentation, flow=flow)
        self.validation = open_clips(motion, "val")
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.single.rate, weight_decay=config.weight_decay
        )
        self.step = 0
        self._chunks: list[Batch] = []
        self._state = torch.zeros(0)
        self._chance = self._random_states()
        self._learner: nn.Module = self.network
        if self.group.size > 1:
            self._learner = nn.parallel.DistributedDataParallel(self.network, find_unused_parameters=True)
        self.writer = SummaryWriter(str(folder)) if self.group.is_main else None

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def _generators(self) -> list[torch.Generator]:
        """Whatever random numbers this process draws come from these, and from torch's own."""
        flow = self.maker.flow
        return [self.maker.generator, self.maker.noise.generator, *([flow.degrade.generator] if flow else [])]

    def _random_states(self) -> list[torch.Tensor]:
        return [torch.get_rng_state(), *(generator.get_state() for generator in self._generators())]

    def _draw(self) -> None:
        """Draw new people, and keep what they can be drawn from again."""
        stage, _ = self._stage()
        self._chance = self._random_states()
        whole = self.maker.draw(stage.batch, stage.length * stage.chunks)
        self._chunks = [whole.frames(i * stage.length, (i + 1) * stage.length) for i in range(stage.chunks)]
        self._state = self.network.start_state(stage.batch)

    def save(self) -> None:
        """Write the checkpoint atomically: an interruption leaves the old one whole."""
        chance = self.group.gather([*(self._chance if self._chunks else self._random_states()), self._state.cpu()])
        if not self.group.is_main:
            return
        state = {
            "config": asdict(self.config),
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "chance": chance,
            "chunks": len(self._chunks),
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint)

    def resume(self) -> bool:
        """Go on from the folder's checkpoint. False where there is none."""
        if not self.checkpoint.exists():
            return False
        state: dict[str, Any] = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        # A crew of another size goes on with fresh random numbers.
        if len(state["chance"]) == self.group.size:
            own, *rest, carried = state["chance"][self.group.rank]
            torch.set_rng_state(own)
            for generator, saved in zip(self._generators(), rest, strict=True):
                generator.set_state(saved)
            if state["chunks"]:
                self._draw()
                self._chunks = self._chunks[-state["chunks"] :]
                self._state = carried.to(self.group.device)
        return True

    def start_from(self, checkpoint: Path) -> list[str]:
        """Take over the weights of another run, wherever names and shapes agree; inputs that it did not have start at
        zero, and what it alone had is left out. Returns the names that it had nothing for. Raises `CheckpointError`."""
        with checkpoint_errors(checkpoint):
            theirs = torch.load(checkpoint, weights_only=True, map_location="cpu")["averaged"]
        fresh = []
        mine = self.network.state_dict()
        for name, value in mine.items():
            if name in theirs and theirs[name].shape == value.shape:
                value.copy_(theirs[name])
            elif name == "frame.0.weight" and name in theirs:  # flow and image are its last columns
                known = min(theirs[name].shape[1], value.shape[1])
                value[:, :known] = theirs[name][:, :known]
                value[:, known:] = 0
            else:
                fresh.append(name)
        self.averaged.load_state_dict(mine)
        return fresh

    def _stage(self) -> tuple[Stage, float]:
        """The current stage and how far it is, 0..1."""
        single, windows = self.config.single, self.config.windows
        if self.step < single.steps:
            return single, self.step / single.steps
        return windows, (self.step - single.steps) / windows.steps

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns the loss terms."""
        stage, progress = self._stage()
        decay = 0.5 * (1 + float(torch.cos(torch.tensor(progress * torch.pi))))
        rate = stage.rate * min(1.0, progress / 0.03 + 0.01) * (0.02 + 0.98 * decay)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if not self._chunks:
            self._draw()
        batch = self._to_device(self._chunks.pop(0))
        device = self.group.device
        # bfloat16 needs no loss scaling; geometry and losses stay in float32.
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            lifted = self._learner(batch.seen, self._state, alone=stage.length == 1)
        lifted = type(lifted)(*(part.float() for part in lifted))
        self._state = lifted.state.detach()
        joints, coco = self.device_body.skeleton(lifted.rotations, lifted.betas)
        loss, terms = regression_loss(lifted, joints, coco, batch, self.config.weights)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {float(loss.detach())} at step {self.step}: lower the learning rate")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        keep = min(self.config.average, self.step / (self.step + 50))
        with torch.no_grad():
            for mine, theirs in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                mine.lerp_(theirs, 1 - keep)
        return {"loss": float(loss.detach()), "rate": rate, **terms}

    def _to_device(self, batch: Batch) -> Batch:
        device = self.group.device
        if device.type == "cpu":
            return batch
        seen = replace(batch.seen, **_moved(batch.seen, device))
        return replace(batch, seen=seen, **_moved(batch, device))

    def validate(self, windows: int = 192) -> tuple[SyntheticScores, ImageArray]:
        """Scores of the averaged weights on unseen subjects, and some of these people as a picture (H, W, 3) RGB."""
        single = self.step <= self.config.single.steps
        network = copy.deepcopy(self.averaged).cpu()
        scores = evaluate(network, self.body, self.validation, windows=windows, single_frames=single)
        return scores, picture_people(network, self.body, self.validation, single_frames=single)

    def run(self, minutes: float, every: int = 500) -> None:
        """Train until the stages are done or ``minutes`` are over; validate and save every ``every`` steps."""
        total = self.config.single.steps + self.config.windows.steps
        start = last = time.monotonic()
        while self.step < total and not self.group.broadcast(time.monotonic() - start >= minutes * 60):
            terms = self.train_step()
            if self.step % 50 == 0 and self.writer is not None:
                for name, value in terms.items():
                    self.writer.add_scalar(f"train/{name}", value, self.step)
            if self.step % every == 0 or self.step == total:
                if self.writer is not None:
                    scores, picture = self.validate()
                    now = time.monotonic()
                    for name, value in scores.as_dict().items():
                        self.writer.add_scalar(f"val/{name}", value, self.step)
                    self.writer.add_image("val/people", picture, self.step, dataformats="HWC")
                    stage, _ = self._stage()
                    speed = every * stage.batch * stage.length * self.group.size / (now - last)
                    print(
                        f"step {self.step}/{total}  {scores}  loss {terms['loss']:.3f}  {speed:.0f} frames/s",
                        flush=True,
                    )
                self.save()
                last = time.monotonic()
        self.save()
        if self.writer is not None:
            self.writer.close()


def _moved(record: Any, device: torch.device) -> dict[str, torch.Tensor]:
    """The tensors among a record's fields, on ``device``."""
    values = {name: getattr(record, name) for name in record.__slots__}
    return {name: value.to(device) for name, value in values.items() if isinstance(value, torch.Tensor)}


def main(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    experiment: Annotated[str, typer.Option(help=f"which regressor: {', '.join(EXPERIMENTS)}")] = "motion",
    run: Annotated[Path | None, typer.Option(help="folder of the run (default: runs/EXPERIMENT)")] = None,
    budget_minutes: Annotated[float, typer.Option(help="stop after so many minutes; start again to go on")] = 1e9,
    single_steps: Annotated[int, typer.Option(help="steps of the single-frame stage")] = 12000,
    window_steps: Annotated[int, typer.Option(help="steps of the window stage")] = 6000,
    window_rate: Annotated[float, typer.Option(help="highest learning rate of the window stage")] = 8e-4,
    window_length: Annotated[int, typer.Option(help="frames of a window; 2048 frames make a step")] = 16,
    window_chunks: Annotated[int, typer.Option(help="windows in a row that show the same people")] = 6,
    init: Annotated[Path | None, typer.Option(help="checkpoint of another run to take the weights from")] = None,
    seed: Annotated[int, typer.Option()] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads (0: all)")] = 0,
) -> None:
    """Train a regressor; goes on from the run's checkpoint where there is one."""
    if experiment not in EXPERIMENTS:
        raise typer.BadParameter(f"there is no experiment '{experiment}': choose one of {', '.join(EXPERIMENTS)}")
    if threads:
        torch.set_num_threads(threads)
    config = copy.deepcopy(EXPERIMENTS[experiment])
    config.seed, config.single.steps, config.windows.steps = seed, single_steps, window_steps
    config.windows.rate, config.windows.length = window_rate, window_length
    config.windows.batch, config.windows.chunks = 2048 // window_length, window_chunks
    group = init_distributed()
    trainer = Trainer(motion, run or Path("runs") / experiment, config, group)
    resumed = trainer.resume()
    if not resumed and init is not None:
        trainer.start_from(init)
    if group.is_main:
        print(f"{'going on at' if resumed else 'starting at'} step {trainer.step}", flush=True)
    try:
        trainer.run(budget_minutes)
    except KeyboardInterrupt:
        if group.size == 1:
            trainer.save()
        print(f"stopped at step {trainer.step}; the same command goes on")
    finally:
        group.leave()


if __name__ == "__main__":
    with exit_with_one_line(MotionError, CheckpointError):
        typer.run(main)
