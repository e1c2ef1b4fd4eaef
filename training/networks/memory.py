"""The regressor's state for each person: a recurrent memory that works in seconds instead of frames, and the body shape.

The memory of a recurrent cell that steps once a frame spans a number of frames: a quarter of the time at 60 fps of that at
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

_SHAPE_KEPT = 0.995
"""Share of the evidence of a shape that is kept from tick to tick: half of it is 11 s old at most."""
_PRIOR = (1.0, 1.0, 0.7, 1.0, 1.0, 0.7, 0.7, 0.7, 0.7, 0.7)
"""Deviations of the betas of people about whom nothing is known, as `training.simulation.shapes` draws them."""
_PRIOR_MEAN = (0.0, 0.0, -0.8, *[0.0] * 7)


class ShapeEvidence(nn.Module):
    """The product of Gaussian estimates of the betas. The state (B, 20) is the sum of precisions (relative to the prior's) and
    the sum of means weighted by them."""

    STATE = 2 * BETAS
    deviation: Tensor
    mean: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.say = nn.Linear(width, self.STATE)
        self.register_buffer("deviation", torch.tensor(_PRIOR), persistent=False)
        self.register_buffer("mean", torch.tensor(_PRIOR_MEAN), persistent=False)
        with torch.no_grad():
            self.say.weight.mul_(0.1)
            self.say.bias.zero_()
            self.say.bias[:BETAS] = -1.0

    def forward(self, known: Tensor, commit: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Betas and their deviations (B, T, 10) after each frame, and the next state, from ``known`` (B, T, width) and
        ``commit`` (B, T, 1), 1 where the memory ticks."""
        estimate = self.say(known).float()
        precision = nn.functional.softplus(estimate[..., :BETAS])
        evidence = torch.cat([precision, precision * estimate[..., BETAS:] * self.deviation], -1)
        sums = []
        for t in range(evidence.shape[1]):
            now = _SHAPE_KEPT * state + evidence[:, t]
            state = state + commit[:, t] * (now - state)
            sums.append(now)
        total = torch.stack(sums, 1)
        certain = total[..., :BETAS] + 1
        return self.mean + total[..., BETAS:] / certain, self.deviation * torch.rsqrt(certain), state


class Memory(nn.Module):
    """A gated recurrent unit (Cho et al. 2014) that ticks every ``tick_s`` seconds, as near as the frames allow."""

    def __init__(self, width: int, memory: int, tick_s: float) -> None:
        super().__init__()
        self.size, self.tick_s = memory, tick_s
        self.first = nn.Linear(width, memory)
        self.into = nn.Linear(width + 1, 3 * memory)
        self.again = nn.Linear(memory, 3 * memory)

    @property
    def state_size(self) -> int:
        """Memory, seconds since the last tick, and 1 after the first frame."""
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

    def forward(self, seen: Tensor, dt: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features after each frame (B, T, M), which frames ticked (B, T, 1), and the next state, from the per-frame network's
        features ``seen`` (B, T, width), ``dt`` (B, T) s and ``state`` (B, M + 2); zeros start a new person."""
        elapsed, ticks, clock = self.clock(dt, state)
        late = (elapsed.clamp(0.004, 2.0) / self.tick_s).log()
        given = self.into(torch.cat([seen, late[..., None].to(seen.dtype)], -1)).float()
        start = torch.tanh(self.first(seen[:, 0]).float())
        kept = state[:, : self.size] + (1 - state[:, self.size + 1 :]) * start
        known = []
        m = self.size
        for t in range(seen.shape[1]):
            a, b = given[:, t], self.again(kept).float()
            gates = torch.sigmoid(a[:, : 2 * m] + b[:, : 2 * m])
            fresh = torch.tanh(a[:, 2 * m :] + gates[:, :m] * b[:, 2 * m :])
            now = fresh + gates[:, m:] * (kept - fresh)
            kept = kept + ticks[:, t, None] * (now - kept)
            known.append(now)
        return torch.stack(known, 1), ticks[..., None], torch.cat([kept, clock], 1)
