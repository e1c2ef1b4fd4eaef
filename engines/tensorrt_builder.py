"""ONNX ▶ TensorRT plan, on TensorRT 8.6 to 11.

A network's precision is in its ONNX graph: float16 tensors, QuantizeLinear and DequantizeLinear nodes. TensorRT 10 and 11
build such a graph as it is (strongly typed). 8.6 cannot: it gets the flags of the precisions that occur in the graph, and
its float32 layers are fixed. A DLA core gets the same, for it takes no strongly typed network before TensorRT 11.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.choices import PRECISIONS, Precision
from engines.cuda.driver import probe_gpu
from engines.cuda.packages import open_cuda
from engines.engine import EngineError
from engines.interrupts import PendingSignals, kept_signals
from engines.onnx_file import OnnxModel, open_onnx
from engines.tensorrt_api import (
    Builder,
    IBuilderConfig,
    INetworkDefinition,
    OnnxParser,
    TensorRt,
    load_tensorrt,
    shared_log,
)

BuildProgress = Callable[[str, int, int], None]
"""Called while a plan is built with the phase's name, its steps done and its steps in all (TensorRT 10 or newer)."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How a plan is built. Raises `EngineError` for values that cannot be."""

    precision: Precision = "fp32"
    """What the graph's numbers are; it names the plan and changes nothing in the graph."""
    workspace_mb: int | None = None
    """Most GPU memory that a layer may use for scratch, MiB. None: TensorRT's own limit, but a quarter of the memory
    where the GPU shares it with the CPU."""
    dla: int | None = None
    """The DLA core that takes what it can; the GPU takes the rest. None: all on the GPU."""
    batch: tuple[int, int, int] = (1, 1, 1)
    """Smallest, usual and largest size of every free leading dimension."""
    tf32: bool = True
    """Whether factors of float32 products may be rounded to TensorFloat-32, which keeps 10 bits of them, as TensorRT
    does on GPUs from Ampere on unless it is told otherwise."""

    def __post_init__(self) -> None:
        """Refuse values that cannot be."""
        if self.precision not in PRECISIONS:
            raise EngineError(f"unknown precision '{self.precision}': choose one of {', '.join(PRECISIONS)}")
        if self.workspace_mb is not None and self.workspace_mb < 1:
            raise EngineError(f"a workspace of {self.workspace_mb} MB is too small: give at least 1")
        if self.dla is not None and self.dla < 0:
            raise EngineError(f"there is no DLA core {self.dla}: count from 0")
        if self.dla is not None and self.precision == "fp32":
            raise EngineError("a DLA core computes in fp16 or int8 only: choose such a precision")
        if self.dla is not None and len(set(self.batch)) != 1:
            raise EngineError(f"a DLA core takes one number of rows, not {self.batch[0]} to {self.batch[-1]}")
        if len(self.batch) != 3 or not 1 <= self.batch[0] <= self.batch[1] <= self.batch[2]:
            raise EngineError(f"batch {self.batch} must rise: smallest, usual, largest, from 1 on")


def serialise(
    model: bytes | Path,
    options: BuildOptions,
    *,
    label: str = "",
    timing_cache: bytes = b"",
    progress: BuildProgress | None = None,
) -> tuple[bytes, bytes]:
    """Build the plan of an ONNX model for this GPU; takes seconds to minutes.

    ``label`` is what errors call it. ``timing_cache`` is what an earlier build on this machine measured.

    Returns the plan and the new timing cache. Raises `RuntimeMissingError` where TensorRT cannot run, and `EngineError`
    for a graph that it refuses, naming the node, and for options that this machine cannot fulfil. A signal that Python
    handles, as Ctrl-C, ends the build (on TensorRT 8.6 when it is through) and is handled then.
    """
    with kept_signals() as signals:
        return _serialise(model, options, label, timing_cache, _Monitor(progress, signals))


