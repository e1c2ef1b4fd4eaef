"""Small convolutional encoders of a person's region: of its optical flow, and, for comparisons only, of its pixels."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from training.networks.inputs import FLOW_CELLS, IMAGE_SIDE

_POOLED = FLOW_CELLS // 2


def _ring() -> Tensor:
    """The outermost cells of the pooled field, which rarely show the person."""
    inner = torch.zeros(_POOLED, _POOLED, dtype=torch.bool)
    inner[1:-1, 1:-1] = True
    return (~inner).flatten().nonzero()[:, 0]


def _halving(channels: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for into, out in pairwise(channels):
        layer = nn.Conv2d(into, out, 3, stride=2, padding=1)
        # He et al. 2015. PyTorch's own weights are smaller: after four layers a fortieth is left, and nothing is learned.
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers)


class FlowEncoder(nn.Module):
    """Flow fields to vectors of ``width``, with the camera's own motion taken out.

    ``compensation``: "median" subtracts the median motion of the region's border, which shows the scene behind the person
    and so moves as the camera does; "none" leaves the field as it is.
    """

    ring: Tensor

    def __init__(self, width: int, compensation: str = "median") -> None:
        super().__init__()
        if compensation not in ("median", "none"):
            raise ValueError(f"unknown compensation '{compensation}': choose median or none")
        self.compensation = compensation
        self.register_buffer("ring", _ring(), persistent=False)
        self.convolutions = _halving((3, 24, 48))
        self.out = nn.Linear(48 * (_POOLED // 4) ** 2, width)

    def camera_motion(self, field: Tensor) -> Tensor:
        """Motion (N, 2) of the scene behind the person, in the units of ``field`` (N, 2, 16, 16)."""
        if self.compensation == "none":
            return torch.zeros_like(field[:, :, 0, 0])
        border = field.flatten(2).index_select(2, self.ring)
        return border.topk(len(self.ring) // 2, dim=2, sorted=True).values[..., -1]

    def forward(self, flow: Tensor, valid: Tensor, dt: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (N, width) and camera motion (N, 2) of ``flow`` (N, 32, 32, 2) in sides of the region, ``valid`` (N,),
        ``dt`` (N,) s."""
        pooled = flow.reshape(-1, _POOLED, 2, _POOLED, 4).sum(2)
        field = (pooled[..., :2] + pooled[..., 2:]).permute(0, 3, 1, 2) * 0.25
        behind = self.camera_motion(field)
        speed = (field - behind[..., None, None]) / dt.clamp(0.004, 1.0)[:, None, None, None]
        # Speeds span three decades; the logarithm keeps both ends in the network's range.
        squeezed = torch.log(speed.abs() * 8 + 1) * torch.sign(speed) * 0.5
        length = squeezed.square().sum(1, keepdim=True)
        image = torch.cat([squeezed, length], 1) * valid[:, None, None, None]
        return self.out(self.convolutions(image).flatten(1)), behind


class ImageEncoder(nn.Module):
    """RGB crops (N, 3, 64, 64), 0..1, to vectors of ``width``. The shipped networks have none: they see no pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolutions = _halving((3, 16, 32, 48, 64))
        self.out = nn.Linear(64 * (IMAGE_SIDE // 16) ** 2, width)

    def forward(self, image: Tensor) -> Tensor:
        return self.out(self.convolutions((image - 0.45) * 4).flatten(1))
