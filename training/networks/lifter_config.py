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
    """Residual blocks of the per-frame network."""
    memory: int = 256
    """Features of the recurrent network."""
    encoding: int = 64
    """Features that the flow or image encoder gives."""
    keypoints: bool = True
    """Whether it reads keypoints."""
    flow: bool = True
    """Whether it reads optical flow."""
    image: bool = False
    """Whether it reads an image of the region."""
    motion: bool = True
    """Whether it has a keypoint filter and a memory. Without them every frame is predicted by itself."""
    compensation: str = "median"
    """How the camera's motion is removed from the flow: ``median`` or ``none`` (see `FlowEncoder`)."""
    rounds: int = 0
    """Rounds of iterative refinement, which needs ``keypoints``."""
    correction: int = 192
    """Hidden units of each round's network."""
    residual: bool = False
    """Whether the flow and image encoders are residual networks, which learn more and cost more."""
    tick_s: float = 0.08
    """Seconds between two updates of the recurrent network."""
    memoryless_legs: bool = False
    """Whether the legs are blended with a second prediction that starts without a memory; at inference, not in training. The
    memory makes legs lag when somebody rises after sitting for a while. Needs ``rounds`` and ``motion``."""

    def __post_init__(self) -> None:
        if not (self.keypoints or self.flow or self.image):
            raise ValueError("a regressor needs at least one input: keypoints, flow or image")
        if self.rounds and not self.keypoints:
            raise ValueError("refinement fits the body to keypoints: this regressor reads none")
        if self.memoryless_legs and not (self.rounds and self.motion):
            raise ValueError("memoryless legs need rounds of refinement, and a memory to do without")

    def to_dict(self) -> dict[str, Any]:
        """The fields by their names, as checkpoints keep them."""
        return asdict(self)