def _serialise(
    model: bytes | Path, options: BuildOptions, label: str, timing_cache: bytes, monitor: _Monitor
) -> tuple[bytes, bytes]:
    onnx = open_onnx(model, label)
    trt, log = load_tensorrt(), shared_log()
    open_cuda().activate()  # the builder measures its kernels in the context that is current here
    builder = log.made("builder", lambda: trt.Builder(log.logger))
    weakly_typed = not _strongly_typed(trt, options)
    flag = trt.NetworkDefinitionCreationFlag
    kind = flag.EXPLICIT_BATCH if weakly_typed else flag.STRONGLY_TYPED
    network = log.made("network", lambda: builder.create_network(1 << int(kind)))
    parser = log.made("parser", lambda: trt.OnnxParser(network, log.logger))
    _parse(parser, onnx, log.take)
    config = builder.create_builder_config()
    if weakly_typed:
        _allow_precisions(trt, network, config)
    if not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)
    if (workspace_mb := options.workspace_mb or _shared_memory_cap_mb()) is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_mb << 20)
    if options.dla is not None:
        _use_dla(trt, builder, config, options.dla)
    _add_profile(builder, network, config, options.batch, onnx.label)
    _use_timing_cache(config, timing_cache)
    adapter = None  # kept here: the configuration may hold no reference of its own
    if hasattr(config, "progress_monitor"):
        config.progress_monitor = adapter = monitor.adapt(trt)
    plan = builder.build_serialized_network(network, config)
    del adapter
    if monitor.interruption is not None:
        raise monitor.interruption
    if plan is None:
        raise EngineError(f"TensorRT cannot build {onnx.label}: {log.take()}")
    cache = config.get_timing_cache()
    return bytes(plan), bytes(cache.serialize()) if cache is not None else b""


def _strongly_typed(trt: TensorRt, options: BuildOptions) -> bool:
    if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        return False
    return options.dla is None or not hasattr(trt.BuilderFlag, "FP16")


def _parse(parser: OnnxParser, onnx: OnnxModel, logged: Callable[[], str]) -> None:
    path = None if isinstance(onnx.source, bytes) else str(onnx.source)  # where weights outside of the file are found
    data = onnx.source if isinstance(onnx.source, bytes) else onnx.source.read_bytes()
    if parser.parse(data, path):
        return
    problems = []
    for place in range(parser.num_errors):
        error = parser.get_error(place)
        where = f"node {error.node()}" if error.node() >= 0 else "the graph"
        if error.node() >= 0 and hasattr(error, "node_name"):  # since TensorRT 10
            where += f" '{error.node_name()}' ({error.node_operator()})"
        reason = " ".join(error.desc().split())
        if reason in ("", "false"):  # the condition that did not hold, as it stands in the parser's source
            reason = error.code().name.replace("_", " ").lower()
        problems.append(f"{where}: {reason}")
    raise EngineError(f"TensorRT cannot read {onnx.label}: {'; '.join(problems[:3]) or logged()}")


def _allow_precisions(trt: TensorRt, network: INetworkDefinition, config: IBuilderConfig) -> None:
    """Set the flags of the precisions that occur in a weakly typed network, and keep its float32 layers float32."""
    layers = [network.get_layer(place) for place in range(network.num_layers)]
    results = [layer.get_output(0) if layer.num_outputs else None for layer in layers]
    has_fp16 = any(result is not None and result.dtype == trt.DataType.HALF for result in results)
    if has_fp16:
        config.set_flag(trt.BuilderFlag.FP16)
    has_int8 = any(layer.type == trt.LayerType.QUANTIZE for layer in layers)
    if has_int8:
        config.set_flag(trt.BuilderFlag.INT8)
    if not has_fp16:
        return
    config.set_flag(trt.BuilderFlag.PREFER_PRECISION_CONSTRAINTS)
    free: tuple[Any, ...] = (
        trt.LayerType.CAST,
        trt.LayerType.CONSTANT,
        trt.LayerType.SHAPE,
    )  # their type is fixed by what they are
    if has_int8:  # the convolutions of such a graph give float32, and are to compute in int8
        free = (*free, trt.LayerType.QUANTIZE, trt.LayerType.DEQUANTIZE, trt.LayerType.CONVOLUTION)
    for layer, result in zip(layers, results, strict=True):
        if result is not None and result.dtype == trt.DataType.FLOAT and layer.type not in free:
            layer.precision = trt.DataType.FLOAT


