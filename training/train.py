"""Train a regressor: python -m training.train --motion FOLDER

One network is trained in stages: first on single frames, where every example is another person, pose and camera; then on
windows, from which the recurrent parts and the flow encoder learn; then on windows that last seconds. Examples are drawn
in a thread of their own. Training is seeded, a resumed run gives the same weights as one that was not interrupted, and
curves and images are written for
TensorBoard. Several GPUs or machines train together under torchrun:

    torchrun --nproc-per-node 4 -m training.train --motion FOLDER

Over the last part of the second stage, and again of the third, the learning rate falls to zero. The checkpoint before it
falls for the last time is kept as ``stable.pt``: the same command with more steps of the last stage continues from there, and
gives the weights that it would have given from the beginning.
"""

from __future__ import annotations

import copy
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from body.lbs_torch import TorchBody
from body.model import load_body
from common.arrays import ImageArray
from common.command_line import run_command
from common.errors import UserError
from common.files import write_atomically
from training.config import EXPERIMENTS, TrainConfig
from training.distributed import ProcessGroup, init_distributed
from training.evaluation.people_sheet import draw_validation
from training.evaluation.synthetic import SyntheticScores, checkpoint_errors, evaluate
from training.losses import regression_loss
from training.motion.bank import MotionBank
from training.motion.opening import open_clips
from training.networks.growth import can_grow, grow
from training.networks.lifter import Lifter
from training.networks.lifter_config import LifterConfig
from training.simulation.batches import Batch, BatchMaker, FlowSource
from training.simulation.detector_noise import NoiseSampler, load_noise
from training.simulation.flow_grid import FlowGrid
from training.simulation.flow_noise import FlowDegrader, load_flow_noise
from training.simulation.rates import draw_rates_with_history

SAVE_EVERY_S = 300.0
_Tensors = tuple[Tensor, ...] | list[Tensor]
_Chunk = tuple[Batch, Batch | None]
"""Examples of one step: a chunk of windows, and the stage's single frames of other people, if it has any."""
_SEED_STRIDE = 1_000_003
"""Between the random seeds of two runs' first draws; twice that between those of two processes."""


class TrainingError(UserError, ValueError):
    """A run cannot be resumed as asked. The message is one line that says what to do."""


