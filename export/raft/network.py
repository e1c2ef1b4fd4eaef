"""RAFT-small (Teed & Deng, "RAFT: Recurrent All-Pairs Field Transforms for Optical Flow", ECCV 2020), written for export.

The published network looks its correlations up with ``grid_sample``, which some runtimes lack and none does on its matrix
units. Bilinear sampling of a 7 × 7 window is separable, and weighting a row of pixels by the hat function
max(0, 1 - |x - pixel|) IS linear interpolation with zeros outside; so a lookup becomes two small matrix products. Instance
normalisation, a plugin in the oldest supported TensorRT, is spelt out. Both compute what the original does, up to rounding.

Modules and parameters carry the names of the published checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 8
"""Pixels of the image along one cell of the features that the flow is found on."""

_LEVELS, _RADIUS = 4, 3
_FEATURES, _HIDDEN, _CONTEXT = 128, 96, 64

SMALLEST = STRIDE << _LEVELS
"""Sides of the image must be multiples of `STRIDE` and at least this long, px: or the coarsest correlations are empty."""


class InstanceNorm(nn.Module):
    """`nn.InstanceNorm2d` without parameters, in operators that every runtime has."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise every channel of every image."""
        centred = x - x.mean((2, 3), keepdim=True)
        return centred / torch.sqrt((centred * centred).mean((2, 3), keepdim=True) + 1e-5)


def _norm(wanted: bool) -> nn.Module:
    return InstanceNorm() if wanted else nn.Identity()


class Bottleneck(nn.Module):
    """Residual block: 1 × 1, 3 × 3 with stride, 1 × 1."""

    def __init__(self, before: int, after: int, norm: bool, stride: int) -> None:
        """Make a block from ``before`` to ``after`` channels."""
        super().__init__()
        inner = after // 4
        self.conv1 = nn.Conv2d(before, inner, 1)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1)
        self.conv3 = nn.Conv2d(inner, after, 1)
        self.norm = _norm(norm)
        self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride), _norm(norm)) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        y = torch.relu(self.norm(self.conv1(x)))
        y = torch.relu(self.norm(self.conv2(y)))
        y = torch.relu(self.norm(self.conv3(y)))
        if self.downsample is not None:
            x = self.downsample(x)
        return torch.relu(x + y)


