"""Small convolutional encoders of a person's region: of its optical flow, and, for comparisons only, of its pixels.

There are two of each: a plain one and a residual one, which also locates keypoints, learns far more from the same people, and
costs several times as much. The shipped networks use the plain flow encoder.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from body.joints import KEYPOINTS
from training.networks.inputs import FLOW_CELLS, IMAGE_SIDE

HEAT = 16
"""Cells along each side of the keypoint heat maps."""
COMPENSATIONS = ("median", "none")
_POOLED = FLOW_CELLS // 2


def _ring(side: int) -> Tensor:
    """The outermost cells of a field, which rarely show the person."""
    inner = torch.zeros(side, side, dtype=torch.bool)
    inner[1:-1, 1:-1] = True
    return (~inner).flatten().nonzero()[:, 0]


def _compressed(speed: Tensor) -> Tensor:
    """Signed logarithm of speeds, which span three decades: it keeps both ends in the network's range."""
    return torch.log(speed.abs() * 8 + 1) * torch.sign(speed) * 0.5


def _strided_convolutions(channels: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layer = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)
        # He et al. 2015. With PyTorch's smaller default weights a fortieth of the signal is left after four layers, and nothing
        # is learned.
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers)


class _FlowReader(nn.Module):
    """Base of the encoders of flow fields, from which the camera's motion is subtracted.

    ``compensation``: "median" subtracts the median motion of the region's border, which mostly shows the background and so
    moves as the camera does; "none" leaves the field as it is. ``cells`` is the side of that field.
    """

    ring: Tensor

    def __init__(self, cells: int, compensation: str) -> None:
        super().__init__()
        if compensation not in COMPENSATIONS:
            raise ValueError(f"unknown compensation '{compensation}': choose {' or '.join(COMPENSATIONS)}")
        self.compensation = compensation
        self.register_buffer("ring", _ring(cells), persistent=False)


