"""One training run over several processes, as torchrun starts them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """This process among all that train together."""

    rank: int = 0
    """Its number, from 0."""
    size: int = 1
    """How many processes there are."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Its GPU, or the CPU where there is none."""

    @property
    def is_main(self) -> bool:
        """Whether this process validates, prints and writes."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """The ``value`` of every process, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: bool) -> bool:
        """The leader's ``value``, on every process: clocks differ, and all must stop at the same step."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return bool(box[0])

    def leave(self) -> None:
        """End the process group, where there is one."""
        if self.size > 1:
            dist.destroy_process_group()


def init_distributed() -> ProcessGroup:
    """The process group that torchrun started this process in (NCCL where there are GPUs, else gloo), or a group of one."""
    cuda = torch.cuda.is_available()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank, local = int(os.environ.get("RANK", "0")), int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if size > 1:
        dist.init_process_group("nccl" if cuda else "gloo")
    return ProcessGroup(rank, size, device)
