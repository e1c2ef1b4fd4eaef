"""What defines a training run: its stages, its learning rate at every step, and the runs of this version's regressors."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.losses import LossWeights
from training.motion.bank import Augmentation
from training.networks.lifter_config import LifterConfig


@dataclass(slots=True)
class Stage:
    """One stage of training. The learning rate rises to its peak, stays there, and falls with the inverse square root of the
    steps.

    The recurrent state is carried from one chunk to the next, gradients are not (truncated backpropagation through time):
    so the network learns to run on for longer than a window.
    """

    steps: int
    """Optimiser steps."""
    batch: int
    """Windows in a step, in each process."""
    length: int
    """Frames of a window."""
    rate: float
    """Peak learning rate."""
    chunks: int = 1
    """Consecutive windows that show the same people."""
    supervised_frames: int = 0
    """Number of consecutive frames of each window, its first or its last ones, that the loss covers. The others only update
    the state, which costs half. 0: all frames."""
    warm_up: int = 200
    """Steps over which the learning rate rises to its peak."""
    decay_after: int = 1_000_000_000
    """Steps after which the learning rate falls."""
    state_corruption: float = 0.0
    """Share of people who start a chunk with a wrong recurrent state: half of them with somebody else's, half with their own
    of the chunk before. It teaches the network to let the present frames overrule the state."""
    single_frames: int = 0
    """Number of single frames, each of another person, that every step learns from besides the windows. A window has many
    frames of few people, which alone would spoil what single frames taught about poses and cameras."""


@dataclass(slots=True)
class TrainConfig:
    """All that defines a run; kept in its checkpoints."""

    network: LifterConfig = field(default_factory=LifterConfig)
    """What the regressor reads, and its sizes."""
    single: Stage = field(default_factory=lambda: Stage(6000, 1024, 1, 1.5e-3))
    """First stage, on single frames."""
    windows: Stage = field(
        default_factory=lambda: Stage(
            5500,
            128,
            16,
            8e-4,
            chunks=5,
            supervised_frames=8,
            decay_after=3000,
            state_corruption=0.3,
            single_frames=768,
        )
    )
    """Second stage, on windows."""
    weights: LossWeights = field(default_factory=LossWeights)
    """Weights of the loss's terms."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Changes made to drawn motion."""
    weight_decay: float = 0.01
    """Weight decay of AdamW."""
    average: float = 0.999
    """Decay of the exponential moving average of the weights, per step."""
    rendered: float = 0.1
    """Share of the windows whose keypoints are as hard to detect as rendered people's: real video also has hard frames."""
    without_flow: float = 0.4
    """Share of the windows without flow."""
    cool_down: float = 0.4
    """Share of the second stage, its last steps, over which the learning rate falls to zero."""
    seed: int = 0
    """Seed of the initial weights and of the training data."""

    @property
    def steps(self) -> int:
        """Steps of both stages together."""
        return self.single.steps + self.windows.steps

    @property
    def steady_steps(self) -> int:
        """Steps before the learning rate begins to fall to zero."""
        return self.single.steps + round(self.windows.steps * (1 - self.cool_down))

    def stage(self, step: int) -> Stage:
        """The stage that ``step`` belongs to."""
        return self.single if step < self.single.steps else self.windows

    def rate(self, step: int) -> float:
        """The learning rate of ``step``.

        A function of the step, because torch's ``LambdaLR`` counts steps itself: its counter and rates would have to be set
        wherever a run is resumed, or continued with more steps.
        """
        stage = self.stage(step)
        done = step - (0 if stage is self.single else self.single.steps)
        warm_up = min(1.0, (done + 1) / max(stage.warm_up, 1))
        decay = min(1.0, (stage.decay_after / max(done, 1)) ** 0.5)
        cool_down = min(1.0, (self.steps - step) / max(self.steps - self.steady_steps, 1))
        return stage.rate * warm_up * decay * cool_down


EXPERIMENTS: dict[str, TrainConfig] = {
    "motion": TrainConfig(network=LifterConfig(width=512, blocks=3, rounds=3, memoryless_legs=True)),
    "keypoints": TrainConfig(network=LifterConfig(width=512, blocks=3, flow=False, rounds=3, memoryless_legs=True)),
}
"""``motion`` reads flow and gave the shipped weights of that name; ``keypoints`` reads keypoints alone, and its shipped weights
are older."""
