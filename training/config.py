"""What defines a training run: its stages, its learning rate at every step, and the runs of this version's regressors."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.losses import LossWeights
from training.motion.bank import Augmentation
from training.networks.lifter_config import LifterConfig


@dataclass(slots=True)
class Stage:
    """One stage of training. The learning rate rises to its peak, stays, and falls with the inverse square root of the
    steps.

    State is handed on from one chunk to the next, gradients are not (truncated backpropagation through time): otherwise
    it would drift in streams that are longer than a window.
    """

    steps: int
    """Optimiser steps."""
    batch: int
    """Windows in a step, on each process."""
    length: int
    """Frames of a window."""
    rate: float
    """Peak learning rate."""
    chunks: int = 1
    """Consecutive windows that show the same people."""
    answered: int = 0
    """Consecutive frames of each window, its first or its last ones, that the loss covers; the others only update the
    state, which costs half. 0: all."""
    warm_up: int = 200
    """First steps, over which the learning rate rises."""
    settle: int = 1_000_000_000
    """Steps after which it falls."""
    confused: float = 0.0
    """Share of people whose memory is made wrong from one chunk to the next, half of them by that of somebody else,
    half by their own of a chunk ago: what is seen now must overrule it."""
    singles: int = 0
    """Single frames, of as many other people, that each step learns from besides the windows. The frames of a window are much
    alike, and its few people alone would spoil what single frames taught about poses and cameras."""


@dataclass(slots=True)
class TrainConfig:
    """All that defines a run; kept in its checkpoints."""

    network: LifterConfig = field(default_factory=LifterConfig)
    """What the regressor reads, and its sizes."""
    single: Stage = field(default_factory=lambda: Stage(6000, 1024, 1, 1.5e-3))
    """First stage, on single frames."""
    windows: Stage = field(
        default_factory=lambda: Stage(5500, 128, 16, 8e-4, chunks=5, answered=8, settle=3000, confused=0.3, singles=768)
    )
    """Second stage, on windows."""
    weights: LossWeights = field(default_factory=LossWeights)
    """Of the loss's terms."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Changes made to drawn motion."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    average: float = 0.999
    """Share of the moving average of the weights that each step keeps."""
    rendered: float = 0.1
    """Share of the windows whose keypoints are as hard to detect as rendered people's: real video also has hard frames."""
    without_flow: float = 0.4
    """Share of the windows that have no flow at all."""
    cool_down: float = 0.4
    """Share of the windows' steps, the last ones, over which the learning rate falls to nothing."""
    seed: int = 0
    """Of the initial weights and all that is drawn."""

    @property
    def steps(self) -> int:
        """Of both stages together."""
        return self.single.steps + self.windows.steps

    @property
    def steady_steps(self) -> int:
        """Steps before the learning rate begins to fall to nothing."""
        return self.single.steps + round(self.windows.steps * (1 - self.cool_down))

    def stage(self, step: int) -> Stage:
        """The stage that ``step`` belongs to."""
        return self.single if step < self.single.steps else self.windows

    def rate(self, step: int) -> float:
        """The learning rate of ``step``.

        A function of the step instead of torch's ``LambdaLR``, which counts steps itself: its counter and the rates would have
        to be set by hand wherever a run is resumed, or continued with more steps.
        """
        stage = self.stage(step)
        done = step - (0 if stage is self.single else self.single.steps)
        left = (self.steps - step) / max(self.steps - self.steady_steps, 1)
        rise, settled = min(1.0, (done + 1) / max(stage.warm_up, 1)), min(1.0, (stage.settle / max(done, 1)) ** 0.5)
        return stage.rate * rise * settled * min(1.0, left)


EXPERIMENTS: dict[str, TrainConfig] = {
    "motion": TrainConfig(network=LifterConfig(width=512, blocks=3, rounds=3, timely=True)),
    "keypoints": TrainConfig(network=LifterConfig(width=512, blocks=3, flow=False, rounds=3, timely=True)),
}
"""With flow, the run that gave the shipped weights; and with keypoints alone, whose shipped weights are older."""
