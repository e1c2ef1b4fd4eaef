"""Turn an exported regressor back into a checkpoint: python -m export.checkpoint --model motion -o start.pt

The graph holds all weights, as `export.regressor` rounded them. Where each one lies follows from exporting a network of the
same kind whose weights are all different: both graphs have the same nodes, and so the same constants in the same order.
What is read is proved by running both over a stream of frames.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import onnx
import torch
import typer
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper

from common.arrays import AnyArray
from common.command_line import run_command
from common.errors import UserError
from common.files import write_atomically
from engines.manifest import MODELS_FOLDER
from export.conversion.onnx_tools import store_fp16
from export.regressor import regressor_to_onnx, round_to_fp16
from training.config import EXPERIMENTS, TrainConfig
from training.networks.lifter import Lifter
from training.networks.lifter_config import LifterConfig

_MARKING_SEED: Final = 11


class ExportedWeightsError(UserError, ValueError):
    """A model is no regressor of this version's network. The message is one line that says what to do."""


def weights_of(model: onnx.ModelProto, config: LifterConfig) -> Lifter:
    """The network of ``config`` that ``model`` was exported from, with its float16 weights as float32.

    Raises:
        ExportedWeightsError: ``model`` was exported from another network, or by another version of the program.
    """
    marked = Lifter(config).eval()
    generator = torch.Generator().manual_seed(_MARKING_SEED)
    with torch.no_grad():
        for parameter in marked.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    graph = regressor_to_onnx(round_to_fp16(marked))
    store_fp16(graph)
    if [node.op_type for node in graph.graph.node] != [node.op_type for node in model.graph.node]:
        raise ExportedWeightsError("the model is not of this network: choose the experiment that it was trained as")
    theirs = _constants(model)
    places = _constants(graph)
    if [value.shape for value in places.values()] != [value.shape for value in theirs.values()]:
        raise ExportedWeightsError("the model's weights have other sizes: choose the experiment that it was trained as")
    read = Lifter(config).eval()
    wanted = dict(marked.named_parameters())
    with torch.no_grad():
        for name, parameter in read.named_parameters():
            parameter.copy_(torch.from_numpy(_find(name, wanted[name].detach().numpy(), places, theirs)))
    return read


def _constants(model: onnx.ModelProto) -> dict[str, AnyArray]:
    return {item.name: numpy_helper.to_array(item).astype(np.float32) for item in model.graph.initializer}


def _find(name: str, mark: AnyArray, places: dict[str, AnyArray], values: dict[str, AnyArray]) -> AnyArray:
    """The one of ``values`` whose place holds ``mark``, in its shape: as it is, with axes of 1, or transposed."""
    for (_, place), value in zip(places.items(), values.values(), strict=True):
        if place.size != mark.size:
            continue
        if np.array_equal(place.reshape(mark.shape), mark):
            return value.reshape(mark.shape)
        if mark.ndim == 2 and np.array_equal(place, mark.T):
            return value.T.copy()
    raise ExportedWeightsError(f"the graph folds {name} into another constant: it cannot be read back")


def main(
    output: Annotated[Path, typer.Option("-o", "--output", help="checkpoint to write")],
    model: Annotated[
        str, typer.Option(help="name of a shipped regressor, or an .onnx file that export.regressor wrote")
    ] = "motion",
    experiment: Annotated[str, typer.Option(help=f"what it was trained as: {', '.join(EXPERIMENTS)}")] = "motion",
) -> None:
    """Write the weights of an exported regressor as a checkpoint, for training.train --init and for training.evaluation."""
    if experiment not in EXPERIMENTS:
        raise typer.BadParameter(f"there is no experiment '{experiment}': choose one of {', '.join(EXPERIMENTS)}")
    path = Path(model) if model.endswith(".onnx") else MODELS_FOLDER / f"{model}.onnx"
    try:
        graph = onnx.load(path)
    except (OSError, DecodeError) as error:
        raise ExportedWeightsError(f"cannot read {path}: name a shipped regressor or an .onnx file") from error
    config = TrainConfig(network=EXPERIMENTS[experiment].network)
    weights = weights_of(graph, config.network).state_dict()
    with write_atomically(output) as file:
        torch.save({"config": asdict(config), "step": 0, "network": weights, "averaged": weights}, file)
    print(f"{output}: {sum(value.numel() for value in weights.values())} weights of {path}")


if __name__ == "__main__":
    run_command(main, examples="Example: python -m export.checkpoint --model motion -o start.pt")
