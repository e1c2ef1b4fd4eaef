"""Build every engine without a GPU: ``python -m export.checks.ahead_of_time``.

NVIDIA's TensorRT-RTX, the sibling of TensorRT for desktop cards, has the same ONNX parser and compiles an engine ahead of
time on any CPU. That it accepts a graph is no proof for TensorRT on another board, but what it refuses would be refused there
too. It needs ``pip install tensorrt-rtx``; ``make rtx`` does that.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

import typer

from common.command_line import run_command
from engines.engine import EngineError, RuntimeMissingError
from export.conversion.precision import convert, distinct
from export.networks import CLIP, load_networks, record_samples

_TARGET = "SM86"  # one architecture proves a graph; each more takes as long again


@dataclass(frozen=True, slots=True)
class AheadOfTime:
    """Result of a build."""

    layers: int
    """Number of layers that the parser made."""
    size: int
    """Size of the engine, bytes."""
    seconds: float
    """What the build took."""


def build(model: bytes, label: str, batch: tuple[int, int, int] = (1, 1, 4)) -> AheadOfTime:
    """Build an ONNX model with TensorRT-RTX, with ``batch`` (smallest, usual, largest) for free leading dimensions.

    Raises `RuntimeMissingError` without the package and `EngineError` naming the node for a model that is refused.
    """
    trt, logger = _load()
    logger.lines.clear()
    began = time.perf_counter()
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        found = (parser.get_error(place) for place in range(parser.num_errors))
        errors = (
            f"node {e.node()} '{e.node_name()}' ({e.node_operator()}): {' '.join(e.desc().split())}" for e in found
        )
        raise EngineError(f"TensorRT-RTX cannot read {label}: {'; '.join(list(errors)[:3])}")
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, _TARGET), 0)
    profile, free = builder.create_optimization_profile(), False
    for place in range(network.num_inputs):
        tensor = network.get_input(place)
        shape = tuple(tensor.shape)
        if -1 in shape:
            free = True
            profile.set_shape(tensor.name, *((size, *shape[1:]) for size in batch))
    if free:
        config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise EngineError(
            f"TensorRT-RTX cannot build {label}: {logger.lines[-1] if logger.lines else 'no reason given'}"
        )
    return AheadOfTime(network.num_layers, engine.nbytes, time.perf_counter() - began)


def rtx_version() -> str:
    """The version of TensorRT-RTX. Raises `RuntimeMissingError` without the package."""
    return str(_load()[0].__version__)


@cache
def _load() -> tuple[Any, Any]:
    try:
        import tensorrt_rtx
    except ImportError as error:
        raise RuntimeMissingError(f"TensorRT-RTX is not installed ({error}): make rtx") from None

    class Logger(tensorrt_rtx.ILogger):  # type: ignore[misc]  # the package brings no types
        """Keeps errors; the package takes one logger for the whole process."""

        def __init__(self) -> None:
            super().__init__()
            self.lines: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity <= tensorrt_rtx.ILogger.Severity.ERROR:
                self.lines.append(" ".join(text.split()))

    return tensorrt_rtx, Logger()


def main(
    networks: Annotated[str, typer.Option(help="names of networks, with commas; all by default")] = "",
    frames: Annotated[int, typer.Option(min=2, help="frames of the rendered clip that int8 is calibrated with")] = 12,
) -> None:
    """Build every network in every precision and print the results."""
    refused: list[str] = []
    print(f"TensorRT-RTX {rtx_version()}, ahead-of-time build for {_TARGET} on the CPU; nothing was run on a GPU.\n")
    chosen = load_networks([name for name in networks.split(",") if name] or None)
    samples = record_samples(chosen, CLIP, frames)
    print("| network | precision | layers | engine MB | seconds | what |\n| --- | --- | --- | --- | --- | --- |")
    for name, network in chosen.items():
        for precision in distinct(network):
            converted = convert(network, precision, samples[name])
            try:
                built = build(converted.data, name)
            except EngineError as error:
                refused.append(str(error))
                continue
            print(
                f"| {name} | {precision} | {built.layers} | {built.size / 1e6:.1f} | {built.seconds:.1f} | "
                f"{converted.remark} |",
                flush=True,
            )
    if refused:
        raise EngineError("; ".join(refused))


if __name__ == "__main__":
    run_command(main, examples="Example: python -m export.checks.ahead_of_time --networks motion")
