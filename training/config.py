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
    history_frames: int = 0
    """Frames at the beginning of each window that come at 10 to 16 a second, whatever the rate of the others: they last
    seconds, so that the gradient shows what was worth remembering for so long."""
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
    history: Stage = field(default_factory=lambda: Stage(0, 64, 40, 8e-4))
    """Third stage, on windows that last seconds. It starts from the averaged weights with a new optimiser. No steps: there
    is none."""
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
    """Share of the second and of the third stage, their last steps, over which the learning rate falls to zero."""
    seed: int = 0
    """Seed of the initial weights and of the training data."""

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return self.restart + self.history.steps

    @property
    def restart(self) -> int:
        """Steps before the third stage."""
        return self.single.steps + self.windows.steps

    @property
    def steady_steps(self) -> int:
        """Steps before the learning rate falls to zero for the last time."""
        return self.steps - round((self.history.steps or self.windows.steps) * self.cool_down)

    def stage(self, step: int) -> Stage:
        """The stage that ``step`` belongs to."""
        return self._stage_and_start(step)[0]

    def _stage_and_start(self, step: int) -> tuple[Stage, int]:
        """The stage that ``step`` belongs to, and its first step."""
        if step < self.single.steps:
            return self.single, 0
        if step < self.restart or not self.history.steps:
            return self.windows, self.single.steps
        return self.history, self.restart

    def rate(self, step: int) -> float:
        """The learning rate of ``step``, for torch's ``LambdaLR`` and an optimiser whose own rate is 1."""
        stage, start = self._stage_and_start(step)
        done = step - start
        warm_up = min(1.0, (done + 1) / max(stage.warm_up, 1))
        decay = min(1.0, (stage.decay_after / max(done, 1)) ** 0.5)
        falling = 0 if stage is self.single else round(stage.steps * self.cool_down)
        cool_down = min(1.0, (stage.steps - done) / falling) if falling else 1.0
        return stage.rate * warm_up * decay * cool_down


_HISTORY = Stage(2600, 64, 40, 5e-4, chunks=2, warm_up=100, state_corruption=0.3, history_frames=28, single_frames=768)

EXPERIMENTS: dict[str, TrainConfig] = {
    "motion": TrainConfig(
        network=LifterConfig(width=512, blocks=5, memory=384, rounds=3, correction=256, memoryless_legs=True),
        history=_HISTORY,
    ),
    "keypoints": TrainConfig(
        network=LifterConfig(width=512, blocks=3, flow=False, rounds=3, memoryless_legs=True), history=_HISTORY
    ),
}
"""``motion`` reads flow, ``keypoints`` keypoints alone; they gave the shipped weights of these names."""