class Trainer:
    """One run in one folder. After an interruption, `resume` and `run` continue from the last checkpoint."""

    def __init__(
        self,
        motion: Path,
        folder: Path,
        config: TrainConfig,
        group: ProcessGroup | None = None,
        bfloat16: bool = False,
    ) -> None:
        self.folder, self.config = folder, config
        self.group = group or ProcessGroup()
        self.bfloat16 = bfloat16 or self.group.device.type == "cuda"
        torch.manual_seed(config.seed)
        arrays = load_body()
        self.network = Lifter(config.network).to(self.group.device)
        self._average = AveragedModel(self.network, multi_avg_fn=self._blend).requires_grad_(False)
        self._average.n_averaged += 1  # the untrained weights count; else torch would begin with a copy
        self.body = TorchBody(arrays)
        self.device_body = TorchBody(arrays).to(self.group.device)
        flow = None
        if config.network.flow:
            flow = FlowSource(FlowGrid(), FlowDegrader(load_flow_noise(), 0), config.without_flow)
        bank = MotionBank(open_clips(motion, "train"))
        noise = NoiseSampler(load_noise(), 0, config.rendered)
        self.maker = BatchMaker(bank, self.body, noise, config.augmentation, flow=flow)
        self.validation = open_clips(motion, "val")
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 1.0, weight_decay=config.weight_decay, fused=True)
        self.schedule = LambdaLR(self.optimizer, config.rate)
        self.step = self.draws = 0
        self._chunks: list[_Chunk] = []
        self._state = torch.zeros(0)
        self._drawing = ThreadPoolExecutor(1, "drawing")
        self._next: Future[list[_Chunk]] | None = None
        self._learner: nn.Module = self.network
        if self.group.size > 1:
            self._learner = nn.parallel.DistributedDataParallel(self.network, find_unused_parameters=True)
        self.writer = SummaryWriter(str(folder)) if self.group.is_main else None

    @property
    def averaged(self) -> Lifter:
        """The network with the moving average of the weights."""
        network = self._average.module
        assert isinstance(network, Lifter)
        return network

    def _blend(self, averaged: _Tensors, current: _Tensors, count: Tensor | int) -> None:
        """Update the moving average: it decays faster in the first steps, whose weights are worth less."""
        step = self.step - (self.config.restart if self.step > self.config.restart else 0)
        decay = min(self.config.average, step / (step + 50))
        get_ema_multi_avg_fn(decay)(averaged, current, count)  # type: ignore[no-untyped-call]

    @property
    def checkpoint(self) -> Path:
        """Where the run is saved."""
        return self.folder / "checkpoint.pt"

    @property
    def stable(self) -> Path:
        """The checkpoint of the last step before the learning rate fell."""
        return self.folder / "stable.pt"

    def _start_drawing(self, step: int) -> Future[list[_Chunk]]:
        """Begin to draw the people of the chunks from ``step`` on: they depend on the seed and the number of the draw alone."""
        stage = self.config.stage(step)
        number = (2 * self.group.rank + 1) * _SEED_STRIDE * (self.config.seed + 1) + self.draws

        def draw() -> list[_Chunk]:
            self.maker.seed(number)
            rates = None
            if stage.history_frames:
                rates = draw_rates_with_history(
                    stage.batch, stage.length, stage.history_frames, stage.chunks, self.maker.generator
                )
            whole = self.maker.draw(stage.batch, stage.length * stage.chunks, rates)
            parts = [whole.frames(i * stage.length, (i + 1) * stage.length) for i in range(stage.chunks)]
            if not stage.single_frames:
                return [(part, None) for part in parts]
            others = self.maker.draw(stage.single_frames * stage.chunks, 1)
            rows = torch.arange(stage.single_frames * stage.chunks).reshape(stage.chunks, stage.single_frames)
            return [(part, others.people(some)) for part, some in zip(parts, rows, strict=True)]

        self.draws += 1
        return self._drawing.submit(draw)

    def _draw(self) -> None:
        """Take the people drawn meanwhile, and begin to draw the next ones."""
        stage = self.config.stage(self.step)
        self._chunks = (self._next or self._start_drawing(self.step)).result()
        self._state = self.network.start_state(stage.batch)
        self._next = self._start_drawing(self.step + stage.chunks)

    def save(self) -> None:
        """Write the checkpoint atomically: an interruption leaves the old one whole."""
        states = self.group.gather(self._state.cpu())
        if not self.group.is_main:
            return
        state = {
            "config": asdict(self.config),
            "step": self.step,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "draws": self.draws - (self._next is not None),
            "chunks": len(self._chunks),
            "states": states,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with write_atomically(self.checkpoint) as file:
            torch.save(state, file)

    def resume(self) -> bool:
        """Load the folder's checkpoint; if more steps are asked for than it was trained for, the one before its learning rate
        fell. Returns False if there is none. Raises `TrainingError`, `CheckpointError`."""
        if not self.checkpoint.exists():
            return False
        with checkpoint_errors(self.checkpoint):
            state: dict[str, Any] = torch.load(self.checkpoint, weights_only=True, map_location="cpu")
            saved = state["config"]
            last = "history" if self.config.history.steps else "windows"
            if self.stable.exists() and saved[last]["steps"] < getattr(self.config, last).steps:
                state = torch.load(self.stable, weights_only=True, map_location="cpu")
        # This setting does not affect training.
        network = replace(LifterConfig(**saved["network"]), memoryless_legs=self.config.network.memoryless_legs)
        stages = ("single", "windows") if self.config.history.steps else ("single",)
        if network != self.config.network or any(saved[x] != asdict(getattr(self.config, x)) for x in stages):
            raise TrainingError(f"{self.checkpoint} is of another network or schedule: choose another --folder")
        self.step = state["step"]
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        # Made anew instead of loaded: this run may have more steps than the saved one.
        self.schedule = LambdaLR(self.optimizer, self.config.rate, last_epoch=self.step - 1)
        self.draws = state["draws"]
        # With another number of processes new people are drawn.
        if state["chunks"] and len(state["states"]) == self.group.size:
            self.draws -= 1
            self._next = self._start_drawing(self.step - 1)
            self._chunks = self._next.result()[-state["chunks"] :]
            self._state = state["states"][self.group.rank].to(self.group.device)
            self._next = self._start_drawing(self.step + len(self._chunks))
        return True

    def start_from(self, checkpoint: Path) -> list[str]:
        """Start from the weights of another run, wherever names and shapes agree, or let a smaller network grow. Weights of
        inputs that it did not have start at zero. Returns the names of the weights that it did not have. Raises
        `CheckpointError`."""
        with checkpoint_errors(checkpoint):
            saved = torch.load(checkpoint, weights_only=True, map_location="cpu")
            theirs, config = saved["averaged"], LifterConfig(**saved["config"]["network"])
        if can_grow(config, self.config.network):
            grow(self.network, theirs, config)
            self.averaged.load_state_dict(self.network.state_dict())
            return []
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

    def train_step(self) -> dict[str, float]:
        """One optimiser step; returns the loss terms."""
        stage, rate = self.config.stage(self.step), float(self.schedule.get_last_lr()[0])
        if stage is self.config.history and self.step == self.config.restart:
            self.network.load_state_dict(self.averaged.state_dict())
            self.optimizer.state.clear()
        if not self._chunks:
            self._draw()
        windows, others = self._chunks.pop(0)
        windows = windows.to(self.group.device)
        self.optimizer.zero_grad(set_to_none=True)
        if others is not None:
            with self._accumulating_gradients():
                self._accumulate(others.to(self.group.device), self.network.start_state(stage.single_frames), (0, 1))
        count = stage.supervised_frames or stage.length
        first = (stage.length - count) * (self.step % 2)
        state, terms = self._accumulate(windows, self._state, (first, first + count))
        self._state = self._corrupt_state(self._state, state)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.schedule.step()
        self.step += 1
        self._average.update_parameters(self.network)
        return {"rate": rate, **terms}

    def _accumulating_gradients(self) -> AbstractContextManager[None]:
        """A context in which gradients are accumulated without being averaged over processes."""
        learner = self._learner
        return learner.no_sync() if isinstance(learner, nn.parallel.DistributedDataParallel) else nullcontext()

    def _accumulate(self, batch: Batch, state: Tensor, supervised: tuple[int, int]) -> tuple[Tensor, dict[str, float]]:
        """Add the gradients of ``batch``; the loss covers the frames ``supervised`` (first, one after the last). Returns the
        state after it, and the loss with its terms."""
        # bfloat16 needs no loss scaling; geometry and losses stay in float32.
        with torch.autocast(self.group.device.type, torch.bfloat16, enabled=self.bfloat16):
            lifted = self._learner(batch.seen, state, output_frames=supervised)
        batch = batch.frames(*supervised)
        joints, coco = self.device_body.skeleton(lifted.rotations, lifted.betas)
        loss, terms = regression_loss(lifted, joints, coco, batch, self.config.weights)
        if not torch.isfinite(loss):
            raise FloatingPointError(f"the loss is {float(loss.detach())} at step {self.step}: lower the learning rate")
        loss.backward()  # type: ignore[no-untyped-call]
        return lifted.state.detach(), {"loss": float(loss.detach()), **terms}

    def _corrupt_state(self, before: Tensor, now: Tensor) -> Tensor:
        """The states ``now`` (B, M), some with somebody else's memory or the person's own of ``before`` (see
        `Stage.state_corruption`). Keypoint filter, clock and shape are kept. Which ones depends on seed and step alone."""
        share = self.config.stage(self.step).state_corruption
        if not share or not self.config.network.motion:
            return now
        generator = torch.Generator().manual_seed(_SEED_STRIDE * (self.config.seed + 1) + self.step)
        draw = torch.rand(len(now), 1, generator=generator).to(now.device)
        size = self.network.memory.size
        memory = torch.where(draw < share / 2, now[:, :size].roll(1, 0), now[:, :size])
        memory = torch.where((draw >= share / 2) & (draw < share), before[:, :size], memory)
        return torch.cat([memory, now[:, size:]], 1)

    def validate(self, windows: int = 192) -> tuple[SyntheticScores, ImageArray]:
        """Scores of the averaged weights on unseen subjects, and some of these people as an image (H, W, 3) RGB."""
        single = self.step <= self.config.single.steps
        network = copy.deepcopy(self.averaged).cpu()
        scores = evaluate(network, self.body, self.validation, windows=windows, single_frames=single)
        return scores, draw_validation(network, self.body, self.validation, single_frames=single)

    def run(self, minutes: float, every: int = 500) -> None:
        """Train until the stages are done or ``minutes`` are over; validate every ``every`` steps, save every five minutes."""
        total = self.config.steps
        start = last = saved = time.monotonic()
        frames = 0
        while self.step < total and not self.group.broadcast(time.monotonic() - start >= minutes * 60):
            stage = self.config.stage(self.step)
            terms = self.train_step()
            frames += (stage.batch * stage.length + stage.single_frames) * self.group.size
            if self.step % 50 == 0 and self.writer is not None:
                for name, value in terms.items():
                    self.writer.add_scalar(f"train/{name}", value, self.step)
            if (self.step % every == 0 or self.step == total) and self.writer is not None:
                seconds = time.monotonic() - last
                scores, image = self.validate()
                for name, value in scores.as_dict().items():
                    self.writer.add_scalar(f"val/{name}", value, self.step)
                self.writer.add_image("val/people", image, self.step, dataformats="HWC")
                print(
                    f"step {self.step}/{total}  {scores}  loss {terms['loss']:.3f}  {frames / seconds:.0f} frames/s",
                    flush=True,
                )
                last, frames = time.monotonic(), 0
            if self.step == self.config.steady_steps:
                self.save()
                if self.group.is_main:
                    shutil.copyfile(self.checkpoint, self.stable)
            elif self.group.broadcast(time.monotonic() - saved >= SAVE_EVERY_S):
                self.save()
                saved = time.monotonic()
        self.save()
        self.close()

    def close(self) -> None:
        """End the thread that draws, and the curves."""
        self._drawing.shutdown(wait=False, cancel_futures=True)
        if self.writer is not None:
            self.writer.close()


def main(
    motion: Annotated[Path, typer.Option(help="folder of packed motion, or a pack made by training.motion")],
    experiment: Annotated[str, typer.Option(help=f"which regressor: {', '.join(EXPERIMENTS)}")] = "motion",
    folder: Annotated[Path | None, typer.Option(help="folder of the run (default: runs/EXPERIMENT)")] = None,
    budget_minutes: Annotated[float, typer.Option(help="stop after so many minutes; start again to go on")] = 1e9,
    single_steps: Annotated[int | None, typer.Option(help="steps of the single-frame stage")] = None,
    window_steps: Annotated[
        int | None, typer.Option(help="steps of the window stage; more than before goes on with a finished run")
    ] = None,
    history_steps: Annotated[int | None, typer.Option(help="steps of the stage of long windows")] = None,
    init: Annotated[Path | None, typer.Option(help="checkpoint of another run to take the weights from")] = None,
    seed: Annotated[int, typer.Option(help="of the first weights and of all that is drawn")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads (0: all)")] = 0,
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="compile the geometry first (minutes, needs a C++ compiler)"),
    ] = False,
    bfloat16: Annotated[
        bool,
        typer.Option(
            "--bfloat16", help="multiply in bfloat16: faster on CPUs with AMX or AVX-512 BF16; on GPUs always so"
        ),
    ] = False,
) -> None:
    """Train a regressor; goes on from the run's checkpoint where there is one."""
    if experiment not in EXPERIMENTS:
        raise typer.BadParameter(f"there is no experiment '{experiment}': choose one of {', '.join(EXPERIMENTS)}")
    if threads:
        torch.set_num_threads(threads)
    config = copy.deepcopy(EXPERIMENTS[experiment])
    config.seed = seed
    config.single.steps = config.single.steps if single_steps is None else single_steps
    config.windows.steps = config.windows.steps if window_steps is None else window_steps
    config.history.steps = config.history.steps if history_steps is None else history_steps
    group = init_distributed()
    trainer = Trainer(motion, folder or Path("runs") / experiment, config, group, bfloat16)
    if compiled:
        trainer.network.compile_geometry()
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
        trainer.close()
        group.leave()


if __name__ == "__main__":
    run_command(main, examples="Example: python -m training.train --motion motion.npz --budget-minutes 60")
