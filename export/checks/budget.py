"""An upper bound on the networks' speed, from first principles: ``python -m export.checks.budget``.

Arithmetic and bytes are counted from the ONNX graphs and divided by the published peaks of a few devices. Nothing is
measured. No program that reads its weights from memory in each frame can be faster, and real ones reach a part of it:
kernels that start one after the other, small layers that do not fill a GPU, copies. So kernels and copies are counted, too,
and their cost is given for a time of one start that the caller names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Annotated

import onnx
import typer
from onnx import helper

from common.command_line import run_command
from common.errors import exit_with_one_line
from engines.precision.fp16 import HEAVY
from engines.precision.graphs import fold_constants, shapes
from export.conversion.network import PipelineNetwork
from export.conversion.precision import flops
from export.networks import BODY, load_networks
from realtime.networks import FLOW_MODELS, KEYPOINT_MODELS
from realtime.options import Options

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Device:
    """A GPU's published peaks."""

    name: str
    """With its power mode, where that matters."""
    tflops: float
    """Dense float16 products with float32 sums, TFLOP/s."""
    bandwidth: float
    """Bandwidth of its memory, GB/s."""


DEVICES = (
    Device("Orin Nano 8 GB, 15 W", 10, 68),
    Device("Orin Nano 8 GB, Super", 17, 102),
    Device("AGX Orin 64 GB", 42.5, 204.8),
    Device("RTX 4090", 165.2, 1008),
)
SOURCES = (
    "Peaks: NVIDIA's data sheets of the Jetson Orin Nano (20 / 33 dense INT8 TOPS, half of it in float16), technical brief of "
    "the AGX Orin (170 sparse INT8 TOPS of the GPU, a quarter of it in dense float16), Ada white paper."
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution or matrix product."""

    flops: int
    """Multiplications and additions."""
    numbers: int
    """How many it reads and writes: inputs, weights and outputs."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one inference of a network takes."""

    layers: tuple[Layer, ...]
    """Its convolutions and matrix products, which do nearly all arithmetic."""
    weights: int
    """How many numbers are weights of these layers."""
    bytes_each: int
    """Size of one number: 2 in float16, 4 in float32."""
    nodes: int
    """How many nodes of the graph compute something."""
    bytes_in: int
    """What a copy of all inputs to the GPU takes."""
    bytes_out: int
    """What a copy of all outputs back takes."""

    @property
    def flops(self) -> int:
        """Multiplications and additions."""
        return sum(layer.flops for layer in self.layers)

    @property
    def kernels(self) -> tuple[int, int]:
        """How many kernels a run starts: at least one for each layer, all else fused, at most one for each node."""
        return len(self.layers), self.nodes

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights."""
        return self.weights * self.bytes_each

    def limit_ms(self, device: Device) -> float:
        """No less time than this: all arithmetic at the peak, or every weight, input and output moved once."""
        compulsory = self.weight_bytes + self.bytes_in + self.bytes_out
        return max(self.flops / device.tflops * 1e-9, compulsory / device.bandwidth * 1e-6)

    def layered_ms(self, device: Device) -> float:
        """The same for every layer by itself, with what passes between two of them going through memory."""
        return sum(
            max(layer.flops / device.tflops * 1e-9, layer.numbers * self.bytes_each / device.bandwidth * 1e-6)
            for layer in self.layers
        )


def count(network: PipelineNetwork) -> Cost:
    """Count one inference for one person. Raises ``ValueError`` for a graph whose sizes are not known beforehand.

    Light operators count as free: they can be fused into the others.
    """
    model = fold_constants(network.data)
    known = shapes(model)
    weights = {tensor.name for tensor in model.graph.initializer}
    heavy = [node for node in model.graph.node if node.op_type in HEAVY]
    layers = [
        Layer(flops(node, known), sum(prod(known[name]) for name in (*node.input, *node.output) if name))
        for node in heavy
    ]
    fixed = sum(prod(known[name]) for name in weights & {name for node in heavy for name in node.input})
    nodes = sum(node.op_type not in _FREE for node in model.graph.node)
    bytes_in, bytes_out = (_bytes(side, known) for side in (model.graph.input, model.graph.output))
    return Cost(tuple(layers), fixed, 4 if network.kind == "body" else 2, nodes, bytes_in, bytes_out)


_FREE = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"})
"""Operators that move nothing."""


def _bytes(values: Iterable[onnx.ValueInfoProto], known: Shapes) -> int:
    kinds = ((value.name, helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)) for value in values)
    return sum(prod(known[name]) * kind.itemsize for name, kind in kinds)


@exit_with_one_line(ValueError)
def main(
    start_us: Annotated[
        float, typer.Option(min=0, help="µs to start one kernel: measure it, or read it in a profile")
    ] = 4.0,
) -> None:
    """Print the budget as Markdown."""
    networks = load_networks()
    costs = {name: count(network) for name, network in networks.items()}
    regressor = Options().regressor
    always = (regressor, BODY)
    combinations = {
        f"--keypoints {speed} --flow {flow}": (
            KEYPOINT_MODELS[speed],
            *([FLOW_MODELS[flow]] if flow in FLOW_MODELS else []),
            *always,
        )
        for speed in KEYPOINT_MODELS
        for flow in (*FLOW_MODELS, "dis")
    }
    titles = " | ".join(device.name for device in DEVICES)
    rule = " --- |" * len(DEVICES)
    print(
        "One inference in float16 (the body in float32), COMPUTED, not measured. Kernels: at least and at most, and what "
        f"starting them takes at {start_us:g} µs each. Per device: ms at least / ms layer by layer.\n"
    )
    print(f"| network | GFLOP | weights MB | kB in / out | kernels | starts, ms | {titles} |")
    print(f"| --- | --- | --- | --- | --- | --- |{rule}")
    for name, cost in costs.items():
        least, most = cost.kernels
        times = " | ".join(f"{cost.limit_ms(device):.3f} / {cost.layered_ms(device):.3f}" for device in DEVICES)
        print(
            f"| {name} | {cost.flops / 1e9:.3f} | {cost.weight_bytes / 1e6:.1f} | {cost.bytes_in / 1e3:.1f} / "
            f"{cost.bytes_out / 1e3:.1f} | {least} to {most} | {least * start_us * 1e-3:.2f} to "
            f"{most * start_us * 1e-3:.2f} | {times} |"
        )
    print(
        "\nFrames a second at most, one person, all of these networks one after the other; the same layer by layer.\n"
    )
    print(f"| networks | {titles} |\n| --- |{rule}")
    for options, names in combinations.items():
        bounds = " | ".join(
            f"{1e3 / sum(costs[name].limit_ms(device) for name in names):.0f} / "
            f"{1e3 / sum(costs[name].layered_ms(device) for name in names):.0f}"
            for device in DEVICES
        )
        print(f"| {options} | {bounds} |")
    print(f"\n{SOURCES}")


if __name__ == "__main__":
    run_command(main, examples="Example: python -m export.checks.budget --start-us 4")
