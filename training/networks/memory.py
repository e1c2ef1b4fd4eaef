"""The regressor's state for each person: a recurrent memory that works in seconds instead of frames, and the body shape.

A recurrent cell that is updated once a frame remembers a number of frames: at 60 fps a quarter of the time that it remembers at
15. So the state is updated at a fixed rate, 10 to 19 ticks a second, whatever the camera's. Between ticks every frame
computes one step of the cell from the state of the last tick, given the time since then, and discards it. The graph has no
branch: an update is a blend by 0 or 1.

A person's shape does not change. Every tick predicts it with a precision; these predictions are multiplied as Gaussians are,
so that the estimate's deviation shrinks with the time that somebody is seen.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from body.packed import BETAS

_EVIDENCE_KEPT = 0.995
"""Share of the evidence of a shape that is kept from tick to tick: half of it is 11 s old at most."""
_PRIOR_DEVIATION = (1.0, 1.0, 0.7, 1.0, 1.0, 0.7, 0.7, 0.7, 0.7, 0.7)
"""Deviations of the betas before anything is seen, as `training.simulation.shapes` draws them."""
_PRIOR_MEAN = (0.0, 0.0, -0.8, *[0.0] * 7)


class ShapeEvidence(nn.Module):
    """The product of Gaussian estimates of the betas. The state (B, 20) is the sum of precisions (relative to the prior's) and
    the sum of means weighted by them."""

    STATE = 2 * BETAS
    deviation: Tensor
    mean: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.estimate = nn.Linear(width, self.STATE)
        self.register_buffer("deviation", torch.tensor(_PRIOR_DEVIATION), persistent=False)
        self.register_buffer("mean", torch.tensor(_PRIOR_MEAN), persistent=False)
        with torch.no_grad():
            self.estimate.weight.mul_(0.1)
            self.estimate.bias.zero_()
            self.estimate.bias[:BETAS] = -1.0

    def forward(self, features: Tensor, ticks: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Betas and their deviations (B, T, 10) after each frame, and the next state, from ``features`` (B, T, width) and
        ``ticks`` (B, T, 1), 1 where the state is updated."""
        estimate = self.estimate(features).float()
        precision = nn.functional.softplus(estimate[..., :BETAS])
        evidence = torch.cat([precision, precision * estimate[..., BETAS:] * self.deviation], -1)
        sums = []
        for t, added in enumerate(evidence.unbind(1)):
            updated = _EVIDENCE_KEPT * state + added
            state = state + ticks[:, t] * (updated - state)
            sums.append(updated)
        total = torch.stack(sums, 1)
        posterior_precision = total[..., :BETAS] + 1
        mean = self.mean + total[..., BETAS:] / posterior_precision
        return mean, self.deviation * torch.rsqrt(posterior_precision), state


class Memory(nn.Module):
    """A gated recurrent unit (Cho et al. 2014) that ticks every ``tick_s`` seconds, as near as the frames allow."""

    def __init__(self, width: int, memory: int, tick_s: float) -> None:
        super().__init__()
        self.size, self.tick_s = memory, tick_s
        self.initial = nn.Linear(width, memory)
        self.from_input = nn.Linear(width + 1, 3 * memory)
        self.from_state = nn.Linear(memory, 3 * memory)

    @property
    def state_size(self) -> int:
        """Hidden features, seconds since the last tick, and 1 after the first frame."""
        return self.size + 2

    def clock(self, dt: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Seconds since the last tick before each frame (B, T), which frames tick (B, T) 1 or 0, and (B, 2) the next state's
        clock. A person's first frame ticks."""
        since, alive = state[:, self.size], state[:, self.size + 1]
        elapsed, ticks = [], []
        for t in range(dt.shape[1]):
            now = (since + dt[:, t]) * alive + self.tick_s * (1 - alive)
            tick = (now + 0.5 * dt[:, t] >= self.tick_s).to(now.dtype)
            since, alive = now * (1 - tick), torch.ones_like(alive)
            elapsed.append(now)
            ticks.append(tick)
        return torch.stack(elapsed, 1), torch.stack(ticks, 1), torch.stack([since, alive], 1)

    def forward(self, inputs: Tensor, dt: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The cell's output after each frame (B, T, M), which frames ticked (B, T, 1), and the next state, from the per-frame
        network's features ``inputs`` (B, T, width), ``dt`` (B, T) s and ``state`` (B, M + 2); zeros start a new person."""
        elapsed, ticks, clock = self.clock(dt, state)
        log_elapsed = (elapsed.clamp(0.004, 2.0) / self.tick_s).log()
        gate_inputs = self.from_input(torch.cat([inputs, log_elapsed[..., None].to(inputs.dtype)], -1)).float()
        start = torch.tanh(self.initial(inputs[:, 0]).float())
        hidden = state[:, : self.size] + (1 - state[:, self.size + 1 :]) * start
        outputs = []
        m = self.size
        for t, a in enumerate(gate_inputs.unbind(1)):
            b = self.from_state(hidden).float()
            gates = torch.sigmoid(a[:, : 2 * m] + b[:, : 2 * m])
            candidate = torch.tanh(a[:, 2 * m :] + gates[:, :m] * b[:, 2 * m :])
            output = candidate + gates[:, m:] * (hidden - candidate)
            hidden = hidden + ticks[:, t, None] * (output - hidden)
            outputs.append(output)
        return torch.stack(outputs, 1), ticks[..., None], torch.cat([hidden, clock], 1)
