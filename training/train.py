"""Train the keypoint regressor: python -m training.train --motion FOLDER

Two stages share one network. First single frames, where every example is another person, pose and camera; then windows,
where the recurrent part learns to remember. Training is seeded, goes on where it was stopped, and writes its curves for
TensorBoard.
"""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch.utils.tensorboard import SummaryWriter

from body.lbs_torch import TorchBody
from body.model import load_body
from training.bank import Augmentation, MotionBank
from training.batches import BatchMaker
from training.evaluate import Scores, evaluate, open_clips
from training.losses import LossWeights, regression_loss
from training.networks.lifter import Lifter, LifterConfig
from training.noise import NoiseSampler, load_noise


@dataclass(slots=True)
class Stage:
    """``steps`` of ``batch`` windows of ``length`` frames. The learning rate rises over the first 3 % and falls as a
    cosine to a fiftieth."""

    steps: int
    batch: int
    length: int
    rate: float


@dataclass(slots=True)
class TrainConfig:
    """All that defines a run; kept in its checkpoints."""

    network: LifterConfig = field(default_factory=LifterConfig)
    single: Stage = field(default_factory=lambda: Stage(12000, 1024, 1, 1.5e-3))
    windows: Stage = field(default_factory=lambda: Stage(6000, 64, 32, 8e-4))
    weights: LossWeights = field(default_factory=LossWeights)
    augmentation: Augmentation = field(default_factory=Augmentation)
    weight_decay: float = 0.01
    average: float = 0.999
    seed: int = 0


class Trainer:
    """One run in one folder. `run` may be called again after any interruption and goes on from the last checkpoint."""

    def __init__(self, motion: Path, folder: Path, config: TrainConfig) -> None:
        self.folder, self.config = folder, config
        torch.manual_seed(config.seed)
        self.body = TorchBody(load_body())
        bank = MotionBank(open_clips(motion, "train"), seed=config.seed)
        self.maker = BatchMaker(bank, self.body, NoiseSampler(load_noise(), config.seed + 1), config.augmentation)
        self.validation = open_clips(motion, "val")
        self.network = Lifter(config.network)
        self.averaged = copy.deepcopy(self.network).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), config.single.rate, weight_decay=config.weight_decay
        )
        self.step = 0
        self.writer = SummaryWriter(str(folder))

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        """Write the checkpoint atomically: an interruption leaves the old one whole."""
        state = {
            "config": asdict(self.config),
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generators": [self.maker.generator.get_state(), self.maker.noise.generator.get_state()],
            "torch": torch.get_rng_state(),
        }
        part = self.checkpoint.with_suffix(".part")
        torch.save(state, part)
        part.replace(self.checkpoint)

    def resume(self) -> bool:
        """Go on from the folder's checkpoint. False where there is none."""
        if not self.checkpoint.exists():
            return False
        state: dict[str, Any] = torch.load(self.checkpoint, weights_only=True)
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.maker.generator.set_state(state["generators"][0])
        self.maker.noise.generator.set_state(state["generators"][1])
        torch.set_rng_state(state["torch"])
        return True

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
        batch = self.maker.draw(stage.batch, stage.length)
        inputs = (batch.points, batch.confidence, batch.camera, batch.dt)
        if stage.length == 1:
            rotations, betas, pelvis = self.network.single(*inputs)
        else:
            rotations, betas, pelvis, _ = self.network(*inputs, self.network.start_state(stage.batch))
        joints, coco = self.body.skeleton(rotations, betas)
        loss, terms = regression_loss(rotations, betas, pelvis, joints, coco, batch, self.config.weights)
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

    def validate(self, windows: int = 192) -> Scores:
        """Scores of the averaged weights on unseen subjects."""
        single = self.step <= self.config.single.steps
        return evaluate(self.averaged, self.body, self.validation, windows=windows, single_frames=single)

    def run(self, minutes: float, every: int = 500) -> None:
        """Train until the stages are done or ``minutes`` are over; validate and save every ``every`` steps."""
        total = self.config.single.steps + self.config.windows.steps
        start = last = time.monotonic()
        while self.step < total and time.monotonic() - start < minutes * 60:
            terms = self.train_step()
            if self.step % 50 == 0:
                for name, value in terms.items():
                    self.writer.add_scalar(f"train/{name}", value, self.step)
            if self.step % every == 0 or self.step == total:
                scores = self.validate()
                now = time.monotonic()
                for name, value in scores.as_dict().items():
                    self.writer.add_scalar(f"val/{name}", value, self.step)
                stage, _ = self._stage()
                speed = every * stage.batch * stage.length / (now - last)
                print(f"step {self.step}/{total}  {scores}  loss {terms['loss']:.3f}  {speed:.0f} frames/s", flush=True)
                self.save()
                last = time.monotonic()
        self.save()
        self.writer.close()


def main(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    run: Annotated[Path, typer.Option(help="folder of the run: checkpoint and curves")] = Path("runs/keypoints"),
    minutes: Annotated[float, typer.Option(help="stop after so many minutes; start again to go on")] = 1e9,
    single_steps: Annotated[int, typer.Option(help="steps of the single-frame stage")] = 12000,
    window_steps: Annotated[int, typer.Option(help="steps of the window stage")] = 6000,
    seed: Annotated[int, typer.Option()] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads (0: all)")] = 0,
) -> None:
    """Train the keypoint regressor; goes on from the run's checkpoint where there is one."""
    if threads:
        torch.set_num_threads(threads)
    config = TrainConfig(seed=seed)
    config.single.steps, config.windows.steps = single_steps, window_steps
    trainer = Trainer(motion, run, config)
    resumed = trainer.resume()
    print(f"{'going on at' if resumed else 'starting at'} step {trainer.step}", flush=True)
    try:
        trainer.run(minutes)
    except KeyboardInterrupt:
        trainer.save()
        print(f"stopped at step {trainer.step}; the same command goes on")


if __name__ == "__main__":
    typer.run(main)
