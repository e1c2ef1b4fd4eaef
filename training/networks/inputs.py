"""The input of a regressor: the record that training, evaluation and export give to a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

FLOW_CELLS = 32
"""Cells along each side of the flow field that networks read."""
IMAGE_SIDE = 64
"""Side of the RGB crop of networks that read pixels, px. These are trained for comparisons only."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What is observed of B people over T frames; float32."""

    points: Tensor
    """(B, T, 17, 2) COCO keypoints as detected, image pixels."""
    confidence: Tensor
    """(B, T, 17) their confidences, 0..1."""
    camera: Tensor
    """(B, T, 4) fx, fy, cx, cy, pixels."""
    dt: Tensor
    """(B, T) seconds since the frame before."""
    flow: Tensor
    """(B, T, 32, 32, 2) cell means of the optical flow from the frame before, in sides of the region."""
    box: Tensor
    """(B, T, 3) the region of the flow: centre x, y and side, image pixels."""
    flow_valid: Tensor
    """(B, T) 1 where there is flow; 0 in a person's first frame and wherever flow is missing."""
    image: Tensor | None = None
    """(B, T, 3, 64, 64) 0..1, the region's RGB crop of this frame; None for networks that read no images."""

    def without_flow(self) -> Observation:
        """The same people without flow."""
        return replace(self, flow=torch.zeros_like(self.flow), flow_valid=torch.zeros_like(self.flow_valid))

    def alone(self) -> Observation:
        """Every frame as that of another person: B T people over one frame, without flow."""
        single = self._cut(lambda part: part.flatten(0, 1)[:, None])
        return single.without_flow()

    def people(self, rows: Tensor) -> Observation:
        """The people selected by ``rows``, booleans or indices."""
        return self._cut(lambda part: part[rows])

    def frames(self, start: int, stop: int) -> Observation:
        """The same people from frame ``start`` to the one before ``stop``."""
        return self._cut(lambda part: part[:, start:stop])

    def _cut(self, cut: Callable[[Tensor], Tensor]) -> Observation:
        still = (cut(self.points), cut(self.confidence), cut(self.camera), cut(self.dt))
        motion = (cut(self.flow), cut(self.box), cut(self.flow_valid))
        return Observation(*still, *motion, None if self.image is None else cut(self.image))
