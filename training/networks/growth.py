"""A larger network that answers as a smaller one does, so that training goes on with more room (Net2Net, Chen et al. 2016).

New units have weights of their own but are read by nothing at first; new residual blocks add nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from training.networks.lifter import Lifter
from training.networks.lifter_config import LifterConfig


def can_grow(small: LifterConfig, large: LifterConfig) -> bool:
    """Whether a network ``large`` is ``small`` with more blocks, memory or hidden units of the refinement."""
    same = replace(small, blocks=large.blocks, memory=large.memory, correction=large.correction) == large
    bigger = small.blocks <= large.blocks and small.memory <= large.memory and small.correction <= large.correction
    return same and bigger and small.motion and small.rounds > 0 and small != large


@torch.no_grad()
def grow(network: Lifter, weights: Mapping[str, Tensor], config: LifterConfig) -> None:
    """Give ``network``, as it was made, the ``weights`` of a smaller one with ``config``, for which `can_grow` is true."""
    mine = network.state_dict()
    outputs = tuple(f"frame.{number}.body.3." for number in range(1 + config.blocks, 1 + network.config.blocks))
    silent = {name: torch.zeros_like(value) for name, value in mine.items() if name.startswith(outputs)}
    same, placed = _same_layers(weights, config, network.config), _placed_layers(network, weights, config)
    network.load_state_dict({**mine, **silent, **same, **placed})


def _same_layers(weights: Mapping[str, Tensor], small: LifterConfig, large: LifterConfig) -> dict[str, Tensor]:
    """The weights of layers whose size stays, by their names in the larger network: the last norm moves behind new blocks."""
    norm, place = f"frame.{small.blocks + 1}.", f"frame.{large.blocks + 1}."
    resized = ("memory.", "shape.estimate.", "merge.", "context.", "refinements.")
    return {
        name.replace(norm, place) if name.startswith(norm) else name: value
        for name, value in weights.items()
        if not name.startswith(resized)
    }


def _placed_layers(network: Lifter, weights: Mapping[str, Tensor], small: LifterConfig) -> dict[str, Tensor]:
    """The weights of the layers that grow: what each unit of the smaller network reads of the others is kept, and it reads
    nothing of the new ones."""
    large, mine = network.config, network.state_dict()
    memory, hidden = torch.arange(small.memory), torch.arange(small.correction)
    gates = torch.cat([memory + gate * large.memory for gate in range(3)])
    features = torch.cat([memory, large.memory + torch.arange(small.width)])
    places = {
        "memory.initial": (memory, None),
        "memory.from_input": (gates, None),
        "memory.from_state": (gates, memory),
        "shape.estimate": (None, memory),
        "merge": (None, features),
        "context": (hidden, features),
    }
    for number in range(small.rounds):
        inputs = weights[f"refinements.{number}.read.weight"].shape[1] - small.correction
        read = torch.cat([hidden, large.correction + torch.arange(inputs)])
        places[f"refinements.{number}.read"] = (hidden, read)
        places[f"refinements.{number}.hidden"] = (hidden, hidden)
        places[f"refinements.{number}.correct"] = (None, hidden)
    out: dict[str, Tensor] = {}
    for layer, (rows, columns) in places.items():
        weight, bias = mine[f"{layer}.weight"].clone(), mine[f"{layer}.bias"].clone()
        rows = torch.arange(len(weight)) if rows is None else rows
        columns = torch.arange(weight.shape[1]) if columns is None else columns
        weight[rows] = 0
        weight[rows[:, None], columns] = weights[f"{layer}.weight"]
        bias[rows] = weights[f"{layer}.bias"]
        out |= {f"{layer}.weight": weight, f"{layer}.bias": bias}
    return out