class FlowEncoder(_FlowReader):
    """Flow fields to vectors of ``width``."""

    def __init__(self, width: int, compensation: str = "median") -> None:
        super().__init__(_POOLED, compensation)
        self.convolutions = _strided_convolutions((3, 24, 48))
        self.out = nn.Linear(48 * (_POOLED // 4) ** 2, width)

    def camera_motion(self, field: Tensor) -> Tensor:
        """Motion (N, 2) of the scene behind the person, in the units of ``field`` (N, 2, 16, 16)."""
        if self.compensation == "none":
            return torch.zeros_like(field[:, :, 0, 0])
        border = field.flatten(2).index_select(2, self.ring)
        return border.topk(self.ring.shape[0] // 2, dim=2, sorted=True).values[..., -1]

    def forward(self, flow: Tensor, valid: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (N, width) and camera motion (N, 2) of ``flow`` (N, 32, 32, 2) in sides of the region, ``valid`` (N,),
        ``dt`` (N,) s."""
        pooled = flow.reshape(-1, _POOLED, 2, _POOLED, 4).sum(2)
        field = (pooled[..., :2] + pooled[..., 2:]).permute(0, 3, 1, 2) * 0.25
        background = self.camera_motion(field)
        speed = (field - background[..., None, None]) / dt.clamp(0.004, 1.0)[:, None, None, None]
        compressed = _compressed(speed)
        length = compressed.square().sum(1, keepdim=True)
        image = torch.cat([compressed, length], 1) * valid[:, None, None, None]
        return self.out(self.convolutions(image).flatten(1)), background


class ImageEncoder(nn.Module):
    """RGB crops (N, 3, 64, 64), 0..1, to vectors of ``width``. The shipped networks have none: they see no pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolutions = _strided_convolutions((3, 16, 32, 48, 64))
        self.out = nn.Linear(64 * (IMAGE_SIDE // 16) ** 2, width)

    def forward(self, image: Tensor) -> Tensor:
        """Encode ``image`` (N, 3, 64, 64)."""
        return self.out(self.convolutions((image - 0.45) * 4).flatten(1))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)),
            *(nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class KeypointReader(nn.Module):
    """Images (N, channels, side, side) of a person's region to vectors (N, width), and to the logits (N, 17, 16, 16) of where
    in the region each COCO keypoint is.

    Residual blocks (He et al. 2016) read the region at three scales; the maps combine all of them, coarse to fine (Lin et
    al. 2017). The vector holds the features of the coarsest scale, and the keypoints as the means of their maps (Sun et
    al. 2018).
    """

    grid: Tensor

    def __init__(self, channels: int, side: int, width: int) -> None:
        super().__init__()
        fine, middle, coarse = 32, 64, 96
        halvings = (side // HEAT).bit_length() - 1
        stem: list[nn.Module] = [nn.Conv2d(channels, 16, 5, stride=2 if halvings > 1 else 1, padding=2), nn.ReLU()]
        self.fine = nn.Sequential(*stem, nn.Conv2d(16, fine, 3, stride=2, padding=1), _Residual(fine))
        self.middle = nn.Sequential(nn.Conv2d(fine, middle, 3, stride=2, padding=1), _Residual(middle))
        self.coarse = nn.Sequential(nn.Conv2d(middle, coarse, 3, stride=2, padding=1), _Residual(coarse))
        self.from_coarse = nn.Conv2d(coarse, middle, 1)
        self.from_middle = nn.Conv2d(middle, fine, 1)
        self.map = nn.Sequential(
            nn.BatchNorm2d(fine),
            nn.ReLU(),
            nn.Conv2d(fine, fine, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(fine, KEYPOINTS, 1),
        )
        self.whole = nn.Sequential(nn.BatchNorm2d(coarse), nn.ReLU())
        self.out = nn.Linear(coarse * (HEAT // 4) ** 2 + KEYPOINTS * 3, width)
        steps = (torch.arange(HEAT) + 0.5) / HEAT * 2 - 1
        grid = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).reshape(-1, 2)
        self.register_buffer("grid", grid, persistent=False)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors and logits, as above, of ``image``."""
        fine = self.fine(image)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        below = middle + nn.functional.interpolate(self.from_coarse(coarse), scale_factor=2.0)
        maps = self.map(fine + nn.functional.interpolate(self.from_middle(below), scale_factor=2.0))
        share = maps.flatten(2).softmax(-1)
        points = (share @ self.grid).flatten(1)
        values = [self.whole(coarse).flatten(1), points, share.amax(-1)]
        return self.out(torch.cat(values, 1)), maps


class ResidualFlowEncoder(_FlowReader):
    """As `FlowEncoder`, by a `KeypointReader` of all cells."""

    def __init__(self, width: int, compensation: str = "median") -> None:
        super().__init__(FLOW_CELLS, compensation)
        self.reader = KeypointReader(3, FLOW_CELLS, width)

    def reader_input(self, flow: Tensor, valid: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        """The reader's input (N, 3, 32, 32): speed across and down, and its length; and the camera's motion (N, 2)."""
        field = flow.permute(0, 3, 1, 2)
        background = torch.zeros_like(field[:, :, 0, 0])
        if self.compensation == "median":
            background = field.flatten(2).index_select(2, self.ring).median(2).values
        speed = (field - background[..., None, None]) / dt.clamp(0.004, 1.0)[:, None, None, None]
        compressed = _compressed(speed)
        length = (compressed.square().sum(1, keepdim=True) + 1e-8).sqrt()
        return torch.cat([compressed, length], 1) * valid[:, None, None, None], background

    def forward(self, flow: Tensor, valid: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        """As `FlowEncoder.forward`."""
        field, background = self.reader_input(flow, valid, dt)
        return self.reader(field)[0], background


class ResidualImageEncoder(nn.Module):
    """As `ImageEncoder`, by a `KeypointReader`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reader = KeypointReader(3, IMAGE_SIDE, width)

    def reader_input(self, image: Tensor) -> Tensor:
        """The reader's input, (N, 3, 64, 64)."""
        return (image - 0.45) * 4

    def forward(self, image: Tensor) -> Tensor:
        """Encode ``image`` (N, 3, 64, 64)."""
        vectors: Tensor = self.reader(self.reader_input(image))[0]
        return vectors