class FeatureEncoder(nn.Module):
    """Image (N, 3, H, W) to features (N, channels, H/8, W/8)."""

    def __init__(self, channels: int, norm: bool) -> None:
        """Make an encoder to ``channels`` channels, with or without normalisation."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 7, 2, 3)
        self.norm = _norm(norm)
        self.layer1 = nn.Sequential(Bottleneck(32, 32, norm, 1), Bottleneck(32, 32, norm, 1))
        self.layer2 = nn.Sequential(Bottleneck(32, 64, norm, 2), Bottleneck(64, 64, norm, 1))
        self.layer3 = nn.Sequential(Bottleneck(64, 96, norm, 2), Bottleneck(96, 96, norm, 1))
        self.conv2 = nn.Conv2d(96, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = torch.relu(self.norm(self.conv1(x)))
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class MotionEncoder(nn.Module):
    """Correlations around the present flow, and that flow itself, to 82 channels."""

    def __init__(self) -> None:
        """Make the encoder."""
        super().__init__()
        self.convc1 = nn.Conv2d(_LEVELS * (2 * _RADIUS + 1) ** 2, 96, 1)
        self.convf1 = nn.Conv2d(2, 64, 7, padding=3)
        self.convf2 = nn.Conv2d(64, 32, 3, padding=1)
        self.conv = nn.Conv2d(128, 80, 3, padding=1)

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        """See the class."""
        seen = torch.relu(self.convc1(correlation))
        moved = torch.relu(self.convf2(torch.relu(self.convf1(flow))))
        return torch.cat([torch.relu(self.conv(torch.cat([seen, moved], 1))), flow], 1)


class ConvGru(nn.Module):
    """A gated recurrent unit whose products are 3 × 3 convolutions."""

    def __init__(self, inputs: int) -> None:
        """Make a unit with ``inputs`` channels beside its hidden ones."""
        super().__init__()
        self.convz = nn.Conv2d(_HIDDEN + inputs, _HIDDEN, 3, padding=1)
        self.convr = nn.Conv2d(_HIDDEN + inputs, _HIDDEN, 3, padding=1)
        self.convq = nn.Conv2d(_HIDDEN + inputs, _HIDDEN, 3, padding=1)

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        """The next hidden state."""
        both = torch.cat([hidden, x], 1)
        update = torch.sigmoid(self.convz(both))
        reset = torch.sigmoid(self.convr(both))
        fresh = torch.tanh(self.convq(torch.cat([reset * hidden, x], 1)))
        return (1 - update) * hidden + update * fresh


class FlowHead(nn.Module):
    """Hidden state to the change of the flow."""

    def __init__(self) -> None:
        """Make the head."""
        super().__init__()
        self.conv1 = nn.Conv2d(_HIDDEN, 128, 3, padding=1)
        self.conv2 = nn.Conv2d(128, 2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """See the class."""
        return self.conv2(torch.relu(self.conv1(hidden)))


class UpdateBlock(nn.Module):
    """One iteration: a better hidden state, and what it adds to the flow."""

    def __init__(self) -> None:
        """Make one round of refinement."""
        super().__init__()
        self.encoder = MotionEncoder()
        self.gru = ConvGru(_CONTEXT + 82)
        self.flow_head = FlowHead()

    def forward(self, hidden: Tensor, context: Tensor, correlation: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        hidden = self.gru(hidden, torch.cat([context, self.encoder(flow, correlation)], 1))
        return hidden, self.flow_head(hidden)


class RaftSmall(nn.Module):
    """Flow between images of one fixed size.

    Inputs: previous and current (N, side, side, 3) float32, red, green and blue in 0..255. Output: (N, side/shrink,
    side/shrink, 2) float32 in pixels of its own grid, each the mean of ``shrink``² pixels: what is at pixel p of the previous
    image, were it that small, is at p + flow[p] in the current one.

    Raises ``ValueError`` for a side that the network cannot work on, or that ``shrink`` does not divide.
    """

    def __init__(self, side: int, iterations: int, shrink: int = 1) -> None:
        """Make the network with random weights."""
        super().__init__()
        if side < SMALLEST or side % STRIDE:
            raise ValueError(f"RAFT needs a side of {SMALLEST} px or more that {STRIDE} divides, not {side}")
        if shrink < 1 or side % shrink:
            raise ValueError(f"a flow field of side {side} px cannot be made {shrink} times smaller")
        if iterations < 1:
            raise ValueError(f"RAFT needs at least one iteration, not {iterations}")
        self.side, self.iterations, self.shrink = side, iterations, shrink
        self._cells = side // STRIDE
        self.fnet = FeatureEncoder(_FEATURES, norm=True)
        self.cnet = FeatureEncoder(_HIDDEN + _CONTEXT, norm=False)
        self.update_block = UpdateBlock()
        line = torch.arange(self._cells, dtype=torch.float32)
        down, across = torch.meshgrid(line, line, indexing="ij")
        self.register_buffer("grid", torch.stack([across, down])[None], persistent=False)
        reach = torch.arange(-_RADIUS, _RADIUS + 1, dtype=torch.float32)
        for level in range(_LEVELS):
            # Where a window's cells lie, seen from each cell of the level: reach minus position.
            seen = reach[:, None] - torch.arange(self._cells >> level)
            self.register_buffer(f"window{level}", seen[None], persistent=False)

    def forward(self, previous: Tensor, current: Tensor) -> Tensor:
        """See the class."""
        # Nothing here asks how many pairs there are: a graph without shape arithmetic is one that every runtime optimises.
        pairs = torch.stack([previous, current], 1).reshape(-1, self.side, self.side, 3)
        images = pairs.permute(0, 3, 1, 2) * (2 / 255) - 1
        features = self.fnet(images).reshape(-1, 2, _FEATURES, self._cells**2)
        levels = self._correlate(features[:, 0], features[:, 1])
        known = self.cnet(images.reshape(-1, 2, 3, self.side, self.side)[:, 0])
        hidden, context = torch.tanh(known[:, :_HIDDEN]), torch.relu(known[:, _HIDDEN:])
        flow = known[:, :2] * 0
        for _ in range(self.iterations):
            hidden, change = self.update_block(hidden, context, self._sample_correlations(levels, flow), flow)
            flow = flow + change
        flow = flow * (STRIDE / self.shrink)
        flow = functional.interpolate(flow, scale_factor=STRIDE, mode="bilinear", align_corners=True)
        if self.shrink > 1:
            flow = functional.avg_pool2d(flow, self.shrink)
        return flow.permute(0, 2, 3, 1)

    def _correlate(self, one: Tensor, other: Tensor) -> list[Tensor]:
        """Similarity of every cell to every cell, at successively halved resolution: (N · cells², n, n) each."""
        cells = self._cells
        every = one.transpose(1, 2) @ other * _FEATURES**-0.5
        level = every.reshape(-1, 1, cells, cells)
        levels = [level[:, 0]]
        for _ in range(_LEVELS - 1):
            level = functional.avg_pool2d(level, 2)
            levels.append(level[:, 0])
        return levels

    def _sample_correlations(self, levels: list[Tensor], flow: Tensor) -> Tensor:
        """Similarities in a 7 × 7 window around where each cell has moved to: (N, 196, cells, cells)."""
        place = (self.get_buffer("grid") + flow).permute(0, 2, 3, 1).reshape(-1, 2, 1, 1)
        found = []
        for number, level in enumerate(levels):
            window = self.get_buffer(f"window{number}")
            columns = torch.relu(1 - (place[:, 0] * 0.5**number + window).abs())
            rows = torch.relu(1 - (place[:, 1] * 0.5**number + window).abs())
            # The published weights expect windows in which x is the slowest index.
            found.append((columns @ (rows @ level).transpose(1, 2)).reshape(-1, self._cells**2, (2 * _RADIUS + 1) ** 2))
        return torch.cat(found, -1).transpose(1, 2).reshape(-1, _LEVELS * 49, self._cells, self._cells)
