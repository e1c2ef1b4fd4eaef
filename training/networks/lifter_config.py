"""What a regressor reads, and how large its parts are."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class LifterConfig:
    """What a `Lifter` reads, and its sizes."""

    width: int = 384
    """Features of the per-frame network."""
    blocks: int = 2
    """Its residual blocks."""
    memory: int = 256
    """Features of the recurrent network."""
    encoding: int = 64
    """Features of what the flow or image encoder hands on."""
    keypoints: bool = True
    """Whether it reads keypoints."""
    flow: bool = True
    """Whether it reads optical flow."""
    image: bool = False
    """Whether it reads an image of the region."""
    motion: bool = True
    """False removes filter and memory: every frame is predicted by itself."""
    compensation: str = "median"
    """How camera motion leaves the flow (see `FlowEncoder`)."""
    rounds: int = 0
    """Of iterative refinement; they need ``keypoints``."""
    correction: int = 192
    """Units of each round's network."""
    residual: bool = False
    """Whether encoders of flow and image are residual networks, which learn more and cost more."""
    tick_s: float = 0.08
    """Seconds between two updates of the recurrent network."""
    timely: bool = False
    """Whether legs follow a second prediction without memory, in use but not in training: people who rise after a while
    on a chair are remembered as sitting, and legs that follow the present frame alone are on time. Needs ``rounds``."""

    def __post_init__(self) -> None:
        if not (self.keypoints or self.flow or self.image):
            raise ValueError("a regressor needs at least one input: keypoints, flow or image")
        if self.rounds and not self.keypoints:
            raise ValueError("refinement lays the body over keypoints: this regressor reads none")
        if self.timely and not (self.rounds and self.motion):
            raise ValueError("timely legs need rounds of refinement, and a memory that they do without")

    def to_dict(self) -> dict[str, Any]:
        """The fields by their names, as checkpoints keep them."""
        return asdict(self)