def _shared_memory_cap_mb() -> int | None:
    """A quarter of the memory where the GPU shares the CPU's: without a limit TensorRT takes all of it, and the system ends
    the program."""
    gpu = probe_gpu()
    return gpu.memory_gb * 256 if gpu.integrated and gpu.memory_gb else None


def _use_dla(trt: TensorRt, builder: Builder, config: IBuilderConfig, core: int) -> None:
    cores = builder.num_DLA_cores
    if core >= cores:
        if cores:
            raise EngineError(f"there is no DLA core {core}: this machine has {cores}")
        raise EngineError(
            f"there is no DLA core {core} here: an Orin NX or AGX Orin has them with the TensorRT of JetPack 6, "
            f"not with that of JetPack 7.2; this is TensorRT {trt.__version__}"
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _add_profile(
    builder: Builder, network: INetworkDefinition, config: IBuilderConfig, batch: tuple[int, int, int], label: str
) -> None:
    profile = builder.create_optimization_profile()
    free = False
    for place in range(network.num_inputs):
        tensor = network.get_input(place)
        if tensor is None:
            raise EngineError(f"TensorRT does not show input {place} of {label}")
        shape = tuple(tensor.shape)
        if -1 not in shape:
            continue
        if -1 in shape[1:]:
            raise EngineError(
                f"{label}: tensor '{tensor.name}' {list(shape)} is free in more than its first dimension: "
                "export it with fixed sizes"
            )
        free = True
        smallest, usual, largest = ((size, *shape[1:]) for size in batch)
        profile.set_shape(tensor.name, smallest, usual, largest)
    if free and config.add_optimization_profile(profile) < 0:
        raise EngineError(f"TensorRT refuses batch {batch} for {label}")


def _use_timing_cache(config: IBuilderConfig, data: bytes) -> None:
    # A cache of another version or GPU, or a damaged one: measure anew.
    for contents in (data, b"") if data else (b"",):
        cache = config.create_timing_cache(contents)
        if cache is not None and config.set_timing_cache(cache, False):
            return


class _Monitor:
    """Passes TensorRT's progress on; ends the build when a signal is waiting or the receiver raises."""

    def __init__(self, progress: BuildProgress | None, signals: PendingSignals) -> None:
        self._progress, self._signals = progress, signals
        self._steps: dict[str, int] = {}
        self.interruption: BaseException | None = None

    def adapt(self, trt: TensorRt) -> object:
        monitor = self

        class Adapter(trt.IProgressMonitor):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                trt.IProgressMonitor.__init__(self)

            def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
                monitor.report(phase_name, 0, num_steps)

            def step_complete(self, phase_name: str, step: int) -> bool:
                return monitor.report(phase_name, step + 1)

            def phase_finish(self, phase_name: str) -> None:
                monitor.report(phase_name, None)

        adapter: Any = Adapter()
        return adapter

    def report(self, phase: str, done: int | None, steps: int | None = None) -> bool:
        """Report ``done`` steps of a phase, None for all; whether the build shall go on."""
        total = self._steps.setdefault(phase, steps or 1) if steps is None else steps
        self._steps[phase] = total
        if self.interruption is None and self._progress is not None:
            try:
                self._progress(phase, total if done is None else done, total)
            except BaseException as error:  # an exception cannot pass through TensorRT; it is raised after the build
                self.interruption = error
        return self.interruption is None and not self._signals
